#!/usr/bin/env python3
"""The whole game, played from power-on by the students of all milestones, one after another.

    python play.py                                     # the pipeline's students, or those that come with the bundled game
    python play.py --n-runs 30 --no-record-video       # how many of 30 runs reach the end
    python play.py --router pixels                     # the router sees nothing but the screen
    python play.py --students dagger_pipeline_results

Prints how far each run came and when each milestone was completed, in steps and in the console's time, next to the results of
the game's own experts on the same seeds. Writes `{output_dir}/play.json` and a film of the first run with milestone, button and
confidence.
"""
# ruff: noqa: E402 - the flags are parsed before torch and the emulator are imported, so that --help answers at once

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from common.flag_groups import TierName
from common.runtime.flag_types import AtLeastOne, Count, Few, FlagError, Seed, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    students: str | None = None
    """Folder of students: a pipeline's output folder, or one with {ID}.pth. None: dagger_pipeline_results if it has a student for
    every milestone, else the students that come with the bundled game."""
    router: Literal["memory", "pixels"] = "memory"
    """Source of the current milestone: the game's memory (the track "routed"), or a network that sees only the screen
    ("pixels-only")."""
    router_network: str | None = None
    """Checkpoint of that network. None: router.pth in the students' folder."""
    n_runs: Count = 1
    """Runs, each with a seed of its own."""
    seed: Seed = 70000
    """Seed of the first run."""
    tier: TierName | None = None
    """Difficulty tier of the bundled game. None: the one that the students were trained on."""
    worlds: str | None = None
    """Worlds to play in. None: the tier's, on T2 the test worlds."""
    step_factor: AtLeastOne = 5.0
    """A run ends after this many times the steps that the experts need from power-on on the same seed."""
    max_steps: Count | None = None
    """Steps after which a run ends; needed for a game that brings no experts. None follows --step-factor."""
    record_video: bool = True
    """Film the first run."""
    output_dir: str = "play_results"
    """Folder for the film and play.json."""
    rom_path: str = "tallgrass/tallgrass.gb"
    """The game's ROM; the default is the bundled game."""
    num_envs: Few = 4
    """Runs that play in parallel."""
    num_threads: Few = 1
    """CPU threads for torch; one is enough for the small batches."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from agent.chain import ChainedExperts, ChainedStudents, MemoryRouter, PixelRouter, Router
from agent.policy_expert import PolicyExpert
from agent.students import find_students, load_student
from common.episodes import EpisodeResult, Evaluation, Step, seeded_episodes
from common.evaluation import evaluate
from common.networks import build_network, check_plays
from common.policies import Policy
from common.runtime.checkpoints import CheckpointError, load_checkpoint, shown
from common.runtime.files import clear_temporaries, exclusive_lock, save_json
from common.runtime.main import run_main
from common.runtime.progress import ProgressReport, print_table
from common.statistics import rate_text
from common.video import EpisodeRecorder
from pokemon_env.builds import plays_alike
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games import find_game
from pokemon_env.games.base import Game
from pokemon_env.gym_env import FRAMES_PER_SECOND, PokemonEnv
from pokemon_env.rom import Rom
from pokemon_env.vector_env import ThreadVectorEnv, make_vector_env
from tasks.episode_starts import choose_starts

PIPELINE_RESULTS = Path("dagger_pipeline_results")
LONGEST = 10_000
"""Steps after which the experts' own run ends."""


class ChainFilm(EpisodeRecorder):
    """Films a run with the milestone that the router chose, the button, and the student's confidence in it."""

    def __init__(self, folder: Path, prefix: str, policy: ChainedStudents, seed: int, milestones: list[str], buttons: list[str]):
        super().__init__(folder, prefix, buttons=buttons)
        self.policy, self.seed, self.milestones = policy, seed, milestones

    def caption(self, action: int | None) -> str:
        if action is None:
            return " "
        place, confidence = self.policy.last[self.policy.slots[self.seed]]
        return f"{self.milestones[place]}  {self.buttons[action]} {confidence:.0%}"


@dataclass(frozen=True)
class Runs:
    """Results of some seeded runs."""

    result: Evaluation
    splits: list[dict[str, tuple[int, int]]]
    """Per run: milestone -> (steps, frames) when it was completed."""
    films: list[Path]
    """Of these runs; none if it could not be written."""

    def reached(self, milestone: str) -> list[tuple[int, int]]:
        """Return the splits of the runs that completed the milestone."""
        return [splits[milestone] for splits in self.splits if milestone in splits]


