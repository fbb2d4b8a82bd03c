"""Start states: the experts play through the milestones, and the state at the end of each milestone is saved.

This makes two kinds of files:

- `{state_dir}/{PREV}_completed.state`, one for each milestone but the last, from one run without noise;
- `{start_states_dir}/{game}/{PREV}_completed/train/000.state`, ... and `.../heldout/000.state`, ..., from runs of their own.
  In these the experts' buttons are mixed with random ones, and a few random buttons follow the milestone, so that
  names, positions, HP and the game's random draws differ. No run, and no seed, is used for both sets: policies learn
  from `train` and are evaluated on `heldout`.

The end of the milestone PREV is the start of the next one; the first milestone starts at power-on and needs no file.
States belong to one ROM and one emulator version; after a change of either they are made again.

    python -m tools.record_start_states      makes all of them
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from agent.open_expert import SandboxedExpert, open_policy
from agent.oracle import PolicyError
from agent.policy_expert import PolicyExpert, find_policy
from agent.sandbox.oracle import SandboxError
from common.runtime.files import exclusive_lock
from common.runtime.main import Stopped, UserError
from common.runtime.progress import ProgressReport
from common.runtime.seeding import FIRST_START, HELDOUT_STARTS, TRAIN_STARTS, episode_rng
from pokemon_env.bounded_files import read_file
from pokemon_env.errors import StateFileError
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM
from pokemon_env.state_files import StateIdentity, find_states, read_state, sidecar_path

DEFAULT_STATE_DIR = Path(".milestone_trainer_cache/milestone_states")
DEFAULT_START_STATES_DIR = Path(".milestone_trainer_cache/start_states")
"""Each game has a folder of its own in it."""

_MOST_SIDECAR = 1 << 24  # bytes
MAX_STEPS_PER_MILESTONE = 3000
MAX_NOISE = 0.3
MAX_WANDERING = 8
ATTEMPTS = 4

SEEDS = {"first": FIRST_START.first, "train": TRAIN_STARTS.first, "heldout": HELDOUT_STARTS.first}
"""Seed of each set's first run. Further runs add 1 each, and repeated attempts of a run add 10,000 each."""


OpenExpert = Callable[[str, PokemonEnv], PolicyExpert | SandboxedExpert]
"""Opens a milestone's expert, to play in an environment."""


class StartStateError(UserError, RuntimeError):
    """A start state cannot be made; the text says for which milestone, why, and what to do."""


@dataclass(frozen=True)
class StartStates:
    """Where the episodes of one milestone start. Everything is None if that is power-on."""

    milestone: str
    first: Path | None
    """The file `{PREV}_completed.state`."""
    train: Path | None
    """Folder of the states to learn from."""
    heldout: Path | None
    """Folder of the states to evaluate on."""

    def files(self, split: str) -> tuple[Path | None, ...]:
        """Return the states of "train", "heldout" or "first", sorted by name; (None,) for power-on."""
        place = {"train": self.train, "heldout": self.heldout, "first": self.first}[split]
        return (None,) if place is None else tuple(find_states(place))


