"""A training run's files."""

import time

from common.flag_groups import RunFlags
from common.runtime.run import TrainingRun


def test_when_the_last_checkpoint_is_due(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with TrainingRun(RunFlags(cuda=False, num_threads=1), "bc") as run:
        now += 50
        run.begin(0)
        assert run.last_is_due(0) and not run.last_is_due(10)
        now += 10
        assert run.last_is_due(10)
        run.write(run.files["best"], {"model_state_dict": {}})
        assert run.last_is_due(10)
        run.write(run.files["last"], {"model_state_dict": {}})
        assert not run.last_is_due(10)
        now += 10
        assert run.last_is_due(10)