def play(
    policy: Any, envs: ThreadVectorEnv, args: Args, limits: list[int], title: str, film: EpisodeRecorder | None = None
) -> Runs:
    """Play seeded runs from power-on, until the game's last milestone is completed or the run's limit of steps is reached."""
    splits: list[dict[str, tuple[int, int]]] = [{} for _ in range(args.n_runs)]
    specs = seeded_episodes(args.n_runs, args.seed)
    episodes = [replace(spec, max_steps=limit) for spec, limit in zip(specs, limits, strict=True)]

    with ProgressReport(title, args.n_runs) as report:

        def keep(step: Step) -> None:
            if step.over:
                times = splits[step.episode] = dict(policy.splits[step.slot])
                for name, entry in step.next_info["milestones"].items():
                    if entry["completed"]:  # by the last press: the policy is not called again, and so never saw it
                        times.setdefault(name, (step.number + 1, envs.envs[step.slot].frames))
                over.append(step.episode)
                report.update(len(over))

        over: list[int] = []
        result = evaluate(envs, policy, episodes, max(limits), recorder=film, on_step=keep)
    return Runs(result, splits, [] if film is None else film.paths)


def choose_students(args: Args, game: Game, milestones: list[str]) -> tuple[Path, dict[str, Path]]:
    """Return the students that play, and their folder."""
    folders = [PIPELINE_RESULTS]
    if args.students is not None:
        folders = [Path(args.students)]
    elif game.policy_dir is not None:
        folders.append(game.policy_dir.parent / "students")
    for folder in folders[:-1]:
        try:
            return folder, find_students(folder, milestones)
        except CheckpointError:
            pass
    return folders[-1], find_students(folders[-1], milestones)


def tier_of(paths: dict[str, Path]) -> str | None:
    """Return the tier that all students were trained on; None if they do not name it. Raises FlagError if they differ."""
    tiers = {name: load_checkpoint(path).get("tier") for name, path in paths.items()}
    if len(set(tiers.values())) > 1:
        text = ", ".join(f"{name} {tier}" for name, tier in tiers.items())
        raise FlagError(f"the students were trained on different tiers ({text}): give the tier to play on with --tier")
    return next(iter(tiers.values()))


def make_router(args: Args, milestones: list[str], folder: Path, rom_sha256: str) -> Router:
    """Return the router, which names the current milestone."""
    if args.router == "memory":
        return MemoryRouter(milestones)
    path = Path(args.router_network) if args.router_network else folder / "router.pth"
    content = load_checkpoint(path)
    for key, wanted in (("algorithm", "router"), ("milestones", milestones), ("rom_sha256", rom_sha256)):
        if not plays_alike(content.get(key), wanted):
            raise CheckpointError(
                f"{path}: its {key} is {shown(content.get(key))}, wanted {wanted}; make one with python -m tools.train_router"
            )
    return PixelRouter(build_network(content, path))


def load_experts(game: Game, milestones: list[str]) -> dict[str, PolicyExpert]:
    """Return the game's own experts; {} if it has none."""
    if game.policy_dir is None:
        return {}
    return {name: PolicyExpert(game.policy_dir / f"{name}.py", game) for name in milestones}


def splits_table(milestones: list[str], students: Runs, experts: Runs | None, track: str) -> Table:
    """Return a table of when each milestone was completed, on average over the runs that completed it."""
    table = Table("milestone", f"students, {track}", "steps", "time", "experts", "steps", "time", title="completed after")
    for name in milestones:
        cells = []
        for runs in (students, experts):
            reached = [] if runs is None else runs.reached(name)
            cells += ["-" if runs is None else f"{len(reached)}/{len(runs.splits)}", *mean_split(reached)]
        table.add_row(name, *cells)
    return table


def mean_split(reached: list[tuple[int, int]]) -> tuple[str, str]:
    """Return mean steps, and mean time of the console as minutes and seconds."""
    if not reached:
        return "-", "-"
    steps, frames = np.mean(reached, axis=0)
    minutes, seconds = divmod(round(frames / FRAMES_PER_SECOND), 60)
    return f"{steps:.0f}", f"{minutes}:{seconds:02d}"


def how_far(milestones: list[str], episode: EpisodeResult) -> str:
    """Return the last milestone of the story that a run completed, in words."""
    done = [name for name in milestones if name in episode.milestones]
    return done[-1] if done else "nothing"


def main(args: Args) -> int:
    """Play, while no other run writes to the same folder."""
    with exclusive_lock(Path(args.output_dir) / ".lock"):  # two runs would write one play.json
        clear_temporaries(args.output_dir, r"play\.json|play_.*\.mp4")  # a run that trains there has others
        return play_and_report(args)


