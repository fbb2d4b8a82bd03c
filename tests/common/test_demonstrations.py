"""Demonstrations on disk: whole, numbered, checked, and never pickled."""

import json
import os
import random
import resource
import tracemalloc
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from common.demonstrations import (
    DemonstrationError,
    Episode,
    choose_labels,
    common_metadata,
    count_labelled,
    count_steps,
    holds_sets,
    limit_labels,
    load_episode,
    load_metadata,
    next_episode_number,
    save_episode,
    select_episodes,
    split_episodes,
)
from common.runtime.flag_types import FlagError


def episode(length=4, **metadata):
    screens = np.random.default_rng(length).integers(0, 256, (length + 1, 12, 16, 3), dtype=np.uint8)
    return Episode(screens, np.arange(length) % 3, np.ones(length), np.arange(length) == length - 1, metadata=metadata)


KEYS = ("observations", "actions", "rewards", "dones", "executed_actions", "optimal")


def with_sets(length=4, **metadata):
    """An episode with noise, and with label sets at all steps but the first."""
    one = episode(length, **metadata)
    one.executed_actions = np.full(length, 2)
    one.optimal = np.where(np.arange(length) > 0, 1 << one.actions | 1, 0)
    return one


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
    for key in KEYS[:-1]:
        assert np.array_equal(getattr(back, key), getattr(one, key)), key
    assert back.optimal is None and not holds_sets(path)
    assert back.metadata == one.metadata == load_metadata(path)
    assert (len(back), back.episode_return, count_steps(path)) == (5, 5.0, 5)
    assert back.pressed is back.executed_actions
    dtypes = [getattr(back, key).dtype for key in ("observations", "actions", "rewards", "dones")]
    assert dtypes == [np.uint8, np.int64, np.float32, bool]


def test_label_sets(tmp_path):
    one = with_sets(5, buttons=["A", "B", "START"])
    path = save_episode(tmp_path, one)
    with np.load(path, allow_pickle=False) as data:
        assert data["optimal"].dtype == np.uint16
    assert holds_sets(path)
    back = load_episode(path)
    assert back.optimal.tolist() == [0, 0b11, 0b101, 0b001, 0b011] and back.optimal.dtype == np.int64
    assert back.first(3).optimal.tolist() == [0, 0b11, 0b101]
    older = write(tmp_path / "episode_0002.npz", observations=episode().observations[:4], optimal=np.array([0, 2, 4, 1]))
    assert load_episode(older).optimal.tolist() == [0, 2, 4]  # an older tool's file loses its last action
    one.optimal[1] = 1  # without the label
    with pytest.raises(DemonstrationError, match=r"to be saved: at step 1, the label 1 is not in its own set .*\(0b1\)"):
        save_episode(tmp_path, one)
    assert len(list(tmp_path.iterdir())) == 2


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
        ({"optimal": np.array([1.0, 2, 4, 1])}, "optimal are float64, wanted whole numbers from 0"),
        ({"optimal": np.array([1, 2, 5, 1]) > 1}, "optimal are bool"),
        ({"optimal": np.array([1, 2, 4, -1])}, "optimal are int64, wanted whole numbers from 0"),
        ({"optimal": np.array([1, 2, 4])}, r"optimal has shape \(3,\), wanted \(4,\)"),
        ({"optimal": np.array(["1", "2", "4", "1"])}, "optimal has shape .* of text"),
        ({"optimal": np.array([1, 2, 4, 1 << 16 | 1])}, r"beyond those of 16 buttons \(0x10001\)"),
        ({"optimal": np.array([1, 2, 4, 1 << 63], np.uint64)}, r"beyond those of 16 buttons"),
        (
            {"optimal": np.array([1, 2, 4, 9]), "metadata": np.array('{"buttons": ["A", "B", "C"]}')},
            r"beyond those of 3 buttons \(0x9\)",
        ),
        ({"optimal": np.array([1, 2, 3, 1])}, r"at step 2, the label 2 is not in its own set of optimal buttons \(0b11\)"),
        ({"optimal": np.array([1, 2, 4, 1]), "actions": np.array([0, -1, 2, 0])}, "at step 1, the label -1 is not in"),
        ({"optimal": np.array([1, 2, 4, 1]), "actions": np.array([0, 1, 2, 900])}, "at step 3, the label 900 is not in"),
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


