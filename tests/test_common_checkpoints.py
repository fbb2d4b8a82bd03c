"""Checkpoints: what is saved comes back, with the safe loader, and what is broken or foreign is refused in words."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from common.checkpoints import (
    CheckpointError,
    build_network,
    check_fits,
    check_not_of_another_run,
    load_checkpoint,
    network_arguments,
    package_versions,
    rng_state,
    save_checkpoint,
    saved_fields,
    set_rng_state,
    to_plain,
)
from common.networks import ImpalaCNN


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
    with pytest.raises(TypeError, match="can't hold object"):
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


def test_what_can_t_be_written_is_said(tmp_path, monkeypatch):
    def full(*args):
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 768 vs 662\nmore")

    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="x.pth: can't be written"):
        save_checkpoint(tmp_path / "file" / "x.pth", {"model_state_dict": {}})
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="x.pth: can't be written .*unexpected pos 768 vs 662.; make room"):
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
