#!/usr/bin/env python3
"""How well do the scripted experts play? Two tables in one, and gates that they have to pass.

    python -m benchmarks.expert_table
    python -m benchmarks.expert_table --tier T2

For each milestone, seeded episodes from where it begins (success within the milestone's max_steps, mean steps), and more of
them that begin after up to 300 random presses, as a student's blunders would leave the game. Writes
`{output_dir}/expert_table_{tier}.md` and `.json`; milestones that are in the JSON already, played with the same ROM,
policy, code and settings, are not played again. Exits with 1 if a gate is missed.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.flag_groups import TierName
from common.runtime.flag_types import Count, Seed, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ()
    """these alone; default is all, in turn"""
    episodes: Count = 50
    """episodes from where the milestone begins"""
    random_starts: Count = 100
    """episodes that begin after random presses"""
    max_random_presses: int = 300
    """at most so many random presses"""
    max_steps: int | None = None
    """limit of an episode; default is the milestone's in --milestone-config"""
    seed: Seed = 20_000
    """seed of the first episode; the others follow by ones. The limits in milestone_config.json were set with --seed 0, so that
    this table is not one of the episodes that they were fitted to"""
    rom_path: str = "tallgrass/tallgrass.gb"
    """the game"""
    policy_dir: str = ".milestone_trainer_cache/successful_policies"
    """policies that stand in for the game's own; they play in a sandbox"""
    unsafe_policies: bool = False
    """run those in this process, where the platform has no sandbox: only for files that you trust as your own"""
    milestone_config: str = "milestone_config.json"
    """the milestones' limits"""
    tier: TierName = "T1"
    """the game's tier"""
    worlds: str | None = None
    """worlds to play in; default is the test worlds on T2, else 0"""
    output_dir: str = "results"
    """folder for the tables"""
    num_envs: Count = 2
    """milestones that are played at once"""
    fresh: bool = False
    """play again what is in the JSON already"""
    min_successes: float = 0.9
    """gate: each milestone's share of successes from its beginning"""
    min_overall: float = 0.98
    """gate: the share over all milestones together"""
    min_random_start: float = 0.95
    """gate: each milestone's share of successes after random presses"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import gymnasium
import numpy as np

from agent.open_expert import UNSAFE_NOTICE, open_policy
from agent.policy_expert import find_policy
from benchmarks.folders import PLAY_SOURCES, SUMMARY, check_kept, fingerprint, known_rows, run_table, source_files, summary
from common.episodes import seeded_episodes
from common.evaluation import evaluate
from common.policies import StatePolicy
from common.runtime.files import save_json, save_text
from common.runtime.progress import ProgressReport
from common.runtime.workers import run_in_parallel
from common.statistics import rate_text
from pokemon_env.games.base import Game
from pokemon_env.gym_env import PokemonEnv
from tasks.episode_starts import EpisodeStarts, choose_starts
from tasks.milestone_config import limits_of_game

RECORD = {"milestone": str, "max_steps": int, "begun": SUMMARY, "random_start": SUMMARY, "abstentions": int}
"""The types in a milestone's record."""


class RandomPressStart(gymnasium.Wrapper):
    """Begins each episode after 0 to `max_presses` random presses, but before the target is reached by them."""

    def __init__(self, env: gymnasium.Env, max_presses: int):
        super().__init__(env)
        self.max_presses = max_presses

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """`seed` decides the presses as well; it has to be given."""
        rng = np.random.default_rng([seed, self.max_presses])
        presses = rng.integers(self.action_space.n, size=rng.integers(self.max_presses + 1))
        while True:
            observation, info = self.env.reset(seed=seed, options=options)
            for done, action in enumerate(presses):
                observation, _, terminated, _, info = self.env.step(int(action))
                if terminated:  # the same again, but for the press that did it
                    presses = presses[:done]
                    break
            else:
                return observation, info


