"""Files that users have: what commit 374b240 wrote is read to the same content, and its runs go on.

`tests/fixtures/make_old_files.py` wrote them, before the project's files were moved. The values here were read at that commit.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import bc_pokemon
import dagger_pokemon
from agent.answer_cache import AnswerCache, answer_key
from agent.students import load_student
from common.demonstrations import NO_LABEL, load_episode
from common.networks import build_network
from common.runtime.checkpoints import load_checkpoint
from dagger.data import DaggerData, Source, Status
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import Rom
from tools.witness import weights_digest

ROOT = Path(__file__).resolve().parent.parent
MILESTONE = "RIVAL_HOUSE"
BUTTONS = ["A", "B", "START", "SELECT", "UP", "DOWN", "LEFT", "RIGHT"]
EXPERT = "policy:RIVAL_HOUSE:440c835223976e5d"
SHOWN = [5, 5, 7, 7, 7, 7, 7, 5, 7, 7, 7, 7, 4, 7, 7, 4, 7, 7, 7, 7, 7, 4, 1, 4, 4, 1, 4, 7, 1, 7, 4]
"""The expert's buttons in the first demonstration."""
PRESSED = [5, 5, 0, 7, 7, 7, 4, 5, 7, 7, 7, 7, 4, 7, 5, 4, 7, 7, 7, 7, 7, 2, 1, 7, 2, 1, 4, 2, 1, 7, 4]
"""Those that were pressed in it: one of five is random."""
NONE = NO_LABEL
LABELS = [5, 5, 5, 5, 5, NONE, NONE, 1, 5, 0, 5, 7, 7, 7, NONE, NONE, NONE, NONE, NONE, NONE]
"""The rollout's, in the data set: with abstentions, and what was not asked."""
OPTIMAL = [160, 160, 160, 160, 160, 0, 0, 2, 160, 3, 160, 128, 128, 128, 0, 0, 0, 0, 0, 0]
ABSTAINED = [45, 46, 47, 48, 49]
"""The rows at which the expert failed."""
WEIGHTS = {
    "bc": "2c31fc169c2057efb3ce69a83e037db8fabed8c2b77322e8aaf90e90335b6cd3",
    "dagger": "3b9aee2e50db721d795a86ad95a6185014b39bb22edc153f2a42b96ffbb31136",
}
NETWORK = {
    "kind": "tiles", "action_dim": 8, "hidden_dim": 2, "image_size": [144, 160], "in_channels": 1, "tile_channels": 32,
    "channels": 32, "blocks": 2, "dropout": 0.2,
}  # fmt: skip


@pytest.fixture
def old(tmp_path, monkeypatch) -> Path:
    """A user's folder with the old files, and the working folder: copies, for runs and SQLite write."""
    folder = tmp_path / "user"
    shutil.copytree(ROOT / "tests" / "fixtures" / "old_files", folder)
    for path in folder.glob("models/*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    monkeypatch.chdir(folder)
    return folder


def resume(script, monkeypatch, *words: str):
    """Go on with a script's run in this process, with the checkpoint's flags as the command line takes them over."""
    name = script.__name__
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [f"{name}.py", "--resume-from", f"models/{name}_last.pth", *words])
        args = script.parse_args()
    return script.main(args)


@pytest.mark.parametrize("algorithm", ["bc", "dagger"])
def test_checkpoints(old, algorithm):
    path = old / "models" / f"{algorithm}_pokemon_last.pth"
    assert weights_digest(path) == WEIGHTS[algorithm]
    checkpoint = load_checkpoint(path)
    said = {"algorithm": algorithm, "network": NETWORK, "frame_stack": 1, "buttons": BUTTONS, "milestone": MILESTONE, "tier": "T0"}
    assert {name: checkpoint[name] for name in said} == said
    network = build_network(checkpoint, path)
    assert weights_of(network.state_dict()) == weights_of(checkpoint["model_state_dict"])
    screen = load_episode(old / "expert_data" / "episode_0001.npz").observations[0]
    assert logits(network, screen) == pytest.approx([0, 0, 0.4126, 0.3352, 0, -0.2941, 0, 0], abs=2e-3)
    assert not [value for value in checkpoint["args"].values() if str(value).startswith("/")], "a path of one machine"


def weights_of(state: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: weight.numpy().tobytes() for name, weight in state.items()}


def logits(network, screen: np.ndarray) -> list[float]:
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(network.preprocess(screen))[None])[0].tolist()


def test_bc_goes_on(old, monkeypatch, capsys):
    assert resume(bc_pokemon, monkeypatch, "--total-steps", "4")["step"] == 4
    assert "will not be the same" not in capsys.readouterr().out
    last = load_checkpoint(old / "models" / "bc_pokemon_last.pth")
    assert last["global_step"] == 4 and last["progress"]["held_out"] == ["episode_0001.npz"]
    assert weights_digest(old / "models" / "bc_pokemon_final.pth") != WEIGHTS["bc"]
    assert last["optimizer_state_dict"]["state"][0]["step"] == 4


def test_dagger_goes_on(old, monkeypatch):
    data_file = old / "models" / "dagger_pokemon_data.sqlite"
    with DaggerData(data_file, "read") as data:
        before = data.columns(["action", "label", "status", "optimal", "frame"])
    results = resume(dagger_pokemon, monkeypatch, "--policy-dir", "policies")
    assert results["iteration"] == 3 and results["labels"]["labels"] > 17
    with DaggerData(data_file, "read") as data:
        assert list(data.iterations) == [-1, 1, 2] and len(data) > 51
        after = data.columns(before)
    assert all(np.array_equal(after[name][:51], values) for name, values in before.items())
    last = load_checkpoint(old / "models" / "dagger_pokemon_last.pth")
    assert last["global_step"] == 60, "18 steps were left of iteration 1, and 20 of the last"
    assert last["optimizer_state_dict"]["state"][0]["step"] == 60
    assert weights_digest(old / "models" / "dagger_pokemon_final.pth") != WEIGHTS["dagger"]


