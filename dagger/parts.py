"""What a run of DAgger works with, and the checkpoints that it writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agent.labelling import Labeller
from common.episodes import EpisodeSpec
from common.evaluation import Evaluator
from common.learner import Learner
from common.networks import PolicyNetwork, network_arguments
from common.runtime.run import TrainingRun
from dagger.data import DaggerData
from dagger.flags import DaggerFlags
from dagger.progress import Progress
from dagger.rollout import pictures_tell_all
from dagger.starts import RolloutStarts
from dagger.training_set import TrainingSet
from pokemon_env.vector_env import ThreadVectorEnv
from tasks.task import Task

Demonstrations = tuple[list[Path], dict[Path, int], dict[Path, np.ndarray] | None]
"""Files, how many steps of some, and the steps that keep their labels, as `common.demonstrations.choose_labels` returns them."""


@dataclass
class Parts:
    """What a run works with."""

    args: DaggerFlags
    run: TrainingRun
    task: Task
    network: PolicyNetwork
    learner: Learner
    labeller: Labeller
    starts: RolloutStarts
    handovers: tuple[Path, ...]
    """States that episodes of rollouts begin at."""
    demonstrations: Demonstrations | None
    """What is to be added to a new data set; None without."""
    envs: ThreadVectorEnv
    eval_envs: ThreadVectorEnv
    evaluator: Evaluator
    progress: Progress
    data: DaggerData
    training: TrainingSet
    began: float
    """When the run was set up, on the monotonic clock."""
    labels_before: dict[str, Any] = field(init=False)
    """What labelling had cost before the current rollout (`LabelCounts`)."""

    def __post_init__(self) -> None:
        self.labels_before = self.labeller.state_dict()

    @property
    def by_picture(self) -> bool:
        """Whether an observation alone decides the label: then it is queried once in an episode."""
        return pictures_tell_all(self.task.game, self.task.starts.settings.get("tier"), self.network)

    def episodes(self, iteration: int) -> list[EpisodeSpec]:
        """Return the episodes of an iteration's rollout."""
        return self.starts.episodes(iteration, self.task.starts.files, self.handovers)

    def finished_network(self, record: dict[str, Any], learned: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what a checkpoint of a network to play with holds. Raises DivergedError if it is not finite.

        Args:
            record: of the network's evaluation.
            learned: the learner's state, if it has been taken already.
        """
        task, step = self.task, self.progress.step
        self.learner.check_finite(step, self.run.last_good)
        self.data.check_in_place()
        weights = (learned or self.learner.state_dict())["model_state_dict"]
        return {
            "model_state_dict": weights, "network": network_arguments(self.network), "frame_stack": self.args.frame_stack,
            "deterministic": not self.args.stochastic_eval, "global_step": step, "metrics": record, **task.identity,
            **{key: task.starts.settings.get(key) for key in ("tier", "worlds")}, "max_steps": task.max_steps,
            "expert": self.labeller.oracle.identity, "labels": self.labeller.counts.plain(),
        }  # fmt: skip

    def save(self) -> None:
        """Write the checkpoint that the run is resumed from. Raises DivergedError if the network is not finite."""
        progress, data, state = self.progress, self.data, self.learner.state_dict()
        content = self.finished_network(progress.last or {}, state)
        progress.rows, progress.labels = data.n_committed, self.labeller.state_dict()
        progress.cutoffs = len(self.starts.kept(progress.last_rollout))
        content |= {"data_digest": data.digest(data.n_committed), "optimizer_state_dict": state.pop("optimizer_state_dict")}
        del state["model_state_dict"]
        content |= {"training_state": state | {"sampler": self.training.state_dict()}, "progress": asdict(progress)}
        self.run.write(self.run.files["last"], content)

    def undo_rollout(self) -> None:
        """Drop what was not committed. The labels of a rollout that is repeated are counted when it is."""
        self.data.discard()
        if self.progress.phase == "roll out":
            self.labeller.load_state_dict(self.labels_before)

    def results(self) -> dict[str, Any]:
        """Return what `main` returns: the run's name, how far it came, the records of the best and last network, the labels."""
        progress = self.progress
        about = {"run_name": self.run.name, "iteration": progress.iteration, "best": progress.best, "last": progress.last}
        return about | {"labels": self.labeller.counts.plain()}
