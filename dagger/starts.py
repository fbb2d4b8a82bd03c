"""Where episodes of a rollout begin, except where the game draws a start: at hand-overs, and where others were cut off.

Where the game draws a start, all is at rest, and an episode ends before much has gone wrong. In the whole game a student takes over
mid-scene, with a line of text still shown, and no episode ends after a defeat: the student has to walk back.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agent.policy_expert import PolicyExpert
from common.episodes import EpisodeSpec, Step
from common.evaluation import evaluate
from common.policies import StatePolicy
from common.runtime.seeding import derive, derived_seed
from pokemon_env.errors import StateFileError
from pokemon_env.games.base import Game
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.state_files import StateIdentity, read_state
from pokemon_env.vector_env import make_vector_env
from tasks.recorded_starts import ATTEMPTS, MAX_STEPS_PER_MILESTONE, StartStateError

_MADE = re.compile(r"handovers_(train|choose)|cutoffs_iter-?\d+")


def ensure_handovers(
    folder: str | os.PathLike,
    game: Game,
    milestone: str,
    settings: Mapping[str, Any],
    n_states: int,
    seed: int,
    *,
    rom_path: str | os.PathLike,
    num_envs: int = 8,
) -> tuple[Path, ...]:
    """Return the states in which the previous milestone's expert has just reached its goal and `milestone`'s student takes over.

    Those that are missing, damaged, of another ROM or of other arguments are made first: each is played by the game's own
    expert, in this process, from a start that the game draws. The same arguments make the same states.

    Args:
        folder: where they lie, 000.state, 001.state, ...
        game: one with worlds, and with experts of its own.
        milestone: the one whose student takes over. The first one has no hand-overs.
        settings: `tier` and `worlds` of PokemonEnv; whatever else is in it is not used.
        n_states: how many to return.
        seed: of the starts.

    Raises StartStateError where the expert doesn't get there, ValueError for a game that can't have hand-overs.
    """
    names = [one.id for one in game.milestones]
    if n_states < 1 or names.index(milestone) == 0:
        return ()
    if not game.has_worlds or game.policy_dir is None:
        raise ValueError(f"{game.name} has no worlds, or no experts of its own, so that no hand-overs can be played")
    folder = Path(folder)
    previous = names[names.index(milestone) - 1]
    policy_file = game.policy_dir / f"{previous}.py"
    expert = PolicyExpert(policy_file, game)
    policy = StatePolicy(lambda info: expert.label(info).action, len(game.buttons))
    paths = [folder / f"{number:03d}.state" for number in range(n_states)]
    settings = {key: settings[key] for key in ("tier", "worlds") if settings.get(key) is not None}
    code = hashlib.sha256(expert.source.data).hexdigest()
    about = {"handover_to": milestone, "run_seed": seed, "expert": code, **settings}
    envs = make_vector_env(
        min(num_envs, n_states), rom_path=rom_path, target_milestone=previous, start_milestone=previous, **settings
    )
    try:
        identity = envs.envs[0].identity
        for attempt in range(ATTEMPTS):
            todo = [number for number, path in enumerate(paths) if not is_current(path, identity, about)]
            if not todo:
                return tuple(paths)
            episodes = [EpisodeSpec(handover_seed(seed, milestone, number, attempt)) for number in todo]

            def keep(step: Step, todo: list[int] = todo, episodes: list[EpisodeSpec] = episodes) -> None:
                # One press may have completed both; there is nothing left to be handed over then.
                if step.terminated and not step.next_info["milestones"][milestone]["completed"]:
                    details = about | {"seed": episodes[step.episode].seed, "steps": step.number + 1}
                    envs.envs[step.slot].save_state(paths[todo[step.episode]], details)

            evaluate(envs, policy, episodes, MAX_STEPS_PER_MILESTONE, on_step=keep)
        missing = [path for path in paths if not is_current(path, identity, about)]
    finally:
        envs.close()
    if missing:
        raise StartStateError(
            f"{len(missing)} of {n_states} hand-overs to {milestone} can't be made (tried with {ATTEMPTS} seeds each): "
            f"{policy_file} does not complete {previous} within {MAX_STEPS_PER_MILESTONE} steps, or completes {milestone} "
            "with the same press"
        )
    return tuple(paths)


def given_handovers(
    folder: str | os.PathLike, purpose: Literal["train", "choose"], identity: StateIdentity, milestone: str
) -> tuple[Path, ...]:
    """Return the hand-overs that lie in `{folder}/{purpose}`, sorted by name.

    Raises StartStateError if there is none, or if one is behind the milestone, and StateFileError for a file that cannot be used.
    """
    place = Path(folder) / purpose
    paths = sorted(place.glob("*.state"))
    if not paths:
        raise StartStateError(f"{place}: has no .state files; put some there, or leave out --handovers")
    for path in paths:
        if milestone in read_state(path, identity).milestones:
            raise StartStateError(f"{path}: {milestone} is completed there; remove it")
    return tuple(paths)


def handover_seed(seed: int, milestone: str, number: int, attempt: int) -> int:
    """Return the seed of a hand-over's start: another one for each milestone, each number and each attempt."""
    return derived_seed(seed, "hand-overs", milestone, number, attempt)


def is_current(path: Path, identity: StateIdentity, about: Mapping[str, Any]) -> bool:
    """Return whether the state is there, can be used, and was made for what `about` says."""
    try:
        details = read_state(path, identity).details
    except StateFileError:
        return False
    return all(details.get(key) == value for key, value in about.items())


def share_of(count: int, share: float) -> int:
    """Return how many of the first `count` are that share, rounded down."""
    return int(count * share + 1e-9)  # 100 * 0.29 is a little less than 29


