"""Checkpoints: what is saved comes back, with the safe loader, and what is broken or foreign is refused in words."""

import contextlib
import io
import os
import random
import struct
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from common.learner import Learner
from common.networks import ImpalaCNN, build_network, network_arguments
from common.runtime.checkpoints import (
    CheckpointError,
    check_fits,
    check_not_of_another_run,
    load_checkpoint,
    package_versions,
    restoring,
    rng_state,
    save_checkpoint,
    saved_fields,
    set_rng_state,
    to_plain,
)


@dataclass
class Flags:
    model_dir: Path = Path("models")
    rate: float = 0.1


def checkpoint(**more):
    network = ImpalaCNN(8, 16, in_channels=6, channels=(4, 8))
    return network, {"model_state_dict": network.state_dict(), "network": network_arguments(network), **more}


def test_round_trip(tmp_path):
    network, content = checkpoint(
        args=Flags(), metrics={"rate": np.float64(0.5), "n": np.int64(3), "values": np.arange(3)}, run_name="run_1"
    )
    path = save_checkpoint(tmp_path / "new" / "x.pth", content)
    back = load_checkpoint(path)
    assert torch.load(path).keys() == back.keys()  # the default is weights_only=True
    assert back["args"] == {"model_dir": "models", "rate": 0.1}
    assert back["metrics"]["rate"] == 0.5 and type(back["metrics"]["rate"]) is float
    assert back["metrics"]["values"].tolist() == [0, 1, 2]
    rebuilt = build_network(back)
    pictures = torch.randint(0, 256, (2, 6, 84, 84), dtype=torch.uint8)
    assert torch.equal(rebuilt(pictures), network(pictures))
    assert [entry.name for entry in path.parent.iterdir()] == ["x.pth"]


def test_the_promised_snippet(tmp_path):
    network = ImpalaCNN(action_dim=8)
    save_checkpoint(tmp_path / "best.pth", {"model_state_dict": network.state_dict(), "args": Flags()})
    policy_net = ImpalaCNN(action_dim=8).to("cpu")
    loaded = torch.load(tmp_path / "best.pth")
    policy_net.load_state_dict(loaded["model_state_dict"])


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = save_checkpoint(tmp_path / "x.pth", checkpoint()[1])
    before = path.read_bytes()
    with pytest.raises(TypeError, match="cannot hold object"):
        save_checkpoint(path, {"model_state_dict": {}, "x": object()})
    assert path.read_bytes() == before


def test_broken_files(tmp_path):
    path = save_checkpoint(tmp_path / "x.pth", checkpoint()[1])
    whole = path.read_bytes()
    for content in (b"", b"no checkpoint", whole[:100], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="x.pth: "):
            load_checkpoint(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_checkpoint(tmp_path)
    torch.save(ImpalaCNN(8, 16).state_dict(), path)
    with pytest.raises(CheckpointError, match="model_state_dict"):
        load_checkpoint(path)
    torch.save({"model_state_dict": {}, "path": Path("x")}, path)
    with pytest.raises(CheckpointError, match="could run code"):
        load_checkpoint(path)


def equal(one, other):
    """Whether two checkpoints hold the same, to the bit."""
    if isinstance(one, torch.Tensor):
        return type(other) is type(one) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict | list | tuple):
        pairs = zip(one.items(), other.items(), strict=False) if isinstance(one, dict) else zip(one, other, strict=False)
        return type(one) is type(other) and len(one) == len(other) and all(equal(a, b) for a, b in pairs)
    return type(one) is type(other) and one == other


