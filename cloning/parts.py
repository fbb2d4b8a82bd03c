"""What a run of cloning works with, and what its checkpoints hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cloning.batches import Batches
from cloning.data import CloningData
from cloning.progress import Progress
from common.evaluation import Evaluator
from common.learner import Learner
from common.runtime.checkpoints import restoring
from common.runtime.run import TrainingRun


@dataclass
class Parts:
    """What a run works with."""

    run: TrainingRun
    data: CloningData
    learner: Learner
    batches: Batches
    progress: Progress
    evaluator: Evaluator | None
    """None if nothing is played."""
    about: dict[str, Any]
    """What checkpoints say about the network, and about what it learns."""

    def finished_network(self, learned: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the content of a checkpoint of a network to play with. Raises DivergedError if the network is not finite.

        Args:
            learned: the learner's state, if it has been taken already.
        """
        progress = self.progress
        self.learner.check_finite(progress.step, self.run.last_good)
        weights = (learned or self.learner.state_dict())["model_state_dict"]
        return {"model_state_dict": weights, "global_step": progress.step, "metrics": progress.last or {}} | self.about

    def state_of_training(self) -> dict[str, Any]:
        """Return the content of a checkpoint to resume training from. Raises DivergedError if the network is not finite."""
        learned = self.learner.state_dict()
        content = self.finished_network(learned) | {"optimizer_state_dict": learned.pop("optimizer_state_dict")}
        del learned["model_state_dict"]
        return content | {"training_state": learned | self.batches.state_dict(), "progress": self.progress.saved()}

    def results(self) -> dict[str, Any]:
        """Return what `main` returns: the run's name, the last step, and the records of the best and last network."""
        progress = self.progress
        return {"run_name": self.run.name, "step": progress.step, "best": progress.best, "last": progress.last}


def load_state_of_training(run: TrainingRun, learner: Learner, batches: Batches) -> Progress:
    """Restore what `Parts.state_of_training` put into the checkpoint of a resumed run, and return the run's progress.

    Raises CheckpointError for content that no such checkpoint can have.
    """
    checkpoint = run.checkpoint or {}
    with restoring(run.origin):
        state = checkpoint | checkpoint["training_state"]
        batches.load_state_dict(state)
        learner.load_state_dict(state)
    progress = Progress(**run.saved("progress", Progress))
    with restoring(run.origin):
        progress.check()
    return progress