def mix_starts(
    drawn: Sequence[Path | None],
    handovers: Sequence[Path],
    handover_share: float,
    cutoffs: Sequence[Path] = (),
    cutoff_share: float = 0.0,
    first: int = 0,
) -> list[Path | None]:
    """Return the starts of some episodes, with hand-overs and cut-offs evenly spread among them.

    Args:
        drawn: those of all the episodes without any, in order; None leaves one to the environment.
        handovers: taken in order, again and again.
        handover_share: of the episodes.
        cutoffs: an episode continues from each once.
        cutoff_share: of the episodes, as far as there are cut-offs. Both shares together are at most 1.
        first: number of the first episode, over all rollouts: the hand-overs continue where the last rollout ended.
    """
    starts = list(drawn)
    others = []
    for place in range(len(starts)):
        before, after = share_of(first + place, handover_share), share_of(first + place + 1, handover_share)
        if handovers and after > before:
            starts[place] = handovers[before % len(handovers)]
        else:
            others.append(place)
    share = min(cutoff_share * len(starts) / max(len(others), 1), 1.0)
    places = [place for i, place in enumerate(others) if share_of(i + 1, share) > share_of(i, share)]
    for place, path in zip(places, cutoffs, strict=False):
        starts[place] = path
    return starts


@dataclass(frozen=True)
class CutOffs:
    """Where the states of episodes that were cut off are kept, for the next rollout to begin at."""

    folder: Path
    """000.state, 001.state, ... in the order in which they were cut off; emptied at the beginning of a rollout."""
    most: int
    """No more than these are kept."""

    def clear(self) -> None:
        """Delete what a rollout left that was not committed."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, env: PokemonEnv, number: int) -> None:
        """Write the state of an episode that was just cut off, the rollout's `number`th."""
        if number < self.most:
            env.save_state(self.folder / f"{number:03d}.state")


class RolloutStarts:
    """Where the episodes of a run's rollouts begin: where the game draws a start, at hand-overs, and where others were cut off.

    Args:
        folder: where the states of the latter two lie.
        seed: the run's.
        per_iteration: episodes of a rollout.
        handover_share, cutoff_share: shares of them that begin at hand-overs, and where episodes before were cut off.

    Raises StartStateError if the folder, or one that was made in it, is a link.
    """

    def __init__(self, folder: Path, seed: int, per_iteration: int, handover_share: float = 0.0, cutoff_share: float = 0.0):
        self.folder, self.seed, self.per_iteration = folder, seed, per_iteration
        for path in (folder, *self._made()):  # a run's folder may be a stranger's, and lead anywhere
            if path.is_symlink():
                raise StartStateError(
                    f"{path}: is a link, and nothing is deleted behind one; remove it, or choose another --model-dir"
                )
        self.handover_share, self.cutoff_share = handover_share, cutoff_share

    def episodes(self, iteration: int, files: Sequence[Path | None], handovers: Sequence[Path]) -> list[EpisodeSpec]:
        """Return the episodes of an iteration's rollout; each has a seed of its own, whatever was played before.

        Args:
            iteration: its number.
            files: start states, taken in order, again and again; None leaves the start to the game.
            handovers: states of `make_handovers`.
        """
        seeds = derive(self.seed, "rollout", iteration).generate_state(self.per_iteration)
        first = iteration * self.per_iteration
        drawn = [files[(first + i) % len(files)] for i in range(self.per_iteration)]
        mixed = mix_starts(drawn, handovers, self.handover_share, self.kept(iteration - 1), self.cutoff_share, first)
        return [EpisodeSpec(int(seed >> 1), file) for seed, file in zip(seeds, mixed, strict=True)]

    def cutoffs(self, iteration: int) -> CutOffs:
        """Return where an iteration's rollout keeps the states at which its episodes were cut off."""
        return CutOffs(self._cutoffs_folder(iteration), share_of(self.per_iteration, self.cutoff_share))

    def kept(self, iteration: int) -> list[Path]:
        """Return the states that an iteration's rollout kept."""
        return sorted(self._cutoffs_folder(iteration).glob("*.state"))

    def forget(self, iteration: int) -> None:
        """Delete what an iteration's rollout kept."""
        shutil.rmtree(self._cutoffs_folder(iteration), ignore_errors=True)

    def clear(self, kept: Sequence[Path]) -> None:
        """Delete the states of an overwritten run, but for the folders that these lie in."""
        for part in self._made():
            if part not in {path.parent for path in kept}:
                shutil.rmtree(part)
        with suppress(OSError):  # it is not empty, or not there
            self.folder.rmdir()

    def make_handovers(
        self,
        purpose: Literal["train", "choose"],
        game: Game,
        milestone: str,
        settings: Mapping[str, Any],
        n_states: int,
        *,
        rom_path: str | os.PathLike,
        num_envs: int,
    ) -> tuple[Path, ...]:
        """Return the hand-overs at which episodes of rollouts ("train") or of evaluations ("choose") begin: `ensure_handovers`."""
        seed = int(derive(self.seed, purpose).generate_state(1)[0])
        folder = self.folder / f"handovers_{purpose}"
        return ensure_handovers(folder, game, milestone, settings, n_states, seed, rom_path=rom_path, num_envs=num_envs)

    def _made(self) -> list[Path]:
        """The folders that runs of this name made in theirs."""
        return [path for path in self.folder.glob("*") if path.is_dir() and _MADE.fullmatch(path.name)]

    def _cutoffs_folder(self, iteration: int) -> Path:
        return self.folder / f"cutoffs_iter{iteration}"
