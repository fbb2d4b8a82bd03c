"""The steps that `demo` and `bc_table` share (collect, clone, DAgger, play), each a command that a person could type."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agent.policy_expert import PolicyExpert, find_policy
from agent.sandbox.oracle import SandboxError, probe
from benchmarks.folders import PLAY_SOURCES, ROOT, source_files, summary
from common.demonstrations import episode_files
from common.policies import Policy, RandomPolicy, StatePolicy, load_policy
from common.runtime import scripts as script_runs
from common.runtime.scripts import ScriptFailed, last_lines, never
from common.runtime.seeding import TEST
from common.video import EpisodeRecorder
from pokemon_env.games.tallgrass import GAME
from pokemon_env.rom import BUNDLED_ROM
from tasks.episode_starts import choose_starts
from tasks.milestone_config import MilestoneEntry, load_milestone_config
from tasks.play import SeededPlay

TEST_SEED = TEST.first
"""First seed of the episodes that the tables count. Training chooses its best network on others."""


MILESTONE_CONFIG = ROOT / "milestone_config.json"


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
    tier: str = "T1"
    worlds: str | None = None
    """None takes the tier's: on T2 those to learn from, to choose by and to test in."""
    network: str = "impala"
    hidden_dim: int = 256
    iterations: int = 0
    """Of DAgger, after cloning."""
    episodes_per_iteration: int = 0
    steps_per_iteration: int = 0

    def game_flags(self) -> list[str]:
        """What of it the scripts are told of the game."""
        return ["--tier", self.tier, *([] if self.worlds is None else ["--worlds", self.worlds])]


def milestones() -> dict[str, MilestoneEntry]:
    """The bundled game's, in their order."""
    return load_milestone_config(MILESTONE_CONFIG)


def check_milestones(names: Sequence[str]) -> None:
    """Raise ValueError if a name is no milestone's."""
    if unknown := sorted(set(names) - set(milestones())):
        raise ValueError(f"no milestone {', '.join(unknown)}; there are {', '.join(milestones())}")


def cloning_sources(milestone: str) -> list[Path]:
    """The files that what is learned of a milestone depends on, for its fingerprint."""
    scripts = source_files("*_pokemon.py", "collect_expert_data.py", "benchmarks/steps.py", *PLAY_SOURCES)
    return [BUNDLED_ROM, find_policy(milestone, GAME.policy_dir), *scripts]


