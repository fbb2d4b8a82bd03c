#!/usr/bin/env python3
"""What does the sandbox cost? Rollouts whose every state an expert labels, with the policy in this process and locked up.

    python -m benchmarks.speed.sandbox --milestones CLOCK_SET SECOND_TOWN --steps 300

Prints for each milestone steps per second of a rollout, labels included, and the ratio to the first column: "in-process"
asks `PolicyExpert` at each step, as `agent.demonstrate.play_episode` does; "batch" keeps the situations and asks a
`PolicyOracle` after the rollout, in batches of 32 as `Labeller` does; "blocking" asks it at each step and waits. The presses
are the same in all. The ways take turns, and the median of the rounds' ratios is told, for what else runs on the machine
comes and goes.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from common.runtime.flags import parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ("CLOCK_SET", "STARTER_CHOSEN", "RIVAL_BATTLE_WON", "SECOND_TOWN", "GYM_TRAINER_BEATEN")
    """milestones, one line for each"""
    steps: int = 300
    """length of a rollout, of as many episodes as it takes"""
    rounds: int = 15
    """how often each way is measured"""
    workers: int = 1
    """the sandbox's worker processes"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

from agent.labelling import MOST_AT_ONCE
from agent.oracle import ExpertAnswer, ExpertOracle, Situation
from agent.policy_expert import PolicyExpert
from agent.sandbox.oracle import PolicyOracle
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.vector_env import available_cores


def make_env(milestone: str, state_in_info: bool) -> PokemonEnv:
    return PokemonEnv(start_milestone=milestone, target_milestone=milestone, state_in_info=state_in_info)


def expert_presses(milestone: str, steps: int) -> list[int]:
    """The expert's presses; where it abstains, A."""
    presses = []

    def ask(env: PokemonEnv, info: dict) -> None:
        answer = expert.label(info)
        presses.append(0 if answer.action is None else answer.action)

    expert = PolicyExpert((GAME.policy_dir, milestone), GAME)
    with make_env(milestone, state_in_info=True) as env:
        rollout(env, presses, steps, ask)
    return presses


def rollout(env: PokemonEnv, presses: list[int], steps: int, look: Callable[[PokemonEnv, dict], None]) -> None:
    """Play `presses`, with a `look` at each state before the press; an episode that ends is followed by the next seed's."""
    seed = 0
    _, info = env.reset(seed=seed)
    for step in range(steps):
        look(env, info)
        *_, terminated, _, info = env.step(presses[step])
        if terminated:
            seed += 1
            _, info = env.reset(seed=seed)


def in_process(env: PokemonEnv, presses: list[int], expert: PolicyExpert) -> list[ExpertAnswer]:
    answers = []
    rollout(env, presses, len(presses), lambda env, info: answers.append(expert.label(info)))
    return answers


def in_a_batch(env: PokemonEnv, presses: list[int], oracle: ExpertOracle) -> list[ExpertAnswer]:
    visited = []
    rollout(env, presses, len(presses), lambda env, info: visited.append(Situation(env.snapshot(), info["prev_action"])))
    batches = [visited[start : start + MOST_AT_ONCE] for start in range(0, len(visited), MOST_AT_ONCE)]
    return [answer for batch in batches for answer in oracle.label_batch(batch)]


def one_by_one(env: PokemonEnv, presses: list[int], oracle: ExpertOracle) -> list[ExpertAnswer]:
    answers = []

    def ask(env: PokemonEnv, info: dict) -> None:
        answers.extend(oracle.label_batch([Situation(env.snapshot(), info["prev_action"])]))

    rollout(env, presses, len(presses), ask)
    return answers


def measure(milestone: str, args: Args) -> tuple[list[float], list[float]]:
    """Steps per second of each way in its median round, and the median of each way's ratio to the first way's rate.

    Raises RuntimeError if their labels differ.
    """
    presses = expert_presses(milestone, args.steps)
    expert = PolicyExpert((GAME.policy_dir, milestone), GAME)
    seconds: list[list[float]] = []
    with (
        make_env(milestone, state_in_info=True) as telling,
        make_env(milestone, state_in_info=False) as silent,
        PolicyOracle((GAME.policy_dir, milestone), GAME, workers=args.workers) as oracle,
    ):
        oracle.start()
        for _ in range(args.rounds):
            seconds.append([])
            labels = []
            for way, env, asked in ((in_process, telling, expert), (in_a_batch, silent, oracle), (one_by_one, silent, oracle)):
                start = time.perf_counter()
                answers = way(env, presses, asked)
                seconds[-1].append(time.perf_counter() - start)
                labels.append([answer.action for answer in answers])
            if labels[1] != labels[0] or labels[2] != labels[0]:
                raise RuntimeError(f"{milestone}: the sandboxed policy's labels are not those of the same policy in this process")
    rates = [args.steps / statistics.median(column) for column in zip(*seconds, strict=True)]
    ratios = [statistics.median(row[0] / row[way] for row in seconds) for way in range(3)]
    return rates, ratios


def main(args: Args) -> int:
    print(f"{available_cores()} cores; labelled steps per second, median of {args.rounds} rounds; ratio to in-process")
    print(f"{'milestone':24}  {'in-process':>10}  {'batch':>6}  {'ratio':>5}  {'blocking':>8}  {'ratio':>5}")
    all_ratios = []
    for milestone in args.milestones:
        rates, ratios = measure(milestone, args)
        all_ratios.append(ratios)
        print(f"{milestone:24}  {rates[0]:10.0f}  {rates[1]:6.0f}  {ratios[1]:5.2f}  {rates[2]:8.0f}  {ratios[2]:5.2f}", flush=True)
    batch, blocking = (statistics.mean(ratios[way] for ratios in all_ratios) for way in (1, 2))
    print(f"{'mean':24}  {'':10}  {'':6}  {batch:5.2f}  {'':8}  {blocking:5.2f}")
    return 0


if __name__ == "__main__":
    from benchmarks.folders import run_table  # not above: this brings torch

    run_table("sandbox_speed.py", lambda: main(args))
