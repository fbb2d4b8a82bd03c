"""Collect, clone, play: the steps that `demo` and `bc_table` share, each of them a command that a person could type."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.policy_expert import PolicyExpert
from agent.start_states import ensure_start_states
from common.checkpoints import build_network, load_checkpoint
from common.demonstrations import episode_files
from common.evaluation import (
    EpisodeRecorder,
    Evaluation,
    NetworkPolicy,
    Policy,
    RandomPolicy,
    StatePolicy,
    evaluate,
    seeded_episodes,
)
from common.files import atomic_write
from common.milestone_config import load_milestone_config
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import BUNDLED_ROM
from pokemon_env.vector_env import make_vector_env

TEST_SEED = 50_000
"""First seed of the episodes that the tables count. Training chooses its best network on others."""


class StepFailed(RuntimeError):
    """A script that was started exited with an error; its output stands above."""


@dataclass(frozen=True)
class Budget:
    """How much a student gets."""

    demonstrations: int
    noise: float
    total_steps: int
    eval_frequency: int
    batch_size: int = 64
    learning_rate: float = 5e-4
    best_eval_episodes: int = 20


def run_script(script: str, *flags: str, log: Path | None = None, **environment: str) -> None:
    """Run one of the scripts as a person would, printing the command line; with `log` its output goes there."""
    command = [sys.executable, script, *flags]
    print(f"$ python {shlex.join(command[1:])}", flush=True)
    target = None
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        target = log.open("w")
    try:
        done = subprocess.run(command, stdout=target, stderr=subprocess.STDOUT if log else None, env=os.environ | environment)
    finally:
        if target is not None:
            target.close()
    if done.returncode:
        if log is not None:
            print("\n".join(log.read_text().splitlines()[-20:]), file=sys.stderr)
        raise StepFailed(f"{script} exited with {done.returncode}" + (f"; its output is in {log}" if log else ""))


def collect(milestone: str, folder: Path, budget: Budget, seed: int, log: Path | None = None) -> None:
    """Record what is missing of the budget's demonstrations."""
    have = len(episode_files(folder)) if folder.is_dir() else 0
    if have >= budget.demonstrations:
        return
    flags = ["--milestone", milestone, "--n-episodes", str(budget.demonstrations - have)]
    flags += ["--expert-data-dir", str(folder), "--noise", str(budget.noise), "--seed", str(seed)]
    run_script("collect_expert_data.py", *flags, log=log)


def train(
    milestone: str, data: Path, models: Path, budget: Budget, seed: int, num_threads: int | None = None, log: Path | None = None
) -> Path:
    """Clone the demonstrations in `data`; go on where an earlier call was stopped. Returns the best checkpoint.

    The best network is chosen on the start states to learn from, so that those held out are met in the test alone.
    """
    name = f"bc_{milestone}_{seed}"
    best, last, final = (models / f"{name}_{which}.pth" for which in ("best", "last", "final"))
    if final.is_file() and best.is_file():
        return best
    states = ensure_start_states(milestone).train
    flags = ["--milestone", milestone, "--exp-name", name, "--seed", str(seed), "--model-dir", str(models)]
    flags += ["--expert-data-dir", str(data), "--total-steps", str(budget.total_steps)]
    flags += ["--eval-frequency", str(budget.eval_frequency), "--batch-size", str(budget.batch_size)]
    flags += ["--learning-rate", str(budget.learning_rate), "--lr-schedule", "cosine", "--save-frequency", "0"]
    flags += ["--best-eval-episodes", str(budget.best_eval_episodes), "--no-video"]
    flags += ["--start-states", str(states)] if states else []
    flags += ["--num-threads", str(num_threads)] if num_threads else []
    flags += ["--resume-from", str(last)] if last.is_file() else ["--overwrite"]
    run_script("bc_pokemon.py", *flags, log=log)
    return best


def play(
    milestone: str, policies: Sequence[str], n_episodes: int, checkpoint: Path | None = None, video: Path | None = None
) -> dict[str, Any]:
    """Test episodes from the milestone's held-out start states, the same seeds for each policy.

    Args:
        policies: of "random", "bc" and "expert".
        checkpoint: the network that plays "bc".
        video: folder for a film of the first episode of "bc".

    Returns for each policy its successes, episodes, interval, mean steps of the successes and failed seeds.
    """
    max_steps = load_milestone_config("milestone_config.json")[milestone].max_steps
    starts = ensure_start_states(milestone).files("heldout")
    envs = make_vector_env(4, rom_path=BUNDLED_ROM, target_milestone=milestone, state_in_info="expert" in policies)
    episodes = seeded_episodes(n_episodes, TEST_SEED, starts)
    results = {}
    try:
        for name in policies:
            recorder = None
            if name == "bc" and video is not None:
                recorder = EpisodeRecorder(video, f"bc_{milestone}", buttons=GAME.buttons)
            policy = make_policy(name, milestone, checkpoint)
            results[name] = summary(evaluate(envs, policy, episodes, max_steps, recorder=recorder))
            if recorder is not None:
                results[name]["video"] = str(recorder.paths[0])
    finally:
        envs.close()
    return {"max_steps": max_steps, **results}


def make_policy(name: str, milestone: str, checkpoint: Path | None) -> Policy:
    """The policy "random", "bc" or "expert" of a milestone."""
    n_actions = len(GAME.buttons)
    if name == "random":
        return RandomPolicy(n_actions)
    if name == "expert":
        expert = PolicyExpert((None, milestone), GAME)
        return StatePolicy(lambda info: expert.label(info).action, n_actions)
    return NetworkPolicy(build_network(load_checkpoint(checkpoint)))


def summary(result: Evaluation) -> dict[str, Any]:
    """What a table needs of an evaluation, in plain types."""
    mean = result.mean_success_length
    return {
        "successes": result.successes,
        "episodes": result.n_episodes,
        "interval": list(result.success_interval),
        "mean_steps": None if mean != mean else mean,
        "failed_seeds": [episode.seed for episode in result.episodes if not episode.success],
    }


def fingerprint(*parts: Any) -> str:
    """Changes when the ROM or anything given does; results with the same one need not be made again."""
    digest = hashlib.sha256(BUNDLED_ROM.read_bytes())
    for part in parts:
        plain = asdict(part) if isinstance(part, Budget) else part
        digest.update(json.dumps(plain, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def save_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
