"""The steps that `demo` and `bc_table` share (collect, clone, DAgger, play), each a command that you could type."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agent.policy_expert import PolicyExpert, find_policy
from agent.sandbox.oracle import SandboxError, probe
from bc_pokemon import Args as BcArgs
from benchmarks.folders import PLAY_SOURCES, ROOT, source_files, summary
from collect_expert_data import Args as CollectArgs
from common.demonstrations import episode_files
from common.policies import Policy, RandomPolicy, StatePolicy, load_policy
from common.runtime import scripts as script_runs
from common.runtime.flags import as_flags
from common.runtime.scripts import ScriptFailed, last_lines, never
from common.runtime.seeding import TEST
from common.video import EpisodeRecorder
from dagger_pokemon import Args as DaggerArgs
from pokemon_env.games.tallgrass import GAME
from pokemon_env.rom import BUNDLED_ROM
from tasks.episode_starts import choose_starts
from tasks.milestone_config import MilestoneEntry, load_milestone_config
from tasks.play import SeededPlay

TEST_SEED = TEST.first
"""First seed of the episodes that the tables count. Training chooses its best network on others."""


MILESTONE_CONFIG = ROOT / "milestone_config.json"
OWN_POLICIES = {"policy_dir": str(GAME.policy_dir)}
"""The flag that lets the game's own policies label, not the user's."""


@dataclass(frozen=True)
class Budget:
    """How much data and training a student gets."""

    demonstrations: int
    noise: float
    total_steps: int
    eval_frequency: int
    batch_size: int = 64
    learning_rate: float = 5e-4
    best_eval_episodes: int = 20
    tier: str = "T1"
    worlds: str | None = None
    """None takes the tier's: on T2 the worlds to train in, to choose by and to test in."""
    network: str = "impala"
    hidden_dim: int = 256
    iterations: int = 0
    """Of DAgger, after cloning."""
    episodes_per_iteration: int = 0
    steps_per_iteration: int = 0

    def game_flags(self) -> dict[str, Any]:
        """Return the scripts' flags for the tier and the worlds, and their values."""
        return {"tier": self.tier} | ({} if self.worlds is None else {"worlds": self.worlds})


@dataclass(frozen=True)
class Student:
    """One student of one milestone: what it learns from, how much, and where its networks go."""

    milestone: str
    budget: Budget
    seed: int
    data: Path
    """Folder of its demonstrations."""
    models: Path
    """Folder of its networks."""
    num_threads: int | None = None
    """CPU threads that it trains with. None: the script's own choice."""
    should_stop: Callable[[], bool] = never
    """If it returns True, the running script is ended."""
    on_line: Callable[[str], None] | None = None
    """Called with each line of the logs."""


def milestones() -> dict[str, MilestoneEntry]:
    """Return the bundled game's milestones, in their order."""
    return load_milestone_config(MILESTONE_CONFIG)


def check_milestones(names: Sequence[str]) -> None:
    """Raise ValueError if a name is no milestone's."""
    if unknown := sorted(set(names) - set(milestones())):
        raise ValueError(f"no milestone {', '.join(unknown)}; there are {', '.join(milestones())}")


def cloning_sources(milestone: str) -> list[Path]:
    """Return the files on which what is learned of a milestone depends, for its fingerprint."""
    scripts = source_files("*_pokemon.py", "collect_expert_data.py", "benchmarks/steps.py", *PLAY_SOURCES)
    return [BUNDLED_ROM, find_policy(milestone, GAME.policy_dir), *scripts]