def same(one, other):
    """Whether two episodes are the same, to the bit."""
    pairs = [(getattr(one, key), getattr(other, key)) for key in KEYS]
    return one.metadata == other.metadata and all(
        (a is None) == (b is None) and (a is None or (a.dtype == b.dtype and np.array_equal(a, b))) for a, b in pairs
    )


def test_a_changed_byte_is_never_taken_for_another_episode(tmp_path):
    path = save_episode(tmp_path, with_sets(3, milestone="M", buttons=["A", "B", "START"]))
    whole, content = path.read_bytes(), load_episode(path)
    rng, refused = random.Random(0), 0
    for _ in range(600):
        changed = bytearray(whole)
        for _ in range(rng.choice([1, 1, 1, 2, 20])):
            changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        for read in (load_episode, load_metadata, count_labelled):
            try:
                value = read(path)
            except DemonstrationError as error:
                assert str(error).startswith(f"{path}: ") and "\n" not in str(error) and len(str(error)) < 500
                refused += 1
            else:
                assert same(value, content) if read is load_episode else value == (content.metadata if read is load_metadata else 3)
    assert refused > 600


def rewritten(path, change):
    """The file with other entries in it, and right check sums. `change`: dict of name -> bytes, changed in place."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_odd_headers_are_one_line(tmp_path):
    """Hundreds of headers with right check sums: a DemonstrationError each, or the episode."""
    path = save_episode(tmp_path, with_sets(3, milestone="M"))
    whole, content = path.read_bytes(), load_episode(path)
    rng = random.Random(0)
    words = [*"'(){},: \n\\[x0", "-1", "9" * 30, "1e9", "True", "None", "'|O'", "'<U9'", "'>i8'"]
    for _ in range(300):

        def change(entries):
            name = rng.choice(sorted(entries))
            data = bytearray(entries[name])
            for _ in range(rng.randint(1, 3)):
                place = rng.randrange(min(len(data), 128))
                word = rng.choice(words).encode() if rng.random() < 0.7 else rng.randbytes(rng.randint(1, 4))
                if rng.random() < 0.5:
                    data[place : place + len(word)] = word
                else:
                    data[place:place] = word
            entries[name] = bytes(data)

        path.write_bytes(whole)
        rewritten(path, change)
        for read in (load_episode, load_metadata, count_steps):
            try:
                with warnings.catch_warnings(action="ignore"):  # numpy's, of headers that Python 2 wrote
                    value = read(path)
            except DemonstrationError as error:
                assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            else:
                assert read is not load_episode or value.observations.shape == content.observations.shape


def test_another_name_for_what_was_pressed_is_refused(tmp_path):
    one = episode(3)
    one.executed_actions = np.array([2, 2, 2])
    path = rewritten(
        save_episode(tmp_path, one), lambda entries: entries.update({"executed_action5.npy": entries.pop("executed_actions.npy")})
    )
    for read in (load_episode, load_metadata, count_steps, count_labelled):
        with pytest.raises(DemonstrationError, match="has 'executed_action5', which does not belong there"):
            read(path)


def array(shape, dtype="|u1", content=b"", order=False):
    """An array's bytes, whatever its header says of them."""
    header = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("observations", array((4, 60000, 60000, 3)), "more or fewer bytes"),
        ("observations", array((4, 2**40, 2**40, 3)), "more or fewer bytes"),
        ("observations", array((4, -12, -16, 3), content=bytes(2304)), "say that they are"),
        ("observations", array((4, 0, 16, 3)), "observations are uint8"),
        ("observations", array((30_000_001, 1, 1, 3), content=bytes(90_000_003)), "observations for 3 actions"),
        ("rewards", array((10_000_000,), "<f8", bytes(80_000_000)), "rewards has shape"),
        ("actions", array((3,), "<c16", bytes(48)), "say that they are complex128"),
        ("actions", array((3,), "<M8[s]", bytes(24)), "say that they are"),
        ("actions", array((3,), "|V8", bytes(24)), "say that they are"),
        ("actions", array((3,), "|O", bytes(24)), "pickled"),
        ("actions", array((3,), "<i8", bytes(24) + b"more"), "more or fewer bytes"),
        ("actions", array((1, 3), "<i8", bytes(24)), "actions"),
        ("dones", array((3,), "<U1", bytes(12)), "dones has shape"),
        ("optimal", array((10_000_000,), "<f8", bytes(80_000_000)), "optimal has shape"),
        ("optimal", array((3,), "|O", bytes(24)), "pickled"),
        ("rewards", array((3,), "<f4", np.array([0, np.nan, 0], "<f4").tobytes()), "finite"),
        ("episode_length", array((), "<i8", bytes(8)), "says that it has 0 steps"),
        ("metadata", array((), "<i8", bytes(8)), "metadata is int64"),
        ("metadata", array((2,), "<U1", bytes(8)), "metadata is <U1"),
        ("metadata", array((), "<U1", b"\xff" * 4), "broken"),
        ("metadata", array((), "<U200000", ("[" * 200_000).encode("utf-32-le")), "not JSON"),
        ("metadata", b"", "no header of an array"),
    ],
)
def test_arrays_are_not_taken_at_their_word(tmp_path, name, content, message):
    path = rewritten(save_episode(tmp_path, episode(3)), lambda entries: entries.update({f"{name}.npy": content}))
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    with pytest.raises(DemonstrationError, match=message) as error:
        load_episode(path)
    assert tracemalloc.get_traced_memory()[1] < 40e6 and "\n" not in str(error.value) and len(str(error.value)) < 500
    tracemalloc.stop()


