"""Files from strangers: what a second round of hostile ones was, each tried on what reads it.

None reaches anything else, passes for another, or is waited for; each ends in one line, or is harmless.

Policies of that round are in `tests/agent/sandbox/test_hostile_policies.py`.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import sqlite3
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from agent.answer_cache import AnswerCache, AnswerCacheError
from agent.labelling import Label
from agent.oracle import Answer, PolicyError
from agent.policy_expert import read_policy
from common.demonstrations import DemonstrationError, Episode, clear_unfinished, load_episode, load_metadata, save_episode
from common.networks import ImpalaCNN, TileCNN, build_network, check_plays, network_arguments
from common.press_journal import PressJournal
from common.runtime.checkpoints import CheckpointError, check_fits, check_not_of_another_run, load_checkpoint, saved_run_name
from common.runtime.files import AlreadyLockedError, exclusive_lock, save_json
from common.runtime.main import UserError
from common.runtime.run_names import only_trainer
from common.runtime.sqlite_files import WITHDRAWN_TABLE
from dagger.data import DaggerData, DaggerDataError, Row
from pipeline.folder import SETTINGS, PipelineError, clear, log_of, pipeline_to_continue
from pipeline.records import PipelineRecords, PipelineRecordsError
from pokemon_env.errors import RomError, StateFileError
from pokemon_env.rom import Rom
from pokemon_env.state_files import StateIdentity, read_state, write_state
from tasks.milestone_config import MilestoneConfigError, load_milestone_config

ESCAPE = "\x1b[2J\n"  # clears a terminal's screen


def one_line(error: BaseException) -> None:
    assert str(error).isprintable() and len(str(error)) < 600, ascii(str(error))[:700]


# What is no file, or has no end, in the place of each file that is read


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**41)  # takes no room on the disk


def loop(path: Path) -> None:
    path.symlink_to(path)


IDENTITY = StateIdentity("game", "TITLE", "ab" * 32, "pyboy", "2.8.1", "dmg")
READERS = {
    "checkpoint": ("x.pth", load_checkpoint, CheckpointError),
    "episode": ("episode_0001.npz", load_episode, DemonstrationError),
    "journal": ("under_way.jsonl", PressJournal, DemonstrationError),
    "milestones": ("config.json", load_milestone_config, MilestoneConfigError),
    "policy": ("M.py", read_policy, PolicyError),
    "records": ("pipeline_results.json", lambda path: PipelineRecords(path.parent), PipelineRecordsError),
    "rom": ("x.gb", Rom.read, RomError),
    "settings": (SETTINGS, lambda path: pipeline_to_continue(path.parent, {}, False), PipelineError),
    "state": ("x.state", lambda path: read_state(path, IDENTITY), StateFileError),
    "sidecar": ("x.state.json", lambda path: read_state(path.with_suffix(""), IDENTITY), StateFileError),
    "data": ("x.sqlite", lambda path: DaggerData(path, "read"), DaggerDataError),
    "cache": ("x.sqlite", lambda path: AnswerCache(path).close(), AnswerCacheError),
}


@pytest.mark.parametrize("kind", [fifo, endless, sparse, loop, Path.mkdir])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_told_and_not_waited_for(tmp_path, name, kind):
    file_name, read, error = READERS[name]
    if name == "sidecar":
        write_state(tmp_path / "x.state", b"state", IDENTITY)
        (tmp_path / file_name).unlink()
    kind(tmp_path / file_name)
    passed_over = name in ("records", "settings") and kind is not sparse  # then there are none, and a file takes the place
    with contextlib.nullcontext() if passed_over else pytest.raises(error) as caught:
        read(tmp_path / file_name)
    if not passed_over:
        one_line(caught.value)


# SQLite files


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 4, (16, 16, 3), np.uint8)


def data_set(path: Path, n_episodes: int = 2) -> Path:
    """Of episodes of four steps."""
    with DaggerData(path, "create", milestone="M", buttons=list("ABCDEFGH")) as data:
        for e in range(n_episodes):
            labels = [Label(t, expert="expert") for t in range(4)]
            data.append(Row(picture(10 * e + t), t, 0, e, t, label=labels[t], snapshot=bytes([e, t])) for t in range(4))
            data.end_episode(e, picture(10 * e + 9), True)
        data.commit(0)
    return path


def read_all(path: Path, mode="open") -> str:
    with DaggerData(path, mode) as data:
        rows = range(len(data))
        data.previous(rows)
        data.frames(rows)
        data.snapshots(rows)
        return data.digest()


def cache(path: Path) -> Path:
    with AnswerCache(path) as answers:
        answers.put_many({b"k" * 32: Answer(1)})
    return path


def run(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def journal_that_deletes(path: Path, victim: Path) -> None:
    """A rollback journal of a transaction that was, it says, over several files: `victim` holds the others' names."""
    magic, page, name = bytes.fromhex("d9d505f920a163d7"), 4096, str(victim).encode()
    header = magic + struct.pack(">5I", 0, 1, path.stat().st_size // page, 512, page)
    end = struct.pack(">I", 0x40000000 // page + 1) + name + struct.pack(">2I", len(name), sum(name)) + magic
    path.with_name(path.name + "-journal").write_bytes(header.ljust(512, b"\0") + end)


OPENERS = {
    "open": (data_set, lambda path: DaggerData(path, "open").close(), DaggerDataError),
    "read": (data_set, lambda path: DaggerData(path, "read").close(), DaggerDataError),
    "cache": (cache, lambda path: AnswerCache(path).close(), AnswerCacheError),
}


@pytest.mark.parametrize("how", OPENERS)
def test_a_planted_journal_has_no_other_file_deleted(tmp_path, how):
    make, use, error = OPENERS[how]
    path, victim = make(tmp_path / "x.sqlite"), tmp_path / "precious.txt"
    victim.write_text("precious")
    journal_that_deletes(path, victim)
    with pytest.raises(error, match="x.sqlite-journal would have another file deleted, .*give another file") as caught:
        use(path)
    one_line(caught.value)
    assert victim.read_text() == "precious"
    # SQLite itself deletes it.
    run(path, "SELECT * FROM sqlite_master")
    assert not victim.exists()


@pytest.mark.parametrize("kind", [fifo, endless, loop, Path.mkdir])
@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("how", OPENERS)
def test_what_is_no_file_beside_it(tmp_path, how, ending, kind):
    make, use, error = OPENERS[how]
    path = make(tmp_path / "x.sqlite")
    kind(tmp_path / f"x.sqlite{ending}")
    with pytest.raises(error, match=f"x.sqlite{ending} is no file") as caught:
        use(path)
    one_line(caught.value)


WITHDRAWN = WITHDRAWN_TABLE.strip().rstrip(";")
SWAP = "UPDATE {0} SET data = (SELECT data FROM {0} f WHERE f.id = 1 - {0}.id) WHERE id < 2"
AGAIN = "INSERT INTO commits SELECT 2, {}, rows, frames, snapshots, names, episodes FROM commits"
WRONG_ROWS = {
    "the row before is another episode's": ["UPDATE rows SET previous = 1 WHERE id = 5"],
    "the row before is not the one before": ["UPDATE rows SET previous = 0 WHERE id = 3"],
    "a step twice": ["UPDATE rows SET step = 1, previous = 0 WHERE id = 2"],
    "the last step twice": ["UPDATE rows SET step = 2, previous = 1 WHERE id = 3"],
    "a step is missing": ["UPDATE rows SET step = 3 WHERE id = 2"],
    "two episodes are one": ["UPDATE rows SET episode = 0"],
    "two pictures swapped": [SWAP.format("frames")],
    "two snapshots swapped": [SWAP.format("snapshots")],
    "other keys of pictures": ["UPDATE frame_keys SET sha256 = zeroblob(32)"],
    "a commit twice": [AGAIN.format("iteration")],
    "commits that fall": [AGAIN.format("iteration + 1"), "UPDATE commits SET rows = 9 WHERE id = 1"],
    "a later commit without rows": [AGAIN.format("iteration + 1")],
    "withdrawn bytes": [WITHDRAWN, "INSERT INTO withdrawn VALUES (1, x'00', 'x', 'x')"],
    "withdrawn bytes and words": [WITHDRAWN, "INSERT INTO withdrawn VALUES (1, x'00', 'x', 'x'), (2, 'expert', 'x', 'x')"],
    "withdrawn for bytes": [WITHDRAWN, "INSERT INTO withdrawn VALUES (1, 'expert', x'ff', 'x')"],
    "text that is none": ["UPDATE names SET name = CAST(x'ff' AS TEXT)"],
    "meta that is none": ["UPDATE meta SET value = CAST(x'ff' AS TEXT) WHERE key = 'facts'"],
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_rows_that_contradict_each_other_are_told(tmp_path, name):
    path = data_set(tmp_path / "x.sqlite")
    read_all(path)
    run(path, *WRONG_ROWS[name])
    for mode in ("open", "read"):
        with pytest.raises(DaggerDataError, match="x.sqlite: .*damaged") as caught:
            read_all(path, mode)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


HARMLESS = {
    "small pages": ["PRAGMA journal_mode = DELETE", "PRAGMA page_size = 512", "VACUUM"],
    "large pages": ["PRAGMA journal_mode = DELETE", "PRAGMA page_size = 65536", "VACUUM"],
    "more facts": ["INSERT INTO meta VALUES ('more', 'x')"],
}


@pytest.mark.parametrize("name", HARMLESS)
def test_another_form_of_the_same_rows(tmp_path, name):
    path = data_set(tmp_path / "x.sqlite")
    digest = read_all(path)
    run(path, *HARMLESS[name])
    assert read_all(path) == digest


@pytest.mark.parametrize("change", [
    "UPDATE rows SET iteration = 7", "UPDATE names SET name = char(27) || '[2J'",
    """UPDATE meta SET value = '["A","A","A","A","A","A","A","A"]' WHERE key = 'buttons'""",
    """UPDATE meta SET value = '{"game": NaN}' WHERE key = 'facts'""",
])  # fmt: skip
def test_what_can_be_read_is_not_taken_for_the_runs_own(tmp_path, change):
    """The checkpoint holds the digest."""
    path = data_set(tmp_path / "x.sqlite")
    digest = read_all(path)
    run(path, change)
    assert read_all(path) != digest


def test_files_beside_it_that_say_nothing(tmp_path):
    path = data_set(tmp_path / "x.sqlite")
    digest = read_all(path)
    for ending in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + ending).write_bytes(b"\x01" + os.urandom(50_000))
        assert read_all(path) == digest
    # A journal that makes the file empty; and another file's log.
    empties = bytes.fromhex("d9d505f920a163d7") + struct.pack(">5I", 0, 1, 0, 512, 4096)
    path.with_name(path.name + "-journal").write_bytes(empties.ljust(512, b"\0"))
    with pytest.raises(DaggerDataError, match="not a data set of DAgger"):
        read_all(path)
    path, other = data_set(tmp_path / "y.sqlite"), data_set(tmp_path / "z.sqlite", 3)
    with contextlib.closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute("UPDATE rows SET label = 7 - label")
        path.with_name("y.sqlite-wal").write_bytes(Path(f"{other}-wal").read_bytes())
    with pytest.raises(DaggerDataError, match="is damaged"):
        read_all(path)


@pytest.mark.parametrize("change", [
    "action = NULL, kind = 'x'", "action = NULL, kind = 'timeout'", "optimal = '1 1 1'", "optimal = '1 ' || hex(zeroblob(3000))",
    "action = NULL, kind = char(27)",
])  # fmt: skip
def test_answers_of_the_cache_that_can_be_none(tmp_path, change):
    path = cache(tmp_path / "x.sqlite")
    run(path, f"UPDATE answers SET {change}")
    with AnswerCache(path) as answers, pytest.warns(RuntimeWarning, match="cannot be one") as told:
        assert answers.get_many([b"k" * 32]) == {}
    one_line(told[0].message)


@pytest.mark.parametrize("change", ["UPDATE answers SET action = NULL, kind = CAST(x'ff' AS TEXT)",
    f"{WITHDRAWN}; INSERT INTO withdrawn VALUES (1, CAST(x'ff' AS TEXT), 'x', 'x')"])  # fmt: skip
def test_a_cache_with_text_that_is_none(tmp_path, change):
    path = cache(tmp_path / "x.sqlite")
    run(path, *change.split(";"))
    with AnswerCache(path) as answers, pytest.raises(AnswerCacheError, match="damaged .*; delete it"):
        answers.get_many([b"k" * 32], "expert")


# Checkpoints


def checkpoint(**more):
    network = ImpalaCNN(8, 16, image_size=84, channels=(2,))
    return {"model_state_dict": network.state_dict(), "network": network_arguments(network), **more}


def use(path: Path):
    content = load_checkpoint(path)
    return build_network(content, path)


NO_WEIGHTS = {
    "complex": lambda t: t.to(torch.complex64),
    "conjugate": lambda t: t.to(torch.complex64).conj(),
    "nan": lambda t: t * float("nan"),
    "infinite": lambda t: t / 0,
    "truth values": lambda t: t > 0,
    "whole numbers": lambda t: t.to(torch.int8),
    "sparse": lambda t: t.to_sparse(),
    "without a place": lambda t: t.to("meta"),
    "of eight bits": lambda t: t.to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("name", NO_WEIGHTS)
def test_weights_of_other_kinds(tmp_path, name):
    content = checkpoint()
    with warnings.catch_warnings(action="ignore"):
        content["model_state_dict"] = {key: NO_WEIGHTS[name](t) for key, t in content["model_state_dict"].items()}
        torch.save(content, tmp_path / "x.pth")
    with warnings.catch_warnings(action="error"), pytest.raises(CheckpointError, match="x.pth: ") as caught:
        use(tmp_path / "x.pth")
    one_line(caught.value)


REAL = (torch.Tensor.half, torch.Tensor.double, torch.Tensor.bfloat16, torch.nn.Parameter, torch._neg_view)


@pytest.mark.parametrize("change", REAL)
def test_weights_that_are_real_numbers(tmp_path, change):
    content = checkpoint()
    content["model_state_dict"] = {key: change(t) for key, t in content["model_state_dict"].items()}
    torch.save(content, tmp_path / "x.pth")
    assert all(t.dtype == torch.float32 for t in use(tmp_path / "x.pth").state_dict().values())


@pytest.mark.parametrize("key", [3, None, ("a",), "x" * 100_000, ESCAPE])
def test_weights_of_other_names(tmp_path, key):
    content = checkpoint()
    content["model_state_dict"][key] = torch.zeros(1)
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="weights don't fit") as caught:
        use(tmp_path / "x.pth")
    one_line(caught.value)


CYCLE: list = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize("change", [
    {"image_size": [16, -16]}, {"image_size": 10**18}, {"image_size": (84, 84, 84)}, {"image_size": torch.zeros(1)},
    {"channels": []}, {"channels": "abc"}, {"channels": {1: 2}}, {"channels": CYCLE},
    {"hidden_dim": 0}, {"action_dim": 0}, {"in_channels": 0}, {"kind": CYCLE}, {"kind": ESCAPE}, {ESCAPE: 1},
    {"kind": "tiles", "blocks": -1}, {"kind": "tiles", "blocks": float("nan")}, {"kind": "tiles", "dropout": 5.0},
])  # fmt: skip
def test_networks_of_other_arguments(tmp_path, change):
    content = checkpoint()
    content["network"].update(change)
    torch.save(content, tmp_path / "x.pth")
    with warnings.catch_warnings(action="ignore"), pytest.raises(CheckpointError, match="x.pth: ") as caught:
        use(tmp_path / "x.pth")
    one_line(caught.value)


def described(path: Path, pickled: bytes) -> Path:
    """A checkpoint of nothing but this description."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {"x/data.pkl": pickled, "x/version": b"3\n", "x/byteorder": b"little"}.items():
            archive.writestr(name, content)
    return path


def nested(key: str, depth: int = 3000) -> bytes:
    """{"model_state_dict": {}, key: {1: {1: ...}}}, pickled, which Python's own pickler would not do."""
    word = b"X" + struct.pack("<I", len(key)) + key.encode()
    deep = b"}K\x01" * depth + b"K\x02" + b"s" * depth
    return b"\x80\x02}(X\x10\x00\x00\x00model_state_dict}" + word + deep + b"u."


@pytest.mark.parametrize("key", ["buttons", "frame_stack", "game", "milestone"])
def test_values_that_are_nested_deep_are_one_line(tmp_path, key):
    path = described(tmp_path / "x.pth", nested(key))
    with pytest.raises(CheckpointError, match=f"x.pth: its {key} is a dict nested too deep") as caught:
        load_checkpoint(path)
    one_line(caught.value)


def test_nested_deep_where_it_is_used(tmp_path):
    path = described(tmp_path / "x.pth", nested("run_name"))
    for use_of in (lambda: saved_run_name(load_checkpoint(path), path), lambda: check_not_of_another_run([path], "a", False)):
        with pytest.raises(CheckpointError, match="nested too deep"):
            use_of()
    described(path, nested("network"))
    for use_of in (lambda: use(path), lambda: check_fits(load_checkpoint(path), path, network={1: 1})):
        with pytest.raises(CheckpointError, match="x.pth: "):
            use_of()
    described(path, nested("metrics"))  # which nobody looks into
    load_checkpoint(path)
    torch.save(checkpoint(buttons=CYCLE), path)
    with pytest.raises(CheckpointError, match="its buttons is"):
        load_checkpoint(path)


def test_a_long_description_is_refused_before_it_is_read(tmp_path):
    path = described(tmp_path / "x.pth", b"\x80\x02](" + b"}" * 5_000_000 + b"e.")  # 400 MB of objects, and half a minute
    with pytest.raises(CheckpointError, match="not a checkpoint of these scripts"):
        load_checkpoint(path)


def test_what_is_quoted_of_a_checkpoint_can_be_printed(tmp_path):
    path = tmp_path / "x.pth"
    for change in ({"milestone": ESCAPE}, {"tier": "T" * 5000}, {"buttons": ["A", ESCAPE]}, {"milestones": ["\u202e"]}):
        torch.save(checkpoint(**change), path)
        with pytest.raises(CheckpointError, match="wanted printable text") as caught:
            load_checkpoint(path)
        one_line(caught.value)
    torch.save(checkpoint(run_name=ESCAPE), path)
    for use_of in (
        lambda: check_fits({"milestone": ESCAPE}, path, milestone="M"),
        lambda: saved_run_name(load_checkpoint(path), path),
        lambda: check_not_of_another_run([path], "a", False),
    ):
        with pytest.raises(CheckpointError) as caught:
            use_of()
        one_line(caught.value)


def test_a_network_for_another_screen_or_other_buttons(tmp_path):
    screen = (144, 160, 3)
    check_plays(TileCNN(8, 4), "x.pth", screen, 8)
    check_plays(ImpalaCNN(8, 4, in_channels=6, channels=(2,)), "x.pth", screen, 8, frame_stack=2)
    for network, words in (
        (TileCNN(20, 4), "chooses among 20, but here are 8"),
        (TileCNN(8, 4, image_size=(32, 32)), "cannot see this game's screen"),
        (ImpalaCNN(8, 4, in_channels=6, channels=(2,)), "cannot see this game's screen"),
    ):
        with pytest.raises(CheckpointError, match=f"x.pth: its network {words}"):
            check_plays(network, "x.pth", screen, 8)


# Demonstrations


def array(values) -> bytes:
    with io.BytesIO() as file:
        np.lib.format.write_array(file, np.asarray(values))
        return file.getvalue()


def episode(folder: Path) -> tuple[Path, dict[str, bytes]]:
    metadata = {"milestone": "M", "buttons": ["A", "B", "C"]}
    pictures = np.zeros((4, 8, 8, 3), np.uint8)
    path = save_episode(folder, Episode(pictures, np.arange(3), np.zeros(3, np.float32), np.zeros(3, bool), None, metadata))
    with zipfile.ZipFile(path) as archive:
        return path, {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name, content", [("actions", array([2, 2, 2])), ("metadata", array('{"milestone": "OTHER"}'))])
@pytest.mark.parametrize("first", [True, False])
def test_two_names_of_one_array_are_refused(tmp_path, name, content, first):
    path, entries = episode(tmp_path)
    entries = {name: content, **entries} if first else {**entries, name: content}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    for read in (load_episode, load_metadata):
        with pytest.raises(DemonstrationError, match=f"has '{name}', which does not belong there"):
            read(path)


class Unseekable:
    """So that sizes and check sums stand behind the entries."""

    def __init__(self, file):
        self.write, self.flush = file.write, file.flush


def test_zip_files_that_are_odd_in_harmless_ways(tmp_path):
    path, entries = episode(tmp_path)

    def info(name, **more):
        entry = zipfile.ZipInfo(name)
        vars_of = {"create_system": 3, **more}
        for key, value in vars_of.items():
            setattr(entry, key, value)
        return entry

    lies = struct.pack("<HHQQQ", 1, 24, *[2**62] * 3)
    for more in ({"external_attr": 0o120777 << 16}, {"comment": b"PK\1\2" * 1000}, {"extra": lies}):  # links, comments, Zip64
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in entries.items():
                archive.writestr(info(name, **more), data)
        assert load_episode(path).actions.tolist() == [0, 1, 2]
    lying = bytearray(path.read_bytes())
    place = lying.index(b"PK\1\2")
    lying[place + 24 : place + 28] = b"\xff" * 4  # now what the Zip64 field says counts
    path.write_bytes(lying)
    with pytest.raises(DemonstrationError, match="longer than it can be"):
        load_episode(path)
    with open(path, "wb") as file, zipfile.ZipFile(Unseekable(file), "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert load_episode(path).actions.tolist() == [0, 1, 2]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(data)
    assert load_episode(path).actions.tolist() == [0, 1, 2]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        archive.comment = b"PK\5\6" + bytes(18)  # an end of its own, of a file without entries
    with pytest.raises(DemonstrationError):
        load_episode(path)


# States, journals, milestones, pipelines


def edited(path: Path, **changes) -> Path:
    sidecar = Path(f"{path}.json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | changes))
    return path


@pytest.fixture
def state(tmp_path) -> Path:
    return write_state(tmp_path / "x.state", b"state" * 100, IDENTITY)


def test_a_state_that_is_a_bomb(state):
    state.write_bytes(gzip.compress(bytes(300_000_000), 1))
    with pytest.raises(StateFileError, match="it has more than 67,108,864 bytes"):
        read_state(state, IDENTITY)


@pytest.mark.parametrize("milestones", [[[1]], [{}], [1, None]])
def test_milestones_of_a_state_that_are_no_names(state, milestones):
    with pytest.raises(StateFileError, match="milestones: missing, or not of the right type"):
        read_state(edited(state, milestones=milestones), IDENTITY)


@pytest.mark.parametrize("changes", [
    {"emulator": "evil-package"}, {"emulator": "pyboy", "emulator_version": "1.0; rm -r x"}, {"emulator": ESCAPE},
    {"mode": ESCAPE}, {"rom_sha256": ESCAPE}, {"rom_sha256": "0", "rom_title": ESCAPE * 100_000}, {"emulator": "x" * 100_000},
])  # fmt: skip
def test_a_state_does_not_say_what_is_to_be_installed_or_shown(state, changes):
    with pytest.raises(StateFileError) as caught:
        read_state(edited(state, **changes), IDENTITY)
    one_line(caught.value)
    assert "Install" not in str(caught.value)


@pytest.mark.parametrize("text", ['{"a": ' + "[" * 200_000, '{"format": ' + "9" * 5000 + "}", "\0" * 100])
def test_a_sidecar_that_python_s_parser_chokes_on(state, text):
    Path(f"{state}.json").write_text(text)
    with pytest.raises(StateFileError, match="cannot be read"):
        read_state(state, IDENTITY)


@pytest.mark.parametrize("line", [
    b"[1, " + b"9" * 5000 + b"]", b"\0" * 10, b'"' + b"x" * 1_000_000 + b'"', b"[1e999, 1]", b"[NaN, 1]", b"[1, 2, 3]",
])  # fmt: skip
def test_lines_of_a_journal_that_are_none(tmp_path, line):
    path = tmp_path / "under_way.jsonl"
    path.write_bytes(b'{"format": 1, "recording": "x", "attempt": 0}\n[1, 2]\n' + line + b"\n")
    with pytest.raises(DemonstrationError, match="line 3 is damaged") as caught:
        PressJournal(path)
    one_line(caught.value)


@pytest.mark.parametrize("text", [
    '{"milestones": ' + "[" * 200_000, '{"milestones": [{"id": 1}]}', '{"milestones": [' + "9" * 5000 + "]}",
])  # fmt: skip
def test_milestones_that_are_none(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(MilestoneConfigError) as caught:
        load_milestone_config(tmp_path / "config.json")
    one_line(caught.value)


@pytest.mark.parametrize("link", ["models", "models/M", "logs", "student_videos", "student_videos/M", "expert_evaluations"])
def test_a_pipeline_s_folder_has_nothing_deleted_elsewhere(tmp_path, link):
    precious, output = tmp_path / "precious", tmp_path / "output"
    (precious / "M").mkdir(parents=True)
    for name in ("a.txt", "M.json", "M/a.txt"):
        (precious / name).write_text("precious")
    (output / link).parent.mkdir(parents=True, exist_ok=True)
    (output / SETTINGS).write_text("{}")
    (output / link).symlink_to(precious)
    with pytest.raises(PipelineError, match="is a link, and nothing is deleted behind one"):
        clear(output)
    assert sorted(path.name for path in precious.rglob("*")) == ["M", "M.json", "a.txt", "a.txt"]


@pytest.mark.parametrize("table", ["rows", "frames", "names"])
def test_pages_that_are_said_to_be_free(tmp_path, table):
    """The next commit was written over committed rows, and only the next start found the file damaged."""
    path = tmp_path / "x.sqlite"
    with DaggerData(path, "create", milestone="M", buttons=["A", "B"]) as data:
        data.append([Row(picture(0), action=0, iteration=0, episode=0, step=0, label=Label(1, expert="e"))])
        data.commit(0)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    content = bytearray(path.read_bytes())
    trunk = len(content) // 4096 + 1
    content += struct.pack(">3I", 0, 1, page).ljust(4096, b"\0")  # a list of one free page, which is not
    content[28:40] = struct.pack(">3I", trunk, trunk, 2)
    path.write_bytes(content)
    with pytest.raises(DaggerDataError, match=r"x.sqlite: is damaged \(2nd reference to page \d+\); delete it") as caught:
        DaggerData(path, "open")
    one_line(caught.value)


# Names that are known beforehand


def a_lock(folder: Path) -> None:
    with exclusive_lock(folder / ".lock"):
        pass


def a_run(folder: Path) -> None:
    with only_trainer(folder, "x"):
        pass


def presses(folder: Path) -> None:
    journal = PressJournal(folder / "under_way.jsonl")
    journal.begin({"attempt": 0})
    try:
        journal.append(1, picture(0))
    finally:
        journal.close()


def its_log(folder: Path) -> None:
    log_of(folder / "M.log").close()


WRITERS = {".lock": a_lock, ".x.lock": a_run, "under_way.jsonl": presses, "M.log": its_log}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("there", [True, False])
def test_a_link_has_no_other_file_written(tmp_path, name, there):
    """A folder of checkpoints with a `.bc_pokemon.lock` that leads to your thesis: the thesis was a line about a process."""
    if there:
        (tmp_path / "thesis").write_text("all of it")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).symlink_to(tmp_path / "thesis")
    with pytest.raises((OSError, UserError), match="there is a link, or no file; delete it") as caught:
        WRITERS[name](tmp_path / "folder")
    one_line(caught.value)
    assert not there or (tmp_path / "thesis").read_text() == "all of it"
    assert there or not (tmp_path / "thesis").exists()


@pytest.mark.parametrize("name", [".lock", ".x.lock", "M.log"])
@pytest.mark.parametrize("kind", [fifo, Path.mkdir])
def test_what_is_no_file_is_not_written_on(tmp_path, name, kind):
    kind(tmp_path / name)
    with pytest.raises((OSError, UserError), match="there is a link, or no file; delete it"):
        WRITERS[name](tmp_path)


def test_a_process_of_a_number_that_there_can_t_be(tmp_path):
    """In the name of a half-written file, and in a lock: the recorder, and whoever opened a cache there, ended in a traceback."""
    number = "9" * 30
    for name in (f".recording.{number}.x.tmp", f".a.sqlite.{number}.7.tmp"):
        (tmp_path / name).write_text("")
    (folder := tmp_path / f".a.sqlite.{number}.8.tmp-lock").mkdir()  # what can't be cleared is in nobody's way
    clear_unfinished(tmp_path)
    AnswerCache(tmp_path / "a.sqlite").close()
    assert {path.name for path in tmp_path.iterdir()} == {"a.sqlite", folder.name}
    texts = {f'{{"pid": {number}, "script": "x", "since": "y"}}': f"process {number}, x, since y, or one", "[" * 4000: "another"}
    for text, holder in texts.items():
        with exclusive_lock(tmp_path / ".lock"):
            (tmp_path / ".lock").write_text(text)
            with pytest.raises(AlreadyLockedError, match=f"held by {holder}"), exclusive_lock(tmp_path / ".lock"):
                pass


def test_a_half_written_file_is_not_a_link_to_another(tmp_path):
    """Its name holds the number of this process, which can be guessed."""
    (tmp_path / "thesis").write_text("all of it")
    (tmp_path / f".x.{os.getpid()}.tmp.json").symlink_to(tmp_path / "thesis")
    save_json(tmp_path / "x.json", {})
    assert (tmp_path / "thesis").read_text() == "all of it"