def test_a_changed_byte_is_never_taken_for_another_checkpoint(tmp_path):
    network = ImpalaCNN(8, 4, image_size=8, in_channels=1, channels=(2,))
    path = save_checkpoint(
        tmp_path / "x.pth", {"model_state_dict": network.state_dict(), "network": network_arguments(network), "milestone": "M"}
    )
    whole, content = path.read_bytes(), load_checkpoint(path)
    rng, refused = random.Random(0), 0
    folder = whole.index(b"PK\x01\x02") + 38  # an entry's attributes: torch reads no entry that is marked as a folder
    changes = [(folder, 1 << 4), *((position, 1 << rng.randrange(8)) for position in rng.sample(range(len(whole)), 500))]
    for position, bit in changes:
        changed = bytearray(whole)
        changed[position] ^= bit
        path.write_bytes(changed)
        try:
            assert equal(load_checkpoint(path), content), position
        except CheckpointError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            refused += 1
    assert refused > 0.5 * len(changes)  # the rest are dates, and bytes between entries


def test_a_shipped_student_with_a_flipped_bit_is_refused(tmp_path):
    whole = Path("tallgrass/students/BADGE.pth").read_bytes()
    path = tmp_path / "BADGE.pth"
    rng = random.Random(1)
    for _ in range(40):
        changed = bytearray(whole)
        changed[rng.randrange(4000, len(whole) - 4000)] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        with contextlib.suppress(CheckpointError):
            assert equal(load_checkpoint(path), torch.load(io.BytesIO(whole)))