def test_pictures_that_fill_the_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("common.runtime.npz_files.available_memory", lambda: 90_000_000)
    screens = np.zeros((4, 2000, 2000, 3), np.uint8)
    path = save_episode(tmp_path, Episode(screens, np.zeros(3, int), np.zeros(3), np.zeros(3, bool)))
    assert path.stat().st_size < 100_000
    with pytest.raises(DemonstrationError, match="observations take 0.0 GB, more than half of the 0.1 GB that are free"):
        load_episode(path)


@pytest.mark.parametrize(
    "metadata",
    [
        "null", "[1]", "5", '"text"', '{"tier": 5}', '{"milestone": ["M"]}', '{"buttons": "AB"}', '{"buttons": [1]}',
        '{"buttons": []}', '{"buttons": null}', '{"seed": "1"}', '{"seed": 1e300}', '{"seed": 9223372036854775808}',
        '{"world": true}', '{"worlds": {}}', '{"game": []}', '{"rom_sha256": 1}', '{"recorder": 1}',
    ],
)  # fmt: skip
def test_metadata_of_another_type_is_one_line(tmp_path, metadata):
    path = write(tmp_path / "episode_0001.npz", metadata=np.array(metadata))
    for read in (load_metadata, load_episode, lambda path: select_episodes(path.parent)):
        with pytest.raises(DemonstrationError, match="metadata"):
            read(path)