def play(args: Args, milestone: str, starts: EpisodeStarts, max_steps: int, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """The record of one milestone: both sets of episodes. Raises Stopped when `should_stop` says so."""
    with (
        PokemonEnv(args.rom_path, target_milestone=milestone, **starts.settings) as env,
        closing(open_policy((args.policy_dir, milestone), env, args.unsafe_policies)) as expert,
    ):
        policy = StatePolicy(lambda state: expert.label(state).action, len(env.buttons))
        episodes = seeded_episodes(args.episodes, args.seed, starts.files)
        begun = evaluate(env, policy, episodes, max_steps, should_stop=should_stop)
        wandering = RandomPressStart(env, args.max_random_presses)
        episodes = seeded_episodes(args.random_starts, args.seed + 100_000, starts.files)
        after = evaluate(wandering, policy, episodes, max_steps, should_stop=should_stop)
    return {
        "milestone": milestone,
        "max_steps": max_steps,
        "policy": str(expert.path.name),
        "begun": summary(begun),
        "random_start": summary(after),
        "answers": expert.answers,
        "abstentions": expert.abstentions,
        "suggested_max_steps": suggested_limit(summary(begun), summary(after)),
    }


def suggested_limit(*parts: dict[str, Any]) -> int | None:
    """A milestone's max_steps, from what its expert took: three times the mean from its beginning (the first of
    `parts`) and no less than 20, but also a fifth more than its slowest success, which bad luck in a battle makes long.
    Rounded up to tens; None if it never succeeded.
    """
    slowest = max((part["max_steps_taken"] or 0 for part in parts), default=0)
    if not parts[0]["mean_steps"]:
        return None
    return 10 * math.ceil(max(20, 3 * parts[0]["mean_steps"], 1.2 * slowest) / 10)


def current_key(args: Args, game: Game, milestone: str, max_steps: int) -> str:
    """The fingerprint of what a milestone's record depends on."""
    settings = {key: asdict(args)[key] for key in ("episodes", "random_starts", "max_random_presses", "seed", "tier", "worlds")}
    policy = find_policy(milestone, args.policy_dir, game.policy_dir)
    return fingerprint([milestone, max_steps, settings], [args.rom_path, policy, *source_files(*PLAY_SOURCES)])


def gates(args: Args, records: list[dict[str, Any]]) -> list[str]:
    """What was missed, in words."""
    missed = []
    for record in records:
        for key, least, where in (
            ("begun", args.min_successes, "where it begins"),
            ("random_start", args.min_random_start, "states after random presses"),
        ):
            part = record[key]
            if part["successes"] < least * part["episodes"]:
                missed.append(f"{record['milestone']}: {part['successes']} of {part['episodes']} from {where}, wanted {least:.0%}")
    total, successes = (sum(record["begun"][key] for record in records) for key in ("episodes", "successes"))
    if successes < args.min_overall * total:
        missed.append(f"all together: {successes} of {total}, wanted {args.min_overall:.0%}")
    return missed


def markdown(args: Args, records: list[dict[str, Any]], missed: list[str]) -> str:
    """The table, with the command that makes it."""
    lines = [
        "# The scripted experts",
        "",
        f"`python -m benchmarks.expert_table --tier {args.tier}`: for each milestone {args.episodes} episodes from where it begins "
        f"and {args.random_starts} after up to {args.max_random_presses} random presses. Success means within the "
        "limit; intervals are Wilson's (95 %); steps are those of the successes.",
        "",
        "| milestone | limit | success | steps, mean ± std | after random presses | steps, mean ± std | abstentions |",
        "|-|-|-|-|-|-|-|",
    ]
    for record in records:
        cells = [record["milestone"], str(record["max_steps"])]
        for key in ("begun", "random_start"):
            part = record[key]
            cells.append(rate_text(part["successes"], part["episodes"]))
            cells.append("" if part["mean_steps"] is None else f"{part['mean_steps']:.1f} ± {part['std_steps']:.1f}")
        cells.append(str(record["abstentions"]))
        lines.append(f"| {' | '.join(cells)} |")
    for key, where in (("begun", "where they begin"), ("random_start", "random presses")):
        total, successes = (sum(record[key][name] for record in records) for name in ("episodes", "successes"))
        lines.append(f"\nAll together from {where}: {rate_text(successes, total)}.")
    lines.append("\nGates: " + ("; ".join(missed) if missed else "all passed") + ".")
    return "\n".join(lines) + "\n"


def main(args: Args) -> int:
    if args.unsafe_policies:
        print(UNSAFE_NOTICE)
    env = PokemonEnv(args.rom_path)
    game, ids = env.game, [milestone.id for milestone in env.milestones]
    env.close()
    if unknown := set(args.milestones) - set(ids):
        raise ValueError(f"{game.name} has no milestone {', '.join(sorted(unknown))}; it has {', '.join(ids)}")
    chosen = [name for name in ids if name in args.milestones or not args.milestones]
    config = {} if args.max_steps else limits_of_game(args.milestone_config, game, "--max-steps")
    limits = {name: args.max_steps or config[name] for name in ids if args.max_steps or name in config}
    if missing := [name for name in chosen if name not in limits]:
        raise ValueError(f"{args.milestone_config} has no {', '.join(missing)}; add it, or give --max-steps")
    check_bounds(args)
    for name in chosen:  # a missing or broken one is told before anything is played
        open_policy((args.policy_dir, name), env, args.unsafe_policies).close()

    output = Path(args.output_dir)
    known = known_rows(output / f"expert_table_{args.tier}.json")
    keys = {name: current_key(args, game, name, limit) for name, limit in limits.items()}
    current = {name: row for name, row in known.items() if name in keys and row.get("fingerprint") == keys[name]}
    if args.fresh:
        current = {name: row for name, row in current.items() if name not in chosen}
    for row in current.values():
        check_kept(row, RECORD, output / f"expert_table_{args.tier}.json")
    todo = [name for name in chosen if name not in current]
    tier = args.tier if game.has_worlds else None
    starts = {name: choose_starts(game, name, args.rom_path, purpose="test", worlds=args.worlds, tier=tier) for name in chosen}

    def in_order(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        return [rows[name] for name in ids if name in rows]

    def save() -> None:
        # Rows of other settings stay in the JSON file until their milestone is played again.
        found = in_order(current)
        missed = gates(args, found)
        content = {"args": asdict(args), "missed": missed, "milestones": in_order(known | current)}
        save_json(output / f"expert_table_{args.tier}.json", content)
        save_text(output / f"expert_table_{args.tier}.md", markdown(args, found, missed))

    def work(name: str, should_stop: Callable[[], bool]) -> dict[str, Any]:
        return {**play(args, name, starts[name], limits[name], should_stop), "fingerprint": keys[name]}

    with ProgressReport("milestones", len(chosen), len(chosen) - len(todo)) as report:

        def on_result(name: str, record: dict[str, Any]) -> None:
            current[name] = record
            save()
            report.update(sum(name in current for name in chosen), name)

        run_in_parallel(work, todo, args.num_envs, on_result)
    save()
    found = [current[name] for name in chosen]
    missed = gates(args, found)
    print(markdown(args, found, missed))
    return 1 if missed else 0


if __name__ == "__main__":
    run_table("expert_table.py", lambda: main(args), f"{args.output_dir}/expert_table_{args.tier}")
