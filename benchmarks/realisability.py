#!/usr/bin/env python3
"""Can the experts' labels be learned from pictures at all?

    python -m benchmarks.realisability

An expert sees the game's memory, a network only the screen at 84 x 84. Wherever two states look the same to the
network but have different labels, no network can be right at both. This plays each expert, with and without random
presses in between, and counts the steps whose picture also occurs with another label. Writes
`{output_dir}/realisability_{tier}.md` and `.json`, and the pictures concerned to `{output_dir}/realisability_{tier}/`. Exits with 1
if the share is above --max-share for a milestone.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.flag_groups import TierName
from common.runtime.flag_types import Seed, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ()
    """these alone; default is all, in turn"""
    episodes: int = 50
    """episodes of each kind"""
    noise: float = 0.2
    """probability of a random press in the noisy episodes"""
    max_share: float = 0.01
    """gate: largest share of steps whose picture occurs with different labels"""
    seed: Seed = 0
    """seed of the first episode; the others follow by ones"""
    rom_path: str = "tallgrass/tallgrass.gb"
    """the game"""
    policy_dir: str = ".milestone_trainer_cache/successful_policies"
    """policies that stand in for the game's own; they play in a sandbox"""
    unsafe_policies: bool = False
    """run those in this process, where the platform has no sandbox: only for files that you trust as your own"""
    milestone_config: str = "milestone_config.json"
    """the milestones' limits"""
    tier: TierName = "T1"
    """the game's tier; on T3 there must be contradictions"""
    worlds: str | None = None
    """worlds to play in; default is those to learn from on T2, else 0"""
    output_dir: str = "results"
    """folder for the table"""
    num_envs: int = 2
    """milestones that are played at once"""
    examples: int = 4
    """pictures with different labels to keep for each milestone"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import numpy as np
from PIL import Image

from agent.demonstrate import play_episode
from agent.open_expert import UNSAFE_NOTICE, open_policy
from benchmarks.folders import run_table
from common.preprocessing import preprocess_uint8
from common.runtime.files import save_json, save_text
from common.runtime.main import Stopped
from common.runtime.progress import ProgressReport
from common.runtime.workers import run_in_parallel
from pokemon_env.gym_env import PokemonEnv
from tasks.episode_starts import EpisodeStarts, choose_starts
from tasks.milestone_config import load_milestone_config, not_of_game


@dataclass
class LabelledPictures:
    """Which labels each picture was given; pictures are known by their digests."""

    labels: dict[bytes, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    screens: dict[bytes, np.ndarray] = field(default_factory=dict)
    """One screen for each picture with different labels."""

    def add(self, screen: np.ndarray, label: int) -> None:
        """Count the label of a (H, W, 3) uint8 screen."""
        digest = hashlib.blake2b(preprocess_uint8(screen).tobytes(), digest_size=16).digest()
        self.labels[digest][label] += 1
        if len(self.labels[digest]) > 1:
            self.screens.setdefault(digest, screen)

    @property
    def steps(self) -> int:
        return sum(counts.total() for counts in self.labels.values())

    @property
    def contradictory(self) -> int:
        """Steps whose picture occurs with different labels."""
        return sum(counts.total() for counts in self.labels.values() if len(counts) > 1)

    @property
    def certain_errors(self) -> int:
        """Steps at which the best function of the picture is wrong: all but the commonest label."""
        return sum(counts.total() - max(counts.values()) for counts in self.labels.values())

    def worst(self, n: int) -> list[tuple[np.ndarray, Counter[int]]]:
        """The n pictures with the most certain errors."""
        several = [(digest, counts) for digest, counts in self.labels.items() if len(counts) > 1]
        several.sort(key=lambda item: max(item[1].values()) - item[1].total())
        return [(self.screens[digest], counts) for digest, counts in several[:n]]


def look_at(args: Args, milestone: str, starts: EpisodeStarts, max_steps: int, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Play a milestone's episodes and count. Raises Stopped when `should_stop` says so."""
    pictures = LabelledPictures()
    with (
        PokemonEnv(args.rom_path, target_milestone=milestone, **starts.settings) as env,
        closing(open_policy((args.policy_dir, milestone), env, args.unsafe_policies)) as expert,
    ):
        for noise in (0.0, args.noise):
            for i in range(args.episodes):
                if should_stop():
                    raise Stopped
                episode = play_episode(env, expert, args.seed + i, starts.files[i % len(starts.files)], max_steps, noise)
                for screen, label in zip(episode.observations[:-1], episode.actions, strict=True):
                    if label >= 0:
                        pictures.add(screen, int(label))
    folder = Path(args.output_dir) / f"realisability_{args.tier}"
    for old in folder.glob(f"{milestone}_*.png"):
        old.unlink()
    for number, (screen, counts) in enumerate(pictures.worst(args.examples)):
        names = "_".join(f"{env.buttons[label].lower()}{count}" for label, count in counts.most_common())
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(screen).save(folder / f"{milestone}_{number}_{names}.png")
    return {
        "milestone": milestone,
        "steps": pictures.steps,
        "pictures": len(pictures.labels),
        "contradictory": pictures.contradictory,
        "share": pictures.contradictory / max(pictures.steps, 1),
        "certain_errors": pictures.certain_errors,
    }