def test_data_set(old):
    with DaggerData(old / "models" / "dagger_pokemon_data.sqlite", "read") as data:
        assert (data.milestone, data.buttons, data.facts["game"]) == (MILESTONE, BUTTONS, "tallgrass")
        assert (len(data), data.iterations, data.withdrawn) == (51, {-1: 31, 1: 51}, {})
        rows = data.columns(["action", "label", "status", "optimal", "source", "beta", "iteration", "step", "kind", "expert"])
        assert rows["action"].tolist()[:31] == PRESSED and rows["label"].tolist() == SHOWN + LABELS
        assert rows["optimal"].tolist()[31:] == OPTIMAL
        assert np.flatnonzero(rows["status"] == Status.ABSTAINED).tolist() == ABSTAINED
        assert (rows["source"] == Source.DEMONSTRATION).tolist() == [True] * 31 + [False] * 20
        assert rows["beta"].tolist() == [1.0] * 31 + [1 - 1 / 3] * 20 and rows["iteration"].tolist() == [-1] * 31 + [1] * 20
        names = data.names
        assert {names[number] for number in rows["kind"][ABSTAINED]} == {"exception"}
        assert {names[number] for number in rows["expert"][ABSTAINED]} == {EXPERT}
        shown = load_episode(old / "expert_data" / "episode_0001.npz").observations[:-1]
        assert np.array_equal(data.frames(np.arange(31)), shown)
        content = hashlib.sha256(b"".join(frame.tobytes() for frame in data.frames(np.arange(31, 51)))).hexdigest()
        assert content == "161b8490d87043619f71c768abc5444e22437e5e35d19067763afc2ce25f7fef"


def test_answers(old):
    """The questions of the data set are those whose answers the cache knows, word for word."""
    with DaggerData(old / "models" / "dagger_pokemon_data.sqlite", "read") as data:
        rows = data.columns(["prev_action", "status", "iteration", "label"])
        asked = np.flatnonzero((rows["iteration"] == 1) & (rows["status"] != Status.NOT_ASKED))
        said = ["no_op" if number < 0 else data.buttons[number].lower() for number in rows["prev_action"][asked]]
        keys = [answer_key(EXPERT, snapshot, button) for snapshot, button in zip(data.snapshots(asked), said, strict=True)]
    with AnswerCache(old / "answers.sqlite", len(BUTTONS)) as cache:
        assert len(cache) == len(set(keys)) == 17
        answers = cache.get_many(keys, EXPERT)
    found = [answers[key] for key in keys]
    assert [NO_LABEL if answer.action is None else answer.action for answer in found] == rows["label"][asked].tolist()
    assert [answer.optimal for answer in found[:8]] == [(5, 7)] * 5 + [(1,), (5, 7), (0, 1)]
    failed = {(answer.kind, answer.reason) for answer in found if answer.action is None}
    assert failed == {("exception", "RIVAL_HOUSE.py: ValueError: not here (line 13)")}


def test_demonstrations(old):
    episode = load_episode(old / "expert_data" / "episode_0001.npz")
    assert episode.actions.tolist() == SHOWN and episode.pressed.tolist() == PRESSED
    assert episode.rewards.tolist() == [0.0] * 30 + [1.0] and episode.dones.tolist() == [False] * 30 + [True]
    assert episode.observations.shape == (32, 144, 160, 3)
    content = hashlib.sha256(episode.observations.tobytes()).hexdigest()
    assert content == "29c4d51f808528fd5736f82d432cf57366a7ada437dce04a6ee0350aeab0e12c"
    said = {"milestone": MILESTONE, "tier": "T0", "worlds": "0", "world": 0, "seed": 1642950594, "noise": 0.2, "success": True}
    assert {name: episode.metadata[name] for name in said} == said and episode.metadata["buttons"] == BUTTONS


def test_saved_state(old, rom_path):
    with PokemonEnv(rom_path, target_milestone=MILESTONE) as env:
        screen, info = env.reset(options={"load_state": "states/RIVAL_HOUSE.state"})
    assert hashlib.sha256(screen.tobytes()).hexdigest() == "0dbbd17cf67d81807a436a13e12ef78b89c133823c8fc676e536c3798af84b73"
    where = {"location": "HOUSE_1F", "position": {"x": 2, "y": 6}, "facing": "down", "name": "UW"}
    assert {name: info["player"][name] for name in where} == where
    completed = [name for name, entry in info["milestones"].items() if entry["completed"]]
    assert (len(completed), completed[-1]) == (7, "LEAVE_HOUSE")


def test_shipped_student(old, rom_path):
    """Its digest is the file's; what it presses on a demonstration's screens says that it sees what it saw in training."""
    path = ROOT / "tallgrass" / "students" / f"{MILESTONE}.pth"
    assert weights_digest(path) == "2d698aa15cbc5461603634b4a8d487fca22337999f462c95dd28d8c418625762"
    network, deterministic = load_student(path, MILESTONE, Rom.read(rom_path).header.sha256, GAME.buttons)
    assert deterministic is False
    screens = load_episode(old / "expert_data" / "episode_0001.npz").observations
    wanted = [-25.635, -24.495, -23.017, -25.068, -15.804, 28.153, -20.228, 9.968]
    assert logits(network, screens[0]) == pytest.approx(wanted, abs=0.02)
    pressed = [int(np.argmax(logits(network, screen))) for screen in screens[:-1]]
    assert [place for place, button in enumerate(pressed) if button != SHOWN[place]] == [22, 25, 28]