def ensure_start_states(
    milestone: str,
    rom_path: str | os.PathLike = BUNDLED_ROM,
    *,
    n_train: int = 20,
    n_heldout: int = 20,
    state_dir: str | os.PathLike = DEFAULT_STATE_DIR,
    start_states_dir: str | os.PathLike = DEFAULT_START_STATES_DIR,
    policy_dir: str | os.PathLike | None = None,
    unsafe_policies: bool = False,
    num_threads: int = 2,
    show_progress: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> StartStates:
    """Return the start states of one milestone. Those that are missing, damaged or of another ROM are made first.

    States that exist and can be used stay as they are. Two processes may call this at once: the second waits, and finds the files
    made.

    Args:
        milestone: whose states are wanted. Those of all milestones before it are made, too.
        rom_path: the game.
        n_train, n_heldout: the least number of states in each set.
        state_dir, start_states_dir: where the files lie.
        policy_dir: experts for milestones that the game brings no policy for.
        unsafe_policies: run those in this process instead of a sandbox. The game's own run there in any case.
        num_threads: how many runs are played at once.
        show_progress: show a progress bar if anything is made.
        should_stop: called at every step; when it returns True, Stopped is raised.

    Raises ValueError for an unknown milestone, StartStateError if an expert is missing, cannot be run here or does not reach its
    milestone, PolicyError for an expert that is stopped, and the errors of PokemonEnv.
    """
    open_expert = partial(_open_expert, policy_dir, unsafe_policies)
    maker = _Maker(Path(rom_path), Path(state_dir), Path(start_states_dir), open_expert, should_stop)
    place = maker.place_of(milestone)
    if place == 0:
        return StartStates(milestone, None, None, None)
    runs = [("first", 0), *(("train", i) for i in range(n_train)), *(("heldout", i) for i in range(n_heldout))]
    previous = maker.ids[place - 1]
    if any(not maker.is_current(maker.file(run, previous)) for run in runs):
        with _alone(maker.start_states_dir, should_stop):
            todo = [run for run in runs if not all(maker.is_current(maker.file(run, name)) for name in maker.ids[:place])]
            maker.discard_foreign(maker.ids[:place])
            maker.make(todo, place, max(1, num_threads), show_progress)
    first = maker.file(("first", 0), previous)
    train, heldout = (maker.file((split, 0), previous).parent for split in ("train", "heldout"))
    return StartStates(milestone, first, train, heldout)


class _Maker:
    """Plays runs through the milestones of one ROM and saves the states."""

    def __init__(
        self,
        rom_path: Path,
        state_dir: Path,
        start_states_dir: Path,
        open_expert: OpenExpert,
        should_stop: Callable[[], bool],
    ):
        self.rom_path, self.open_expert, self.should_stop = rom_path, open_expert, should_stop
        env = PokemonEnv(rom_path)
        self.game = env.game
        self.state_dir, self.start_states_dir = state_dir, start_states_dir / env.game.id
        self.identity: StateIdentity = env.identity
        self.ids = [milestone.id for milestone in env.milestones]
        env.close()

    def place_of(self, milestone: str) -> int:
        if milestone not in self.ids:
            known = ", ".join(self.ids) if self.ids else "none at all"
            raise ValueError(f"{self.game.name} has no milestone {milestone!r}; it has {known}")
        return self.ids.index(milestone)

    def file(self, run: tuple[str, int], completed: str) -> Path:
        split, number = run
        if split == "first":
            return self.state_dir / f"{completed}_completed.state"
        return self.start_states_dir / f"{completed}_completed" / split / f"{number:03d}.state"

    def is_current(self, path: Path) -> bool:
        """Return whether the state exists and can be used; if not, it has to be made, and the file there may be replaced.

        Raises StartStateError for a state of another game, which belongs to a user and must not be replaced.
        """
        if not path.is_file():
            return False
        if not sidecar_path(path).is_file():
            return True  # not made here: a user put it there on purpose
        try:
            game = json.loads(read_file(sidecar_path(path), _MOST_SIDECAR)).get("game")
        except (OSError, ValueError, AttributeError, RecursionError):
            return False
        if game != self.identity.game:
            raise StartStateError(
                f"{path} is a state of another game ({game!r}, wanted {self.identity.game!r}); move its folder away, or "
                "give each game one of its own (--state-dir, where the script has it)"
            )
        try:
            read_state(path, self.identity)
        except StateFileError:  # damaged, or of another ROM: make it again
            return False
        return True

    def discard_foreign(self, names: Sequence[str]) -> None:
        """Delete states of these milestones that cannot be used: a set that was once larger may hold some beyond those that
        are made again.
        """
        for name in names:
            for split in ("train", "heldout"):
                for path in self.file((split, 0), name).parent.glob("*.state"):
                    if not self.is_current(path):
                        path.unlink()
                        sidecar_path(path).unlink(missing_ok=True)

    def make(self, runs: Sequence[tuple[str, int]], n_milestones: int, num_threads: int, show_progress: bool) -> None:
        """Play the runs, several at once, up to the end of the first `n_milestones` milestones."""
        players: SimpleQueue[_Player] = SimpleQueue()
        made: list[_Player] = []

        def play(run: tuple[str, int]) -> None:
            player = players.get()
            try:
                self._make_run(player, run, n_milestones)
            finally:
                players.put(player)

        pool = ThreadPoolExecutor(num_threads)
        try:
            for _ in range(min(num_threads, len(runs))):
                made.append(_Player(self.rom_path, self.ids[:n_milestones], self.open_expert, self.should_stop))
                players.put(made[-1])
            futures = [pool.submit(play, run) for run in runs]
            with ProgressReport("start states", len(runs)) if show_progress and runs else nullcontext() as report:
                for done, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    if report is not None:
                        report.update(done)
        finally:
            pool.shutdown(cancel_futures=True)
            for player in made:
                player.close()

    def _make_run(self, player: _Player, run: tuple[str, int], n_milestones: int) -> None:
        """Play one run, and move its files into their places only when it is complete."""
        split, number = run
        failure = None
        for attempt in range(ATTEMPTS):
            seed = SEEDS[split] + number + 10_000 * attempt
            with tempfile.TemporaryDirectory(dir=self.start_states_dir, prefix=".making-") as folder:
                files = {name: Path(folder) / f"{name}.state" for name in self.ids[:n_milestones]}
                try:
                    player.play(seed, files, noisy=split != "first", details={"run": split, "number": number})
                except StartStateError as error:
                    failure = error
                    continue
                for name, made in files.items():
                    path = self.file(run, name)
                    if self.is_current(path):  # a user's own, or one that another run is starting from
                        continue
                    path.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(sidecar_path(made), sidecar_path(path))
                    os.replace(made, path)
                return
        raise StartStateError(f"{failure} (tried with {ATTEMPTS} seeds)")


class _Player:
    """One environment with the experts of the first milestones."""

    def __init__(self, rom_path: Path, ids: Sequence[str], open_expert: OpenExpert, should_stop: Callable[[], bool]):
        self.env, self.should_stop = PokemonEnv(rom_path), should_stop
        self.experts: dict[str, PolicyExpert | SandboxedExpert] = {}
        try:
            for name in ids:
                self.experts[name] = open_expert(name, self.env)
        except BaseException:
            self.close()
            raise

    def play(self, seed: int, files: dict[str, Path], noisy: bool, details: dict[str, object]) -> None:
        """Play from power-on, and save the state at the end of each milestone of `files`.

        Raises StartStateError if a milestone is not reached.
        """
        rng = episode_rng(seed, "start state")
        noise = float(rng.uniform(0, MAX_NOISE)) if noisy else 0.0
        _, info = self.env.reset(seed=seed, options={"load_state": None})
        steps = 0
        names = list(files)
        for name, following in zip(names, [*names[1:], None], strict=True):
            expert = self.experts[name]
            for _ in range(MAX_STEPS_PER_MILESTONE):
                if info["milestones"][name]["completed"]:
                    break
                if self.should_stop():
                    raise Stopped
                action = expert.label(info).action
                if action is None or rng.random() < noise:
                    action = int(rng.integers(len(self.env.buttons)))
                info = self.env.step(action)[-1]
                steps += 1
            if not info["milestones"][name]["completed"]:
                raise StartStateError(
                    f"the expert {expert.path} did not reach {name} within {MAX_STEPS_PER_MILESTONE} steps "
                    f"(seed {seed}, noise {noise:.2f}, {expert.abstentions} abstentions in {expert.answers} answers): "
                    "correct the policy"
                )
            about = {**details, "seed": seed, "noise": round(noise, 4), "steps": steps}
            self.env.save_state(files[name], about)
            if noisy:
                info, wandered = self._wander(info, following, rng)
                steps += wandered
                if wandered and not (following and info["milestones"][following]["completed"]):
                    self.env.save_state(files[name], {**about, "steps": steps})

    def _wander(self, info: dict, following: str | None, rng: np.random.Generator) -> tuple[dict, int]:
        """Press a few random buttons, but none after the next milestone is reached."""
        presses = int(rng.integers(MAX_WANDERING + 1))
        for done in range(presses):
            if following and info["milestones"][following]["completed"]:
                return info, done
            info = self.env.step(int(rng.integers(len(self.env.buttons))))[-1]
        return info, presses

    def close(self) -> None:
        self.env.close()
        for expert in self.experts.values():
            expert.close()


def _open_expert(
    policy_dir: str | os.PathLike | None, unsafe: bool, milestone: str, env: PokemonEnv
) -> PolicyExpert | SandboxedExpert:
    """Return the game's own expert, or the user's if the game has none: a half-finished policy must not spoil the states."""
    own = env.game.policy_dir
    try:
        path = find_policy(milestone, policy_dir) if own is None else find_policy(milestone, own, policy_dir)
        return open_policy(path, env, unsafe)
    except PolicyError as error:
        raise StartStateError(f"no start states: {error}") from error
    except SandboxError as error:
        hint = "`python -m tools.record_start_states` takes that flag, too, and what it makes serves the other scripts"
        raise StartStateError(f"no start states: {error} {hint}") from error


@contextmanager
def _alone(folder: Path, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Let only one process at a time make states in this folder, and delete what a killed one left."""

    def tick() -> None:
        if should_stop():
            raise Stopped

    with exclusive_lock(folder / ".lock", math.inf, tick):
        for left in folder.glob(".making-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