def markdown(args: Args, records: list[dict[str, Any]], missed: list[str]) -> str:
    lines = [
        "# Realisability",
        "",
        f"`python -m benchmarks.realisability --tier {args.tier}`: {args.episodes} episodes without and {args.episodes} with "
        f"{args.noise:.0%} random presses for each milestone. A contradiction is a step whose picture (84 x 84, as "
        "networks see it) occurs with another label, too; certain errors are the steps at which even the best function "
        "of the picture is wrong.",
        "",
        "| milestone | steps | different pictures | contradictions | share | certain errors |",
        "|-|-|-|-|-|-|",
    ]
    for r in records:
        cells = (
            r["milestone"],
            r["steps"],
            r["pictures"],
            r["contradictory"],
            f"{r['share']:.2%}",
            r["certain_errors"],
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines.append(f"\nGate (at most {args.max_share:.0%} each): " + (f"missed by {', '.join(missed)}." if missed else "passed."))
    return "\n".join(lines) + "\n"


def main(args: Args) -> int:
    check_bounds(args)
    config = load_milestone_config(args.milestone_config)
    env = PokemonEnv(args.rom_path)
    game, ids = env.game, [milestone.id for milestone in env.milestones]
    env.close()
    if args.unsafe_policies:
        print(UNSAFE_NOTICE)
    if unknown := set(args.milestones) - set(ids):
        raise ValueError(f"{game.name} has no milestone {', '.join(sorted(unknown))}; it has {', '.join(ids)}")
    if foreign := not_of_game(config, game):
        raise ValueError(f"{args.milestone_config} is another game's, for {game.name} has no milestone {foreign[0]}; give its own")
    chosen = [name for name in ids if name in args.milestones or not args.milestones]
    if missing := [name for name in chosen if name not in config]:
        raise ValueError(f"{args.milestone_config} has no {', '.join(missing)}; add it")
    tier = args.tier if game.has_worlds else None
    starts = {name: choose_starts(game, name, args.rom_path, purpose="train", worlds=args.worlds, tier=tier) for name in chosen}
    done: dict[str, dict[str, Any]] = {}

    def work(name: str, should_stop: Callable[[], bool]) -> dict[str, Any]:
        return look_at(args, name, starts[name], config[name].max_steps, should_stop)

    with ProgressReport("milestones", len(chosen)) as report:

        def on_result(name: str, record: dict[str, Any]) -> None:
            done[name] = record
            report.update(len(done), name)

        run_in_parallel(work, chosen, args.num_envs, on_result)
    records = [done[name] for name in chosen]
    missed = [record["milestone"] for record in records if record["share"] > args.max_share]
    output = Path(args.output_dir)
    save_json(output / f"realisability_{args.tier}.json", {"args": asdict(args), "missed": missed, "milestones": records})
    save_text(output / f"realisability_{args.tier}.md", markdown(args, records, missed))
    print((output / f"realisability_{args.tier}.md").read_text())
    return 1 if missed else 0


if __name__ == "__main__":
    run_table("realisability.py", lambda: main(args), f"{args.output_dir}/realisability_{args.tier}")
