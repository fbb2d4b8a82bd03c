"""Demonstrations on disk: whole, numbered, checked, and never pickled."""

import json
import resource
from pathlib import Path

import numpy as np
import pytest

from common.demonstrations import (
    DemonstrationError,
    Episode,
    common_metadata,
    count_labelled,
    count_steps,
    limit_labels,
    load_episode,
    load_metadata,
    next_episode_number,
    save_episode,
    select_episodes,
    split_episodes,
)


def episode(length=4, **metadata):
    screens = np.random.default_rng(length).integers(0, 256, (length + 1, 12, 16, 3), dtype=np.uint8)
    return Episode(screens, np.arange(length) % 3, np.ones(length), np.arange(length) == length - 1, metadata=metadata)


def write(path, **changes):
    """An episode's file with other arrays; None leaves one out."""
    one = episode()
    arrays = {key: getattr(one, key) for key in ("observations", "actions", "rewards", "dones")} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_round_trip(tmp_path):
    one = episode(5, milestone="CLOCK_SET", seed=7, buttons=["A", "B", "START"], noise=0.2)
    one.executed_actions = np.array([0, 2, 2, 0, 1])
    path = save_episode(tmp_path / "new", one)
    assert path == tmp_path / "new" / "episode_0001.npz"
    back = load_episode(path)
    for key in ("observations", "actions", "rewards", "dones", "executed_actions"):
        assert np.array_equal(getattr(back, key), getattr(one, key)), key
    assert back.metadata == one.metadata == load_metadata(path)
    assert (len(back), back.episode_return, count_steps(path)) == (5, 5.0, 5)
    assert back.pressed is back.executed_actions
    dtypes = [getattr(back, key).dtype for key in ("observations", "actions", "rewards", "dones")]
    assert dtypes == [np.uint8, np.int64, np.float32, bool]


def test_the_file_is_what_was_promised(tmp_path):
    path = save_episode(tmp_path, episode(4, milestone="M"))
    with np.load(path, allow_pickle=False) as data:
        shapes = {key: (data[key].shape, data[key].dtype.kind) for key in data}
        assert json.loads(str(data["metadata"])) == {"milestone": "M"}
        assert (float(data["episode_return"]), int(data["episode_length"])) == (4.0, 4)
    assert shapes == {
        "observations": ((5, 12, 16, 3), "u"),
        "actions": ((4,), "i"),
        "rewards": ((4,), "f"),
        "dones": ((4,), "b"),
        "episode_return": ((), "f"),
        "episode_length": ((), "i"),
        "metadata": ((), "U"),
    }


def test_numbers_go_on_after_the_highest(tmp_path):
    assert next_episode_number(tmp_path / "nowhere") == 1
    (tmp_path / "episode_0007.npz").touch()
    assert save_episode(tmp_path, episode()).name == "episode_0008.npz"
    assert next_episode_number(tmp_path) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episode_0007.npz", "episode_0008.npz"]


def test_a_taken_name_is_never_replaced(tmp_path, monkeypatch):
    first = save_episode(tmp_path, episode(3))
    numbers = iter([1, 2])  # another process has taken number 1 since we looked
    monkeypatch.setattr("common.demonstrations.next_episode_number", lambda folder: next(numbers))
    assert save_episode(tmp_path, episode(6)).name == "episode_0002.npz"
    assert len(load_episode(first)) == 3


def test_older_files_lose_their_last_action(tmp_path):
    path = write(tmp_path / "episode_0001.npz", observations=episode().observations[:4])
    back = load_episode(path)
    assert back.observations.shape[0] == 4 and back.actions.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": np.array([1, 2, 3, None], dtype=object)}, "pickled"),
        ({"metadata": np.array({"a": 1}, dtype=object)}, "pickled"),
        ({"rewards": None}, "lacks rewards"),
        ({"actions": np.array([0.5, 1, 2, 3])}, "whole numbers"),
        ({"actions": np.array([0, -2, 2, 3])}, "whole numbers from -1"),
        ({"executed_actions": np.array([0, -1, 2, 3])}, "executed_actions must be whole numbers from 0"),
        ({"dones": np.zeros(3, bool)}, r"dones has shape \(3,\), wanted \(4,\)"),
        ({"observations": np.zeros((5, 12, 16), np.uint8)}, r"wanted uint8 \(T\+1"),
        ({"observations": np.zeros((5, 12, 16, 3), np.float32)}, "float32"),
        ({"observations": np.zeros((9, 12, 16, 3), np.uint8)}, "9 observations for 4 actions"),
        ({"metadata": np.array("{")}, "not JSON"),
        ({"metadata": np.array("3")}, "not a JSON object"),
        ({"metadata": np.array('{"buttons": ["A", "B"]}')}, "button 2, but there are only 2"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, changes, message):
    path = write(tmp_path / "episode_0001.npz", **changes)
    with pytest.raises(DemonstrationError, match=message) as caught:
        load_episode(path)
    assert str(path) in str(caught.value)