def rewritten(path, packing=zipfile.ZIP_STORED, change=lambda name, content: content):
    """The checkpoint with other entries in it, and right check sums."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", packing) as archive, warnings.catch_warnings(action="ignore"):
        for name, content in entries.items():
            archive.writestr(name, change(name, content))
    return path


def peak_memory(function):
    """Bytes that this process has held at most while a function ran, above what it held before."""
    Path("/proc/self/clear_refs").write_text("5")
    values = []
    for run in (lambda: None, function):
        run()
        status = Path("/proc/self/status").read_text()
        values.append(int(status.split("VmHWM:")[1].split()[0]) * 1024)
    return values[1] - values[0]


def shared_weights(hidden):
    """A state dict of a huge network in a few bytes: all its weights are the same number."""
    with torch.device("meta"):
        network = ImpalaCNN(8, hidden, image_size=8, in_channels=1, channels=(2,))
    weights = {name: torch.zeros(1).expand(tensor.shape) for name, tensor in network.state_dict().items()}
    return {"model_state_dict": weights, "network": network_arguments(network)}


def test_no_file_asks_for_more_memory_than_it_has_bytes(tmp_path):
    path = tmp_path / "x.pth"

    def refused(message):
        def load():
            with pytest.raises(CheckpointError, match=message):
                build_network(load_checkpoint(path), path)

        load()
        assert peak_memory(load) < 50e6

    torch.save({"model_state_dict": {"w": torch.zeros(60_000_000)}}, path)  # 240 MB that deflate to 240 kB
    rewritten(path, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1e6
    refused("packed in a way that is not used here")
    torch.save(shared_weights(3_000_000), path)  # 1 GB
    refused("larger than what is kept of it")
    torch.save({"model_state_dict": {}, "x": bytearray(b"12")}, path)
    refused("holds Python objects")
    torch.save({"model_state_dict": {}, "x": torch.zeros(2).untyped_storage()}, path)
    refused("holds Python objects")
    torch.save({"model_state_dict": {}, "x": "x" * 20_000_000}, path)
    refused("not a checkpoint of these scripts")
    save_checkpoint(path, checkpoint()[1])
    os.truncate(path, 2**42)  # a file with a hole takes no room on the disk
    refused("too much for the .* GB of memory")
    path.unlink()
    os.mkfifo(path)
    refused("no such checkpoint")


def test_a_network_is_no_larger_than_its_weights(tmp_path):
    _, content = checkpoint()
    for change in ({"hidden_dim": 3_000_000}, {"hidden_dim": 10**30}, {"image_size": 60_000}, {"channels": [4] * 10_000}):
        arguments = content["network"] | change

        def build(arguments=arguments):
            with pytest.raises(CheckpointError, match="x.pth: its weights don't fit its own network"):
                build_network(content | {"network": arguments}, "x.pth")

        build()
        assert peak_memory(build) < 50e6
    tiles = {"kind": "tiles", "blocks": 10**9}
    with pytest.raises(CheckpointError, match="more layers than there are weights"):
        build_network(content | {"network": tiles}, "x.pth")
    same = torch.zeros(10_000_000)  # and one tensor that stands in for many
    weights = {name: same[: tensor.numel()].view(tensor.shape) for name, tensor in ImpalaCNN(8, 1000).state_dict().items()}
    with pytest.raises(CheckpointError, match="the same numbers"):
        build_network({"model_state_dict": weights | {"more": same}, "network": {"hidden_dim": 1000, "action_dim": 8}}, "x.pth")
    for wrong in (None, [], {"w": 3}):
        with pytest.raises(CheckpointError, match="no dictionary of tensors"):
            build_network(content | {"model_state_dict": wrong}, "x.pth")


def test_zip_files_that_are_odd_are_refused(tmp_path):
    path = save_checkpoint(tmp_path / "x.pth", checkpoint()[1])
    whole = path.read_bytes()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "a") as archive:  # the weights of another, behind
        archive.writestr(archive.namelist()[-1].upper(), b"")
    with pytest.raises(CheckpointError, match="two entries of one name"):
        load_checkpoint(path)
    start = whole.rindex(b"PK\x05\x06")
    first = struct.unpack_from("<I", whole, start + 16)[0]
    assert whole[first : first + 4] == b"PK\x01\x02"
    changed = bytearray(whole)
    second = whole.index(b"PK\x01\x02", first + 4)
    changed[second + 42 : second + 46] = changed[first + 42 : first + 46]  # where the second entry begins
    path.write_bytes(changed)
    with pytest.raises(CheckpointError, match="overlap"):
        load_checkpoint(path)
    torch.save({"model_state_dict": {}}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="not a checkpoint, or broken"):
        load_checkpoint(path)


def test_weights_that_do_not_fit(tmp_path):
    _, content = checkpoint()
    content["network"]["hidden_dim"] = 99
    with pytest.raises(CheckpointError, match="don't fit"):
        build_network(content)
    for network in (content["network"] | {"depth": 3}, {"action_dim": "8"}, {"action_dim": -1}, [8], 8):
        with pytest.raises(CheckpointError, match="x.pth: its "):
            build_network(content | {"network": network}, "x.pth")
    del content["network"]
    with pytest.raises(CheckpointError, match="'network' is missing"):
        build_network(content)


@dataclass
class Settings:
    name: str = "a"
    rate: float = 0.1
    steps: int | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    parts: list[str] = field(default_factory=list)


def test_fields_of_a_dataclass_come_back():
    settings = {"name": "b", "rate": 1, "steps": 3, "schedule": "cosine", "parts": ["c"]}
    assert Settings(**saved_fields({"args": settings | {"of_old": 1}}, "x.pth", "args", Settings)) == Settings(**settings)
    assert saved_fields({}, "x.pth", "args", Settings) == {}
    with pytest.raises(CheckpointError, match="x.pth: its 'args' is None"):
        saved_fields({"args": None}, "x.pth", "args", Settings)
    for name, wrong in {"name": None, "rate": "1", "steps": True, "schedule": "linear", "parts": "c"}.items():
        with pytest.raises(CheckpointError, match=f"x.pth: in its 'args', {name} is .*, wanted "):
            saved_fields({"args": {name: wrong}}, "x.pth", "args", Settings)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_state_dict", [1]), ("frame_stack", "3"), ("frame_stack", 0), ("frame_stack", 10**9), ("deterministic", 1),
        ("metrics", [1]), ("buttons", "AB"), ("buttons", [1]), ("milestone", ["M"]), ("tier", 1), ("worlds", {"a": "b" * 1000}),
        ("progress", 3), ("training_state", [3]), ("labels", "x\ny"), ("global_step", 1.5),
    ],
)  # fmt: skip
def test_values_of_another_type_are_one_line(tmp_path, key, value):
    path = save_checkpoint(tmp_path / "x.pth", checkpoint()[1] | {key: value})
    with pytest.raises(CheckpointError, match=f"x.pth: its {key} is .*, wanted ") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_state_of_training_that_is_none_is_one_line():
    learner = Learner(ImpalaCNN(8, 16, in_channels=6, channels=(4, 8)), torch.device("cpu"), learning_rate=1e-3, weight_decay=0.0)
    good = learner.state_dict()
    for change in (
        {"optimizer_state_dict": {}}, {"optimizer_state_dict": {"state": 3, "param_groups": 4}}, {"rng": None},
        {"rng": {"python": (3, (1,), None)}}, {"rng": good["rng"] | {"numpy": {}}},
        {"rng": good["rng"] | {"torch": torch.zeros(3)}},
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match="x.pth: training cannot resume from what it holds") as error, restoring("x.pth"):
            learner.load_state_dict(good | change)
        assert "\n" not in str(error.value)


def test_what_can_t_be_written_is_said(tmp_path, monkeypatch):
    def full(*args):
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 768 vs 662\nmore")

    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="x.pth: cannot be written"):
        save_checkpoint(tmp_path / "file" / "x.pth", {"model_state_dict": {}})
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="x.pth: cannot be written .*unexpected pos 768 vs 662.; make room"):
        save_checkpoint(tmp_path / "x.pth", {"model_state_dict": {}})


@pytest.mark.parametrize(
    ("key", "has", "wanted"),
    [
        ("buttons", ["A", "B"], ["A", "B", "L", "R"]),
        ("game", "tallgrass", "pokemon_red"),
        ("rom_sha256", "00ff", "00fe"),
        ("milestone", "CLOCK_SET", "ROUTE_1"),
    ],
)
def test_foreign_checkpoints_are_refused(key, has, wanted):
    with pytest.raises(CheckpointError, match=f"x.pth: has {key} "):
        check_fits({key: has}, "x.pth", **{key: wanted})
    check_fits({key: has}, "x.pth", **{key: has})
    check_fits({}, "x.pth", **{key: wanted})
    check_fits({key: has}, "x.pth", **{key: None})
    check_fits({"buttons": ("A", "B")}, "x.pth", buttons=["A", "B"])


def test_another_runs_files_are_not_replaced(tmp_path):
    path = save_checkpoint(tmp_path / "bc_best.pth", checkpoint(run_name="run_1")[1])
    with pytest.raises(CheckpointError, match=r"run_1\). Choose another --exp-name or --model-dir; or replace it"):
        check_not_of_another_run([tmp_path / "none.pth", path], None, overwrite=False)
    (tmp_path / "bc_last.pth").write_text("")  # only what is there is named
    with pytest.raises(CheckpointError, match=r"run_1\).*continue that run with --resume-from .*bc_last.pth; or .*--overwrite$"):
        check_not_of_another_run([path], None, overwrite=False)
    with pytest.raises(CheckpointError):
        check_not_of_another_run([path], "run_2", overwrite=False)
    check_not_of_another_run([path], "run_1", overwrite=False)
    check_not_of_another_run([path], None, overwrite=True)


def test_all_generators_go_on_where_they_were(tmp_path):
    def draw():
        return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(3).tolist()

    draw()
    path = save_checkpoint(tmp_path / "x.pth", {"model_state_dict": {}, "rng": rng_state()})
    following = draw()
    draw()
    set_rng_state(load_checkpoint(path)["rng"])
    assert draw() == following


def test_plain_types():
    assert to_plain((1, [np.float32(0.5)], {"a": Path("b")})) == (1, [0.5], {"a": "b"})
    assert type(to_plain(np.float64(1.0))) is float and type(to_plain(np.bool_(True))) is bool
    assert package_versions(("torch", "no_such_package")).keys() == {"python", "torch"}