def play_and_report(args: Args) -> int:
    """Do the work of `main`, in a locked folder."""
    check_bounds(args)
    torch.set_num_threads(args.num_threads)
    rom = Rom.read(args.rom_path)
    game = find_game(rom)
    milestones = [milestone.id for milestone in game.milestones]
    if not milestones:
        raise FlagError(
            f"{args.rom_path} ({game.name}) has no milestones, so there are no students of it: film a clone with "
            "bc_pokemon.py --eval-only"
        )
    folder, paths = choose_students(args, game, milestones)
    print(f"students of {folder}")
    students = [load_student(path, name, rom.header.sha256, game.buttons) for name, path in paths.items()]
    router = make_router(args, milestones, folder, rom.header.sha256)
    with PokemonEnv(args.rom_path) as env:
        screen_shape = env.observation_space.shape
    for path, (network, _) in zip(paths.values(), students, strict=True):
        check_plays(network, path, screen_shape, len(game.buttons))
    if isinstance(router, PixelRouter):
        check_plays(router.network, args.router_network or folder / "router.pth", screen_shape, len(milestones))
    experts = load_experts(game, milestones)
    if not experts and args.max_steps is None:
        raise FlagError(f"{game.name} brings no experts to measure a run by: give --max-steps")
    tier = args.tier or tier_of(paths)
    starts = choose_starts(game, None, args.rom_path, purpose="test", kind="power-on", tier=tier, worlds=args.worlds)
    settings = {"rom_path": args.rom_path, "target_milestone": milestones[-1], **starts.settings}

    def run(policy_of: Any, limits: list[int], title: str, state: bool) -> tuple[Runs, Policy]:
        envs = make_vector_env(min(args.num_envs, args.n_runs), state_in_info=state, **settings)
        try:
            policy, film = policy_of(envs)
            return play(policy, envs, args, limits, title, film), policy
        finally:
            envs.close()

    expert_runs = None
    if experts:
        longest = [LONGEST] * args.n_runs
        expert_runs, _ = run(lambda envs: (ChainedExperts(experts, envs.envs), None), longest, "experts", state=True)
    limits = [args.max_steps] * args.n_runs
    if args.max_steps is None:
        if failed := [str(episode.seed) for episode in expert_runs.result.episodes if not episode.success]:
            raise FlagError(
                f"the experts themselves do not reach {milestones[-1]} with seed(s) {', '.join(failed)}, so that a run cannot be "
                "measured by theirs: give --max-steps"
            )
        limits = [round(args.step_factor * episode.length) for episode in expert_runs.result.episodes]
    output = Path(args.output_dir)

    def chained(envs: ThreadVectorEnv) -> tuple[ChainedStudents, EpisodeRecorder | None]:
        policy = ChainedStudents(students, router, envs.envs)
        film = ChainFilm(output, f"play_{router.track}", policy, args.seed, milestones, list(game.buttons))
        return policy, film if args.record_video else None

    runs, policy = run(chained, limits, "students", state=False)

    print_table(splits_table(milestones, runs, expert_runs, router.track))
    stopped = Counter(how_far(milestones, episode) for episode in runs.result.episodes if not episode.success)
    text = rate_text(runs.result.successes, args.n_runs)
    agreement = policy.agreed / max(policy.steps, 1)
    print(f"{router.track}: {text} runs from power-on reached {milestones[-1]}", end="")
    print(f"; the others came as far as {', '.join(f'{name} ({count})' for name, count in stopped.items())}" if stopped else "")
    if expert_runs is not None:
        text = rate_text(expert_runs.result.successes, args.n_runs)
        print(f"experts: {text}, in {expert_runs.result.mean_length:.0f} steps on average")
    if args.router == "pixels":
        print(f"the student that played was the one that memory would have chosen at {agreement:.1%} of the steps")
    content = {
        "args": asdict(args),
        "starts": starts.settings,
        "track": router.track,
        "router_agreement": agreement,
        "policies": {name: str(path) for name, path in paths.items()},
        "limits": limits,
        "students": as_rows(milestones, runs),
        "experts": None if expert_runs is None else as_rows(milestones, expert_runs),
    }
    save_json(output / "play.json", content)
    print(", ".join(map(str, [output / "play.json", *runs.films])))
    return 0


def as_rows(milestones: list[str], runs: Runs) -> list[dict[str, Any]]:
    """Return the runs in plain types."""
    return [
        {
            "seed": episode.seed,
            "success": episode.success,
            "steps": episode.length,
            "came_to": how_far(milestones, episode),
            "splits": splits,
        }
        for episode, splits in zip(runs.result.episodes, runs.splits, strict=True)
    ]


if __name__ == "__main__":
    run_main("play.py", lambda: main(args), errors=(PokemonEnvError, ValueError))
