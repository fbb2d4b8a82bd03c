"""`--preview`: what labels by a language model will cost. Real prompts of a random rollout are counted, and nothing is asked."""

from __future__ import annotations

import itertools
import math

import numpy as np

from agent.code_agent import CodeAgent
from agent.llm.forecast import cost_table, forecast
from agent.open_expert import open_expert
from agent.oracle import Situation
from common.demonstrations import select_episodes
from common.picture_codec import picture_key
from common.runtime.checkpoints import load_checkpoint
from common.runtime.progress import print_table
from common.runtime.seeding import derive
from dagger.flags import DaggerFlags
from dagger.target import TARGET_EPISODES
from tasks.task import Task, find_task

SAMPLED = 20
"""Real prompts whose tokens are counted."""
PLAYED = 400
"""Steps of the random rollout."""


def preview(args: DaggerFlags) -> None:
    """Print what a run with these flags will cost at the least guess and at the most. Raises what the run itself would raise."""
    facts = {}
    if args.expert_data_dir is not None:
        facts = select_episodes(args.expert_data_dir, args.milestone, args.max_expert_episodes)[1]
    init = {} if args.init_from is None else load_checkpoint(args.init_from)
    task = find_task(
        args, learned={"milestone": facts.get("milestone") or init.get("milestone")}, before=facts or init,
        demonstrations=(args.expert_data_dir or "", facts), max_steps=args.eval_max_steps, policy_dir=args.policy_dir,
        unsafe_policies=args.unsafe_policies,
    )  # fmt: skip
    with open_expert(args, task.milestone, task.game) as agent:
        assert isinstance(agent, CodeAgent)
        agent.start()
        situations, new = random_rollout(args, task)
        states = [task.game.decode_state(one.snapshot, one.prev_action) for one in situations]
        questions = [agent.question(state, one.frame) for state, one in zip(states, situations, strict=True)]
        numbers = {"likely": labels(args, new), "most": labels(args, 1.0)}
        cases = {name: forecast(agent.client, questions, math.ceil(number)) for name, number in numbers.items()}
    print_table(cost_table(cases))
    print("\n".join(cases["likely"].notes()))
    if args.target_success_rate is not None:
        most = TARGET_EPISODES * task.max_steps
        print(f"--target-success-rate asks up to {most:,} more questions, to play {TARGET_EPISODES} episodes with the expert.")
    if args.max_cost is not None:
        print(f"--max-cost {args.max_cost:g}: no more than that is spent in any case.")


def labels(args: DaggerFlags, new: float) -> float:
    """Return how many labels a run may ask for, if this share of the visited states is new in its episode."""
    rollouts = args.n_iterations - (args.expert_data_dir is not None and args.init_from is None)
    visited = rollouts * args.episodes_per_iter * args.max_episode_steps * new
    wanted = visited * args.query_rate
    if args.query_budget_per_iteration is not None:
        wanted = min(wanted, rollouts * args.query_budget_per_iteration)
    return wanted if args.query_budget is None else min(wanted, args.query_budget)


def random_rollout(args: DaggerFlags, task: Task) -> tuple[list[Situation], float]:
    """Play at random, and return `SAMPLED` situations with their screens, evenly spread; and the share of steps that were new in
    their episode."""
    rng = np.random.default_rng(derive(args.seed, "preview"))
    envs = task.make_envs("train", 1)
    situations, seen = [], set()
    try:
        env = envs.envs[0]
        for start in itertools.count():
            screen, info = env.reset(seed=int(rng.integers(1 << 31)))
            for _ in range(min(args.max_episode_steps, PLAYED)):
                seen.add((start, picture_key(screen)))
                situations.append(Situation(env.snapshot(), info["prev_action"], screen))
                screen, _, terminated, truncated, info = env.step(int(rng.integers(len(task.game.buttons))))
                if terminated or truncated or len(situations) >= PLAYED:
                    break
            if len(situations) >= PLAYED:
                break
    finally:
        envs.close()
    chosen = np.linspace(0, len(situations) - 1, SAMPLED).astype(int)
    return [situations[i] for i in chosen], len(seen) / len(situations)
