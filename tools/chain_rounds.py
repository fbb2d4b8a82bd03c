"""A round of tools.chain_dagger: the whole games that are played, and the training of one student that did not get on there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from agent.chain import ChainedExperts
from agent.policy_expert import PolicyExpert
from agent.rescued_chain import ChainRun, Purpose, RescuedChain, limits_of
from agent.students import load_student
from common.episodes import EpisodeSpec, Step
from common.evaluation import evaluate
from common.networks import NetworkName, check_plays, make_network, network_arguments
from common.policies import load_policy
from common.runtime.checkpoints import load_checkpoint
from common.runtime.files import save_json
from common.runtime.flag_types import FlagError
from common.runtime.flags import as_flags
from common.runtime.kept_files import KeptFileError, read_kept
from common.runtime.progress import ProgressReport
from common.runtime.scripts import run_script
from common.runtime.seeding import derived_seed
from dagger.flags import DaggerFlags
from dagger.starts import given_handovers, mix_starts
from pokemon_env.games.base import Game
from pokemon_env.rom import Rom
from pokemon_env.splits import has_splits
from pokemon_env.vector_env import ThreadVectorEnv, make_vector_env
from tasks.episode_starts import EpisodeStarts, choose_starts

LONGEST = 10_000
"""Steps after which a run ends."""
PURPOSES: tuple[Purpose, Purpose] = ("train", "choose")

RUNS = dict.fromkeys(PURPOSES, [{"seed": int, "steps": {"*": int}, "rescued": [str]}]) | {"limits": {"*": int}}
COMPARED = {"before": int, "after": int, "episodes": int}
"""What files of a round hold, for `read_kept`."""


@dataclass(frozen=True)
class Chain:
    """What all rounds share. A field with the name of a flag holds that flag's value."""

    output: Path
    game: Game
    rom: Rom
    rom_path: str
    tier: str | None
    """The tier and the worlds that the students were trained on."""
    worlds: str | None
    seed: int
    train_runs: int
    choose_runs: int
    step_factor: float
    eval_episodes: int
    handover_share: float
    num_envs: int
    training: Mapping[str, Any]
    """Flags of dagger_pokemon.py that say how a student is trained further."""

    @property
    def milestones(self) -> list[str]:
        """The story, in order."""
        return [milestone.id for milestone in self.game.milestones]

    def folder(self, number: int) -> Path:
        """Return where a round's states, runs and networks lie."""
        return self.output / f"round{number}"

    def states(self, number: int, milestone: str) -> Path | None:
        """Return the folder of a round's states of one milestone; None if a student was nowhere taken over to, or stuck."""
        folder = self.folder(number) / "states" / milestone
        return folder if all((folder / purpose).is_dir() for purpose in PURPOSES) else None

    def starts(self, milestone: str | None, purpose: Purpose) -> EpisodeStarts:
        """Return where the game draws starts: power-on without a milestone."""
        return choose_starts(
            self.game, milestone, self.rom_path, purpose=purpose, kind="worlds" if milestone else "power-on", tier=self.tier,
            worlds=None if has_splits(self.tier) else self.worlds,
        )  # fmt: skip


def play_round(chain: Chain, number: int, students: Mapping[str, Path]) -> dict[str, Any]:
    """Play a round's whole games, unless it was done before.

    Returns "limits" (milestone -> steps that its student may take), and for each purpose a list of runs: `ChainRun`'s fields.
    """
    path = chain.folder(number) / "runs.json"
    if (kept := read_kept(path, RUNS)) is not None:
        check_runs(path, kept, chain)
        return kept
    shutil.rmtree(chain.folder(number) / "states", ignore_errors=True)  # of a play that was stopped
    content: dict[str, Any] = {}
    for purpose, n_runs in zip(PURPOSES, (chain.train_runs, chain.choose_runs), strict=True):
        seeds = [derived_seed(chain.seed, "whole games", number, purpose, i) for i in range(n_runs)]
        limits, runs = _play(chain, number, students, purpose, seeds)
        content.setdefault("limits", limits)
        content[purpose] = [asdict(run) for run in runs]
    save_json(path, content)
    return content