def run_script(
    script: str,
    *flags: str,
    log: Path | None = None,
    should_stop: Callable[[], bool] = never,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run `common.runtime.scripts.run_script`; if the script fails, print the end of its log."""
    try:
        script_runs.run_script(script, *flags, log=log, should_stop=should_stop, on_line=on_line)
    except ScriptFailed:
        if log is not None and not should_stop():
            print("\n".join(last_lines(log, 20)), file=sys.stderr)
        raise


def collect(student: Student, log: Path | None = None) -> None:
    """Record the demonstrations of the budget that are still missing."""
    budget = student.budget
    have = len(episode_files(student.data)) if student.data.is_dir() else 0
    if have >= budget.demonstrations:
        return
    flags = as_flags(
        CollectArgs, milestone=student.milestone, n_episodes=budget.demonstrations - have, expert_data_dir=str(student.data),
        noise=budget.noise, seed=student.seed, **budget.game_flags(), **OWN_POLICIES, **game_flags(),
    )  # fmt: skip
    run_script("collect_expert_data.py", *flags, log=log, should_stop=student.should_stop, on_line=student.on_line)


def game_flags() -> dict[str, Any]:
    """Return the flags, and their values, that tell scripts where the game is; none in its folder, where the defaults do."""
    if Path.cwd() == ROOT:
        return {}
    return {"rom_path": str(BUNDLED_ROM), "milestone_config": str(MILESTONE_CONFIG)}


@cache
def sandbox_flags() -> dict[str, Any]:
    """Return the scripts' flags for a platform without a sandbox: the policies here are the game's own, as trusted as code."""
    try:
        probe(GAME)
    except SandboxError as error:
        print(f"{error}\nThe game's own policies are trusted without one.", flush=True)
        return {"unsafe_policies": True}
    return {}


def resuming(last: Path) -> dict[str, Any]:
    """Return the flags by which a script resumes the training that `last` was saved in; without that file it begins a new run."""
    return {"resume_from": str(last)} if last.is_file() else {"overwrite": True}


def train(student: Student, log: Path | None = None) -> Path:
    """Clone the demonstrations, or resume the cloning. Returns the best checkpoint.

    The best network is chosen by other episodes than those of the test.
    """
    budget = student.budget
    lengths = {"total_steps": budget.total_steps, "eval_frequency": budget.eval_frequency, "save_frequency": 0}
    return _learn(student, "bc", BcArgs, lengths, log)


def go_on_with_dagger(student: Student, clone: Path, log: Path | None = None) -> Path:
    """Train a clone further with DAgger, or resume that. Returns the best checkpoint, chosen as `train` chooses it.

    As in the pipeline, every button on a shortest path is accepted, and the student draws its buttons from its probabilities.
    """
    budget = student.budget
    flags = dict(
        init_from=str(clone), n_iterations=budget.iterations, episodes_per_iter=budget.episodes_per_iteration,
        train_steps_per_iter=budget.steps_per_iteration, max_episode_steps=milestones()[student.milestone].max_steps,
        save_iterations=False, label_set=True, label_share=0.1, stochastic_rollouts=True, stochastic_eval=True,
        **OWN_POLICIES, answer_cache=str(student.models / "answers.sqlite"), **sandbox_flags(),
    )  # fmt: skip
    return _learn(student, "dagger", DaggerArgs, flags, log)


def _learn(student: Student, algorithm: str, kind: type, own: dict[str, Any], log: Path | None) -> Path:
    """Run a training script to its end, with its own flags and those that all share. Returns the best checkpoint."""
    budget, name = student.budget, f"{algorithm}_{student.milestone}_{student.seed}"
    best, last, final = (student.models / f"{name}_{which}.pth" for which in ("best", "last", "final"))
    if final.is_file() and best.is_file():
        return best
    flags = own | dict(
        milestone=student.milestone, exp_name=name, seed=student.seed, model_dir=str(student.models),
        expert_data_dir=str(student.data), network=budget.network, hidden_dim=budget.hidden_dim, batch_size=budget.batch_size,
        learning_rate=budget.learning_rate, lr_schedule="cosine", best_eval_episodes=budget.best_eval_episodes, video=False,
        **budget.game_flags(), **game_flags(), **resuming(last),
    )  # fmt: skip
    if student.num_threads:
        flags["num_threads"] = student.num_threads
    words = as_flags(kind, **flags)
    run_script(f"{algorithm}_pokemon.py", *words, log=log, should_stop=student.should_stop, on_line=student.on_line)
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
    """Play test episodes of a milestone, with the same seeds for each policy.

    Args:
        policies: "random", "expert", and names of networks.
        budget: gives the tier and the worlds.
        checkpoints: name -> the network that plays, for example as "bc".
        video: folder for a film of the first episode of each network. None films none.
        should_stop: if it returns True, Stopped is raised.

    Returns the step limit as "max_steps", and for each policy its `summary`.
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
    """Return the policy "random" or "expert" of a milestone, or else the network in `checkpoint`.

    Args:
        deterministic: whether a network presses its likeliest button, or draws one from its probabilities. None leaves that to
            the checkpoint.
    """
    n_actions = len(GAME.buttons)
    if name == "random":
        return RandomPolicy(n_actions)
    if name == "expert":
        expert = PolicyExpert((GAME.policy_dir, milestone), GAME)
        return StatePolicy(lambda info: expert.label(info).action, n_actions)
    return load_policy(checkpoint, deterministic=deterministic)