def run_script(
    script: str,
    *flags: str,
    log: Path | None = None,
    should_stop: Callable[[], bool] = never,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """`common.runtime.scripts.run_script`; if the script fails, the end of its log is shown."""
    try:
        script_runs.run_script(script, *flags, log=log, should_stop=should_stop, on_line=on_line)
    except ScriptFailed:
        if log is not None and not should_stop():
            print("\n".join(last_lines(log, 20)), file=sys.stderr)
        raise


def collect(
    milestone: str,
    folder: Path,
    budget: Budget,
    seed: int,
    log: Path | None = None,
    should_stop: Callable[[], bool] = never,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Record what is missing of the budget's demonstrations."""
    have = len(episode_files(folder)) if folder.is_dir() else 0
    if have >= budget.demonstrations:
        return
    flags = ["--milestone", milestone, "--n-episodes", str(budget.demonstrations - have)]
    flags += ["--expert-data-dir", str(folder), "--noise", str(budget.noise), "--seed", str(seed), *budget.game_flags()]
    flags += ["--policy-dir", str(GAME.policy_dir)]  # not somebody's own
    run_script("collect_expert_data.py", *flags, *game_flags(), log=log, should_stop=should_stop, on_line=on_line)


def game_flags() -> list[str]:
    """Where the scripts find the game, whatever the working folder is; nothing where their defaults do."""
    if Path.cwd() == ROOT:
        return []
    return ["--rom-path", str(BUNDLED_ROM), "--milestone-config", str(MILESTONE_CONFIG)]


@cache
def sandbox_flags() -> tuple[str, ...]:
    """What dagger_pokemon.py is told where the platform has no sandbox: the policies here are the game's own, as good as code."""
    try:
        probe(GAME)
    except SandboxError as error:
        print(f"{error}\nThe game's own policies are trusted so.", flush=True)
        return ("--unsafe-policies",)
    return ()


def train(
    milestone: str,
    data: Path,
    models: Path,
    budget: Budget,
    seed: int,
    num_threads: int | None = None,
    log: Path | None = None,
    should_stop: Callable[[], bool] = never,
    on_line: Callable[[str], None] | None = None,
) -> Path:
    """Clone the demonstrations in `data`; go on where an earlier call was stopped. Returns the best checkpoint.

    The best network is chosen by other episodes than those of the test.
    """
    flags = ["--total-steps", str(budget.total_steps), "--eval-frequency", str(budget.eval_frequency), "--save-frequency", "0"]
    name = f"bc_{milestone}_{seed}"
    return _learn("bc_pokemon.py", name, flags, milestone, data, models, budget, seed, num_threads, log, should_stop, on_line)


def go_on_with_dagger(
    milestone: str,
    data: Path,
    models: Path,
    clone: Path,
    budget: Budget,
    seed: int,
    num_threads: int | None = None,
    log: Path | None = None,
    should_stop: Callable[[], bool] = never,
    on_line: Callable[[str], None] | None = None,
) -> Path:
    """Let a clone of the demonstrations in `data` play, and learn from what the expert would have done there; go on where an
    earlier call was stopped. Returns the best checkpoint, chosen as `train` chooses.

    As in the pipeline, any button on a shortest way is right, and the student draws its buttons from its probabilities.
    """
    flags = ["--init-from", str(clone), "--n-iterations", str(budget.iterations)]
    flags += ["--episodes-per-iter", str(budget.episodes_per_iteration), "--train-steps-per-iter", str(budget.steps_per_iteration)]
    flags += ["--max-episode-steps", str(milestones()[milestone].max_steps), "--no-save-iterations"]
    flags += ["--label-set", "--label-share", "0.1", "--stochastic-rollouts", "--stochastic-eval"]
    flags += ["--policy-dir", str(GAME.policy_dir), "--answer-cache", str(models / "answers.sqlite"), *sandbox_flags()]
    name = f"dagger_{milestone}_{seed}"
    return _learn("dagger_pokemon.py", name, flags, milestone, data, models, budget, seed, num_threads, log, should_stop, on_line)


def _learn(
    script: str,
    name: str,
    flags: list[str],
    milestone: str,
    data: Path,
    models: Path,
    budget: Budget,
    seed: int,
    num_threads: int | None,
    log: Path | None,
    should_stop: Callable[[], bool],
    on_line: Callable[[str], None] | None,
) -> Path:
    """Run a training script to its end, with what all have in common. Returns the best checkpoint."""
    best, last, final = (models / f"{name}_{which}.pth" for which in ("best", "last", "final"))
    if final.is_file() and best.is_file():
        return best
    flags = ["--milestone", milestone, "--exp-name", name, "--seed", str(seed), "--model-dir", str(models), *flags]
    flags += ["--expert-data-dir", str(data), "--network", budget.network, "--batch-size", str(budget.batch_size)]
    flags += ["--hidden-dim", str(budget.hidden_dim)]
    flags += ["--learning-rate", str(budget.learning_rate), "--lr-schedule", "cosine"]
    flags += ["--best-eval-episodes", str(budget.best_eval_episodes), "--no-video", *budget.game_flags()]
    flags += ["--num-threads", str(num_threads)] if num_threads else []
    flags += ["--resume-from", str(last)] if last.is_file() else ["--overwrite"]
    run_script(script, *flags, *game_flags(), log=log, should_stop=should_stop, on_line=on_line)
    return best


def play(
    milestone: str,
    policies: Sequence[str],
    n_episodes: int,
    budget: Budget,
    checkpoints: Mapping[str, Path] | None = None,
    video: Path | None = None,
    should_stop: Callable[[], bool] = never,
) -> dict[str, Any]:
    """Test episodes of a milestone, the same seeds for each policy.

    Args:
        policies: "random", "expert", and names of networks.
        budget: says in which tier and worlds.
        checkpoints: name -> the network that plays, for example as "bc".
        video: folder for a film of the first episode of each network.
        should_stop: when it says so, Stopped is raised.

    Returns the limit as "max_steps", and for each policy its `summary`.
    """
    max_steps = milestones()[milestone].max_steps
    starts = choose_starts(GAME, milestone, BUNDLED_ROM, purpose="test", tier=budget.tier, worlds=budget.worlds)
    results = {}
    with SeededPlay(
        BUNDLED_ROM, milestone, starts,
        n_episodes=n_episodes, seed=TEST_SEED, max_steps=max_steps, state_in_info="expert" in policies,
    ) as episodes:  # fmt: skip
        for name in policies:
            recorder = None
            checkpoint = (checkpoints or {}).get(name)
            if checkpoint is not None and video is not None:
                recorder = EpisodeRecorder(video, f"{name}_{milestone}", buttons=GAME.buttons)
            policy = make_policy(name, milestone, checkpoint)
            results[name] = summary(episodes.play(policy, recorder=recorder, should_stop=should_stop))
            if recorder is not None and recorder.paths:
                results[name]["video"] = str(recorder.paths[0])
    return {"max_steps": max_steps, **results}


def make_policy(name: str, milestone: str, checkpoint: Path | None, deterministic: bool | None = None) -> Policy:
    """The policy "random" or "expert" of a milestone, or else the network in `checkpoint`; `deterministic` says whether it
    presses its likeliest button, or draws one from its probabilities; None leaves that to the checkpoint.
    """
    n_actions = len(GAME.buttons)
    if name == "random":
        return RandomPolicy(n_actions)
    if name == "expert":
        expert = PolicyExpert((GAME.policy_dir, milestone), GAME)
        return StatePolicy(lambda info: expert.label(info).action, n_actions)
    return load_policy(checkpoint, deterministic=deterministic)