def _play(
    chain: Chain, number: int, students: Mapping[str, Path], purpose: Purpose, seeds: Sequence[int]
) -> tuple[dict[str, int], list[ChainRun]]:
    """Play seeded games from power-on: first with the experts, whose steps set the limits, then with the students."""
    settings = {"rom_path": chain.rom_path, "target_milestone": chain.milestones[-1], **chain.starts(None, purpose).settings}
    envs = make_vector_env(min(chain.num_envs, len(seeds)), state_in_info=True, **settings)
    episodes = [EpisodeSpec(seed) for seed in seeds]
    try:
        experts = chained_experts(chain, envs)
        limits = limits_of(_expert_steps(chain, envs, experts, episodes), chain.step_factor)
        networks = {name: load_student(path, name, chain.rom.header.sha256, chain.game.buttons) for name, path in students.items()}
        for name, (network, _) in networks.items():
            check_plays(network, students[name], envs.single_observation_space.shape or (), len(chain.game.buttons))
        policy = RescuedChain(networks, experts, limits, envs, chain.folder(number) / "states", purpose)
        over: list[int] = []
        with ProgressReport(f"round {number}, {purpose}", len(seeds)) as report:

            def count(step: Step) -> None:
                if step.over:
                    over.append(step.episode)
                    report.update(len(over))

            evaluate(envs, policy, episodes, LONGEST, on_step=count)
        return limits, [policy.runs[seed] for seed in seeds]
    finally:
        envs.close()


def chained_experts(chain: Chain, envs: ThreadVectorEnv) -> ChainedExperts:
    """Return the game's own experts, which play in `envs`."""
    assert chain.game.policy_dir is not None  # the script has looked
    experts = {name: PolicyExpert(chain.game.policy_dir / f"{name}.py", chain.game) for name in chain.milestones}
    return ChainedExperts(experts, envs.envs)


def _expert_steps(
    chain: Chain, envs: ThreadVectorEnv, experts: ChainedExperts, episodes: Sequence[EpisodeSpec]
) -> list[dict[str, int]]:
    """Return for each episode: milestone -> steps that the experts took for it, after the one before."""
    steps: list[dict[str, int]] = [{} for _ in episodes]

    def keep(step: Step) -> None:
        if step.over:
            before, splits = 0, experts.splits[step.slot]
            for name in chain.milestones:
                end = splits[name][0] if name in splits else step.number + 1  # the last press's are not in the splits
                steps[step.episode][name] = max(0, end - before)
                before = end

    evaluate(envs, experts, episodes, LONGEST, on_step=keep)
    return steps