def test_big_endian_and_fortran_arrays_are_read(tmp_path):
    one = episode(4)
    path = write(
        tmp_path / "episode_0001.npz",
        observations=np.asfortranarray(one.observations), actions=one.actions.astype(">i4"), rewards=one.rewards.astype(">f8"),
    )  # fmt: skip
    back = load_episode(path)
    assert np.array_equal(back.observations, one.observations) and back.actions.tolist() == one.actions.tolist()
    assert back.actions.dtype == np.int64 and back.rewards.dtype == np.float32 and back.observations.flags.writeable


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "episode_0001.npz")
    with pytest.raises(DemonstrationError, match="is no file"):
        load_metadata(tmp_path / "episode_0001.npz")


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
    assert facts.pop("milestones") == ["A1", "A1"] and facts.pop("tiers") == {}
    assert facts == {"milestone": "A1", "tier": None, "worlds": None, "game": "g", "rom_sha256": "00", "buttons": ["A", "B", "C"]}
    facts = select_episodes(tmp_path)[1]
    assert facts["milestone"] is None and facts["milestones"] == ["A1", "B2", "A1", "A1"]
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


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_split_is_by_milestone(share):
    milestones = ["A"] * 10 + ["B"] * 3 + ["LONELY"] + ["A"] * 10 + [None] * 2
    files = [Path(f"{i}") for i in range(len(milestones))]
    milestone_of = dict(zip(files, milestones, strict=True))
    splits = set()
    for seed in range(100):
        train, val = split_episodes(files, share, seed, milestones)
        assert sorted(train + val) == sorted(files) and train == [path for path in files if path in train]
        held_out = Counter(milestone_of[path] for path in val)
        for milestone, count in Counter(milestones).items():
            assert held_out[milestone] == min(max(round(share * count), 1), count - 1)
        splits.add(tuple(val))
    assert len(splits) > 50
    assert split_episodes(files, 0, 1, milestones) == (files, [])


def test_the_split_of_one_milestone_never_changes():
    files = [Path(str(i)) for i in range(20)]
    held_out = {seed: [path.name for path in split_episodes(files, 0.15, seed, ["A"] * 20)[1]] for seed in range(3)}
    assert held_out == {0: ["1", "12", "13"], 1: ["2", "4", "18"], 2: ["1", "2", "18"]}
    for seed in range(20):
        assert split_episodes(files, 0.15, seed, ["A"] * 20) == split_episodes(files, 0.15, seed)


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


def test_labels_from_more_episodes(tmp_path):
    for labels in ([0, 1, -1, 2], [-1, 2, 0, 1, 0, 2], [1, 1, 2, 2]):
        one = episode(len(labels))
        one.actions, one.executed_actions = np.array(labels), np.zeros(len(labels), int)
        save_episode(tmp_path, one)
    files = sorted(tmp_path.glob("*.npz"))
    assert choose_labels(files, None) == (files, {}, None)
    assert choose_labels(files, 5) == (files[:2], {files[1]: 3}, None)
    draws = set()
    for seed in range(30):
        chosen, steps_of, kept = choose_labels(files, 5, 2, seed)
        assert chosen == files and steps_of == {files[2]: 2} and list(kept) == files  # of the first ten labels
        steps = [load_episode(path).first(steps_of.get(path, 9)).labelled_at(kept[path]) for path in files]
        assert sum((one.actions >= 0).sum() for one in steps) == 5 == sum(map(len, kept.values()))
        assert all(value.tolist() == choose_labels(files, 5, 2, seed)[2][path].tolist() for path, value in kept.items())
        draws.add(tuple((number, step) for number, path in enumerate(files) for step in kept[path].tolist()))
    assert len(draws) > 25 and len(set().union(*draws)) == 10  # any of them may be drawn
    with pytest.raises(DemonstrationError, match=r"holds 12 labels, fewer than the 16 wanted, 4 \(--spread-labels\) times 4"):
        choose_labels(files, 4, 4)
    with pytest.raises(FlagError, match="--spread-labels 4 is of 4 times --max-labels, which is not given"):
        choose_labels(files, None, 4)


def test_the_labels_of_some_steps():
    whole = episode(4)
    one = whole.labelled_at(np.array([1, 3]))
    assert one.actions.tolist() == [-1, 1, -1, 0] and one.pressed.tolist() == whole.actions.tolist() and one.optimal is None
    assert with_sets(4).labelled_at(np.array([1])).optimal.tolist() == [0, 0b11, 0, 0]


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
