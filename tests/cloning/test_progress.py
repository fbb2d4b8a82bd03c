"""How far a run of cloning has come."""

import pytest
import torch

from cloning.progress import Progress, what_changed


def test_what_a_run_begins_with(tmp_path):
    files = [tmp_path / name for name in ("a.npz", "b.npz")]
    for path in files:
        path.write_text(path.name)
    progress = Progress.at_first(files, files[1:], threads=2)
    assert list(progress.demonstrations) == ["a.npz", "b.npz"] and len(set(progress.demonstrations.values())) == 2
    assert (progress.held_out, progress.threads, progress.step) == (["b.npz"], 2, 0)
    assert Progress(**progress.saved()) == progress


def test_what_changed_is_said():
    before = Progress(demonstrations={"a": "1", "b": "1", "c": "1"}, threads=1)
    assert what_changed(before, before) == []
    now = Progress(demonstrations={"b": "1", "c": "2", "d": "1"}, threads=2)
    assert what_changed(before, now) == [
        "the number of threads was 1 and is 2", "demonstrations new: d", "demonstrations gone: a", "demonstrations changed: c",
    ]  # fmt: skip


@pytest.mark.parametrize("held_out", [["a"], None])  # the second from before the split was by milestone
def test_a_resumed_run_takes_the_demonstrations_of_now(held_out):
    progress = Progress(held_out=held_out, step=9)
    progress.take_over(Progress({"b": "1"}, ["b"], threads=3))
    assert progress == Progress({"b": "1"}, held_out and ["b"], threads=3, step=9)


def test_patience_counts_evaluations_since_the_lowest_loss():
    progress = Progress()
    for step, loss, without_gain in ((1, 3.0, 0), (2, 2.0, 0), (3, 2.0, 1), (4, None, 1), (5, 2.5, 2), (6, 1.0, 0)):
        progress.step = step
        progress.note({"step": step} if loss is None else {"step": step, "val_loss": loss})
        assert (progress.without_gain, progress.evaluated_at, progress.last["step"]) == (without_gain, step, step)
        assert progress.is_done(total_steps=9, patience=2) == (without_gain == 2)
        assert not progress.is_done(total_steps=9, patience=0)
    assert progress.lowest_val_loss == 1.0 and progress.is_done(total_steps=6, patience=0)


def test_means_of_what_was_added():
    progress = Progress()
    for value in (1.0, 2.0, 6.0):
        progress.add({"loss": torch.tensor(value)})
    resumed = Progress(**progress.saved())
    assert progress.take_means() == resumed.take_means() == {"loss": 3.0}
    progress.add({"loss": torch.tensor(5.0)})
    assert progress.take_means() == {"loss": 5.0} and progress == Progress()


@pytest.mark.parametrize("wrong", [{"step": -1}, {"n_summed": 1 << 60}, {"best": {"step": -1}}, {"last": {"step": "1"}}])
def test_no_run_comes_to_such_numbers(wrong):
    Progress().check()
    with pytest.raises(ValueError):
        Progress(**wrong).check()