def train_further(
    chain: Chain, number: int, milestone: str, student: Path, limit: int, should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Train one student further, unless it was done before, and compare it with what it was.

    Returns "before" and "after", successes in "episodes", and "student", the checkpoint that is kept: the new one if it is as good.
    """
    models = chain.folder(number) / "models" / milestone
    path = models / "compared.json"
    best, final = (models / f"chain_{milestone}_{which}.pth" for which in ("best", "final"))
    if (done := read_kept(path, COMPARED)) is not None:
        return done | {"student": str(better(best, student, done))}  # never a path from the file: the folder may have been moved
    if not final.is_file():
        flags = as_flags(DaggerFlags, **dagger_flags(chain, number, milestone, student, limit))
        log = chain.output / "logs" / f"round{number}_{milestone}.log"
        run_script("dagger_pokemon.py", *flags, log=log, append=True, on_command=lambda text: None, should_stop=should_stop)
    before, after = (successes(chain, number, milestone, one, limit, should_stop) for one in (student, best))
    content: dict[str, Any] = {"before": before, "after": after, "episodes": chain.eval_episodes}
    content["student"] = str(better(best, student, content))
    save_json(path, content)
    for useless in (*models.glob("*_last.pth"), *models.glob("*_data.sqlite*")):  # and large
        useless.unlink()
    return content


def better(new: Path, old: Path, compared: Mapping[str, Any]) -> Path:
    """Return the student that is kept: the new one if it is as good."""
    return new if compared["after"] >= compared["before"] else old


def check_runs(path: Path, content: Mapping[str, Any], chain: Chain) -> None:
    """Raise KeptFileError unless the runs of a round, which somebody may have edited, are of this chain."""
    wanted = {"train": chain.train_runs, "choose": chain.choose_runs}
    runs = [run for purpose in PURPOSES for run in content[purpose]]
    names = {name for run in runs for name in (*run["steps"], *run["rescued"])}
    if (
        set(content["limits"]) != set(chain.milestones) or min(content["limits"].values()) < 1
        or any(len(content[purpose]) != number for purpose, number in wanted.items())
        or not names <= set(chain.milestones) or any(run.keys() != {"seed", "steps", "rescued"} for run in runs)
    ):  # fmt: skip
        raise KeptFileError(f"{path}: is of other runs; remove it, and they are played again")


def dagger_flags(chain: Chain, number: int, milestone: str, student: Path, limit: int) -> dict[str, Any]:
    """Return the flags with which DAgger trains a student further, or resumes that."""
    models = chain.folder(number) / "models" / milestone
    last, states = models / f"chain_{milestone}_last.pth", chain.states(number, milestone)
    network, hidden_dim = network_flags(load_checkpoint(student)["network"], student)
    flags: dict[str, Any] = dict(
        milestone=milestone, exp_name=f"chain_{milestone}", model_dir=str(models), init_from=str(student), network=network,
        hidden_dim=hidden_dim, seed=derived_seed(chain.seed, "training", number, milestone), max_episode_steps=limit,
        eval_max_steps=limit, eval_episodes=1, best_eval_episodes=chain.eval_episodes, label_set=True, label_share=0.1,
        query_by="random", stochastic_rollouts=True, stochastic_eval=True, answer_cache="", save_iterations=False, video=False,
        num_envs=chain.num_envs, num_threads=1, rom_path=chain.rom_path, tier=chain.tier, **chain.training,
    )  # fmt: skip
    if not has_splits(chain.tier):
        flags["worlds"] = chain.worlds
    if states is not None:
        flags |= {"handover_share": chain.handover_share, "handovers": str(states)}
    return flags | ({"resume_from": str(last)} if last.is_file() else {"overwrite": True})


def network_flags(arguments: Mapping[str, Any], student: Path) -> tuple[NetworkName, int]:
    """Return --network and --hidden-dim with which DAgger makes the network of a checkpoint. Raises FlagError for others."""
    hidden_dim, size = arguments.get("hidden_dim", 256), (*arguments.get("image_size", (144, 160)), 3)
    for name in get_args(NetworkName):
        made = network_arguments(make_network(name, arguments["action_dim"], hidden_dim, size))
        if json.loads(json.dumps(made)) == json.loads(json.dumps(arguments)):  # tuples and lists are alike
            return name, hidden_dim
    raise FlagError(f"{student}: its network is none that dagger_pokemon.py makes; name other --students")


def successes(chain: Chain, number: int, milestone: str, student: Path, limit: int, should_stop: Callable[[], bool]) -> int:
    """Return how many of a round's episodes to choose by a student succeeds in. Half of them begin at the round's states."""
    n, states = chain.eval_episodes, chain.states(number, milestone)
    settings = {"rom_path": chain.rom_path, "target_milestone": milestone, **chain.starts(milestone, "choose").settings}
    envs = make_vector_env(min(chain.num_envs, n), 1, state_in_info=False, **settings)
    try:
        files = () if states is None else given_handovers(states, "choose", envs.envs[0].identity, milestone)
        places = mix_starts([None] * n, files, 0.5)
        seeds = [derived_seed(chain.seed, "compared", number, milestone, i) for i in range(n)]
        episodes = [EpisodeSpec(seed, place) for seed, place in zip(seeds, places, strict=True)]
        return evaluate(envs, load_policy(student, "cpu"), episodes, limit, should_stop=should_stop).successes
    finally:
        envs.close()