def test_broken_files(tmp_path):
    path = save_episode(tmp_path, episode(20))
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"not a zip at all", whole[:200] + bytes(100) + whole[300:]):
        path.write_bytes(content)
        with pytest.raises(DemonstrationError, match="episode_0001.npz: "):
            load_episode(path)
    with pytest.raises(DemonstrationError, match="no such file"):
        load_episode(tmp_path / "episode_0009.npz")
    with pytest.raises(DemonstrationError, match="no such file"):
        count_steps(tmp_path / "episode_0009.npz")
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DemonstrationError, match="single array"):
        load_episode(path)


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match=str(tmp_path)):
            save_episode(tmp_path, episode())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_an_episode_that_does_not_fit_together_is_not_saved(tmp_path):
    one = episode()
    one.rewards = one.rewards[:2]
    with pytest.raises(DemonstrationError, match="rewards"):
        save_episode(tmp_path, one)
    assert not list(tmp_path.iterdir())


def test_select_by_milestone(tmp_path):
    for milestone in ("A1", "B2", "A1", "A1"):
        save_episode(tmp_path, episode(milestone=milestone, game="g", rom_sha256="00", buttons=["A", "B", "C"]))
    files, facts = select_episodes(tmp_path, "A1", max_episodes=2)
    assert [path.name for path in files] == ["episode_0001.npz", "episode_0003.npz"]
    assert facts == {"milestone": "A1", "tier": None, "worlds": None, "game": "g", "rom_sha256": "00", "buttons": ["A", "B", "C"]}
    assert select_episodes(tmp_path)[1]["milestone"] is None
    with pytest.raises(DemonstrationError, match="no demonstrations of C3, only of A1, B2"):
        select_episodes(tmp_path, "C3")
    save_episode(tmp_path, episode(milestone="A1", game="other"))
    with pytest.raises(DemonstrationError, match="episode_0005.npz has 'other'"):
        select_episodes(tmp_path, "A1")


def test_sorted_by_number_not_by_letters(tmp_path):
    for number in (10000, 9999, 2):
        write(tmp_path / f"episode_{number:04d}.npz")
    names = [path.name for path in select_episodes(tmp_path)[0]]
    assert names == ["episode_0002.npz", "episode_9999.npz", "episode_10000.npz"]


def test_metadata_that_is_missing_is_no_disagreement():
    entries = [(Path("a"), {}), (Path("b"), {"game": "g"}), (Path("c"), {"game": "g", "x": 1})]
    assert common_metadata(entries, ("game", "rom_sha256")) == {"game": "g"}


@pytest.mark.parametrize(("n", "share", "n_val"), [(1, 0.1, 0), (2, 0.1, 1), (20, 0.1, 2), (20, 0.0, 0), (2, 0.9, 1)])
def test_split(n, share, n_val):
    files = [Path(str(i)) for i in range(n)]
    train, val = split_episodes(files, share, seed=1)
    assert len(val) == n_val and sorted(train + val) == sorted(files)
    assert (train, val) == split_episodes(files, share, seed=1)


def test_split_refuses_nonsense():
    with pytest.raises(ValueError, match="val_fraction is 1"):
        split_episodes([Path("a")], 1.0, 0)


def test_so_many_labels(tmp_path):
    for labels in ([0, 1, -1], [-1, 2, -1, 0], [1, 1]):
        one = episode(len(labels))
        one.actions = np.array(labels)
        save_episode(tmp_path, one)
    files = sorted(tmp_path.glob("*.npz"))
    assert [count_labelled(path) for path in files] == [2, 2, 2]
    assert limit_labels(files, None) == (files, None)
    assert limit_labels(files, 1) == (files[:1], 1)
    assert limit_labels(files, 3) == (files[:2], 2)  # of the second file the first two steps
    assert limit_labels(files, 4) == (files[:2], 4)
    assert limit_labels(files, 6) == (files, 2)
    with pytest.raises(DemonstrationError, match="holds 6 labels, fewer than the 7 wanted"):
        limit_labels(files, 7)


def test_the_first_steps_of_an_episode():
    whole = episode(5, milestone="M")
    whole.executed_actions = np.array([2, 2, 2, 1, 1])
    cut = whole.first(2)
    assert len(cut) == 2 and cut.observations.shape[0] == 3 and cut.pressed.tolist() == [2, 2] and cut.metadata == whole.metadata
    assert np.array_equal(cut.observations, whole.observations[:3]) and not cut.dones.any()


def test_tier_of_a_folder(tmp_path):
    save_episode(tmp_path, episode(3, milestone="M", tier="T2"))
    assert select_episodes(tmp_path)[1]["tier"] == "T2"
    save_episode(tmp_path, episode(3, milestone="M", tier="T1"))
    assert select_episodes(tmp_path)[1]["tier"] is None and select_episodes(tmp_path)[1]["milestone"] == "M"
