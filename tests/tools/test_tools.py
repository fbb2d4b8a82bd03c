"""The programs that describe and export data: what they say is what was put in."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from agent.labelling import Label
from common.demonstrations import NO_LABEL, DemonstrationError, Episode, save_episode
from common.runtime.files import AlreadyLockedError, exclusive_lock
from dagger.data import DEMONSTRATION_ITERATION, DaggerData, DaggerDataError, Row
from pokemon_env.gym_env import PokemonEnv
from tools import export_minari
from tools.describe_data import describe, print_description
from tools.export_minari import Args, ExportError, export

BUTTONS = ["A", "B", "START", "SELECT", "UP", "DOWN", "LEFT", "RIGHT"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def screens() -> np.ndarray:
    """(25, 144, 160, 3): 24 random presses in the game."""
    with PokemonEnv(tier="T1", worlds="1-9", start_milestone="STARTER_CHOSEN", state_in_info=False) as env:
        pictures = [env.reset(seed=2)[0]]
        pictures += [env.step(int(action))[0] for action in np.random.default_rng(1).integers(8, size=24)]
    return np.stack(pictures)


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory, screens) -> Path:
    """Two episodes, of 4 and 6 steps; one label is missing, one press is noise, two labels have a set."""
    folder = tmp_path_factory.mktemp("demonstrations")
    metadata = {"milestone": "STARTER_CHOSEN", "buttons": BUTTONS, "seed": 5, "world": 8, "recorder": "policy"}
    labels = np.array([4, NO_LABEL, 4, 0])
    save_episode(
        folder, Episode(screens[:5], labels, np.array([0, 0, 0, 1.0]), labels == 0, np.array([4, 1, 7, 0]), metadata)
    )  # fmt: skip
    second = Episode(screens[10:17], np.arange(6), np.zeros(6), np.zeros(6, bool), metadata={**metadata, "world": 9})
    second.optimal = np.array([0, 0, 0b110, 0, 0b10000, 0])
    save_episode(folder, second)
    return folder


@pytest.fixture(scope="module")
def dagger(tmp_path_factory, screens, demonstrations) -> Path:
    """The demonstrations, and an iteration of two episodes that were played at once; the second one's end is not known."""
    path = tmp_path_factory.mktemp("dagger") / "data.sqlite"
    labels = [
        Label(4, expert="policy 1", optimal=(4, 6)), Label(None, "exception", "ValueError: \0 [b]\n(line 3)", expert="policy 1"),
        None, Label(0, None, "a wall is left", expert="policy 1", cached=True), Label(None, "timeout", expert="policy 1"),
    ]  # fmt: skip
    with DaggerData(path, "create", milestone="STARTER_CHOSEN", buttons=BUTTONS) as data:
        data.add_demonstrations(sorted(demonstrations.glob("*.npz")))
        data.commit(DEMONSTRATION_ITERATION)
        for t in range(5):
            for number in range(2):
                picture = screens[0] if number else screens[t]
                row = Row(picture, t + number, 0, 2 + number, t, 0.25, 77, 3, t - 1, label=labels[t], reward=t / 2)
                data.append([row])
        data.end_episode(2, screens[5], False)
        data.commit(0)
    return path


def test_describe_dagger(dagger, screens, capsys):
    found = describe(dagger)
    assert json.loads(json.dumps(found)) == found  # plain data
    assert (found["kind"], found["milestones"], found["rows"], found["episodes"]) == ("DAgger", ["STARTER_CHOSEN"], 20, 4)
    assert found["status"] == {"valid": 13, "abstained": 5, "not asked": 2, "withdrawn": 0}
    assert found["sources"] == {"rollout": 10, "demonstration": 10}
    assert found["abstained_by_kind"] == {"exception": 2, "timeout": 2, "not recorded": 1}
    assert found["reasons_of_abstentions"] == {"ValueError: \0 [b]\n(line 3)": 2} and found["with_reason"] == 4
    assert found["experts"] == {"demonstrations by policy": 10, "policy 1": 8}
    assert (found["cached"], found["with_optimal_set"]) == (2, 4)
    assert found["buttons"]["UP"] == {"labels": 5, "share": 5 / 13, "pressed": 4, "pressed_share": 0.2}
    assert sum(button["labels"] for button in found["buttons"].values()) == 13 and list(found["buttons"]) == BUTTONS
    assert [entry["iteration"] for entry in found["iterations"]] == [-1, 0]
    assert found["iterations"][1] == {
        "iteration": 0, "beta": [0.25], "rows": 10, "episodes": 2, "valid": 4, "abstained": 4, "not asked": 2, "withdrawn": 0,
        "cached": 2,
    }  # fmt: skip
    assert found["worlds"] == {"distinct": 3, "lowest": 3, "highest": 9}
    shown = [*screens[:4], *screens[10:16], *screens[:5], *[screens[0]] * 5]
    distinct = len({picture.tobytes() for picture in shown})
    assert (found["distinct_pictures"], found["seen_before_share"]) == (distinct, (20 - distinct) / 20)
    # The student's second episode shows one picture five times, with two labels.
    labelled = [(0, 0), (0, 2), (0, 3), *((1, place) for place in range(10, 16)), (2, 0), (2, 3), (3, 0), (3, 0)]
    by_episode = {(episode, screens[place].tobytes()) for episode, place in labelled}
    assert len(labelled) == found["status"]["valid"] and found["labelled_pictures_by_episode"] == len(by_episode) < 13
    assert found["labelled_pictures"] == len({picture for _, picture in by_episode}) < len(by_episode)
    episodes = [screens[:4], screens[10:16], screens[:5], np.stack([screens[0]] * 5)]
    same = sum(np.array_equal(a, b) for episode in episodes for a, b in zip(episode[:-1], episode[1:], strict=True))
    assert same >= 4 and found["same_as_step_before_share"] == same / 20
    assert found["other_than_label_pressed"] == 5  # noise in a demonstration, and what the student did
    print_description(found)
    said = capsys.readouterr().out
    assert "abstained: timeout" in said and "distinct pictures with a label, by episode" in said
    assert "why: ValueError:   [b] (line 3) " in said


def test_describe_demonstrations(demonstrations, dagger, tmp_path):
    found = describe(demonstrations)
    with DaggerData(tmp_path / "data.sqlite", "create", milestone="STARTER_CHOSEN", buttons=BUTTONS) as data:
        data.add_demonstrations(sorted(demonstrations.glob("*.npz")))
        data.commit(DEMONSTRATION_ITERATION)
    same = describe(tmp_path / "data.sqlite")
    apart = {"path", "kind", "bytes_on_disk", "bytes_per_row"}
    assert {key: value for key, value in found.items() if key not in apart} == {
        key: value for key, value in same.items() if key not in apart
    }
    assert found["kind"] == "demonstrations" and (found["rows"], found["with_optimal_set"]) == (10, 2)
    assert found["bytes_on_disk"] == sum(path.stat().st_size for path in demonstrations.glob("*.npz"))


def test_describe_nothing(tmp_path):
    DaggerData(tmp_path / "data.sqlite", "create", milestone=None, buttons=BUTTONS).close()
    found = describe(tmp_path / "data.sqlite")
    assert (found["rows"], found["seen_before_share"], found["iterations"]) == (0, None, [])
    assert (found["labelled_pictures"], found["labelled_pictures_by_episode"]) == (0, 0)
    print_description(found)
    with pytest.raises(DemonstrationError, match="holds no episode_"):
        (tmp_path / "empty").mkdir()
        describe(tmp_path / "empty")
    with pytest.raises(DaggerDataError, match="no such data set"):
        describe(tmp_path / "nothing.sqlite")


def run(*arguments):
    return subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)


def test_command_lines(dagger, tmp_path):
    described = run("tools.describe_data", dagger, "--json")
    assert json.loads(described.stdout) == describe(dagger), described.stderr
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"no data set" * 100)
    for tool in (["tools.describe_data"], ["tools.export_minari", "--dataset-id", "a-v0", "--output-dir", tmp_path]):
        told = run(*tool, broken)
        assert told.returncode == 1 and told.stderr.count("\n") == 1 and str(broken) in told.stderr
    exported = run("tools.export_minari", dagger, "--dataset-id", "tallgrass/cli-v0", "--output-dir", tmp_path / "out")
    assert exported.returncode == 0 and "tallgrass/cli-v0: 4 episodes, 19 steps" in exported.stdout, exported.stderr
    again = run("tools.export_minari", dagger, "--dataset-id", "tallgrass/cli-v0", "--output-dir", tmp_path / "out")
    assert again.returncode == 1 and "exists already" in again.stderr


@pytest.fixture
def minari(tmp_path, monkeypatch):
    """Minari, with its data sets in a folder of the test's."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return pytest.importorskip("minari")


def text(values):
    return [value.decode() for value in values]


def test_export_of_demonstrations_is_lossless(demonstrations, screens, minari):
    export(Args(str(demonstrations), "tallgrass/demos-v0", author="somebody"))
    dataset = minari.load_dataset("tallgrass/demos-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (2, 10)
    assert dataset.observation_space.shape == (144, 160, 3) and dataset.action_space.n == 8
    assert dataset.storage.metadata["buttons"] == BUTTONS and dataset.storage.metadata["milestone"] == "STARTER_CHOSEN"
    first, second = dataset.iterate_episodes()
    assert first.observations.dtype == np.uint8
    assert np.array_equal(first.observations, screens[:5]) and np.array_equal(second.observations, screens[10:17])
    assert first.actions.tolist() == [4, 1, 7, 0] and second.actions.tolist() == list(range(6))
    assert first.rewards.tolist() == [0, 0, 0, 1]
    assert first.terminations.tolist() == [False, False, False, True] and not first.truncations.any()
    assert not second.terminations.any() and second.truncations.tolist() == [False] * 5 + [True]
    assert first.infos["label"].tolist() == [4, -1, 4, 0, -1]
    assert text(first.infos["status"]) == ["valid", "abstained", "valid", "valid", "not asked"]
    assert text(first.infos["kind"]) == ["", "not recorded", "", "", ""] and set(text(first.infos["reason"])) == {""}
    assert set(text(second.infos["expert"][:6])) == {"demonstrations by policy"}
    assert first.infos["optimal"].tolist() == [0] * 5 and second.infos["optimal"].tolist() == [0, 0, 0b110, 0, 0b10000, 0, 0]
    assert first.infos["prev_action"].tolist() == [-1, 4, 1, 7, 0]
    assert set(second.infos["world"].tolist()) == {9} and all(len(values) == 7 for values in second.infos.values())
    assert [episode["seed"] for episode in dataset.storage.get_episode_metadata([0, 1])] == [5, 5]


def test_export_of_dagger_is_lossless(dagger, screens, minari):
    export(Args(str(dagger), "dagger-v0"))
    dataset = minari.load_dataset("dagger-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (4, 4 + 6 + 5 + 4)  # the last one's end is not known
    demonstration, _, played, cut = dataset.iterate_episodes()
    assert np.array_equal(demonstration.observations, screens[:5]) and demonstration.terminations[-1]
    assert np.array_equal(played.observations, screens[:6]) and played.actions.tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(cut.observations, np.stack([screens[0]] * 5)) and cut.actions.tolist() == [1, 2, 3, 4]
    assert played.rewards.tolist() == [0, 0.5, 1, 1.5, 2] and played.truncations[-1] and not played.terminations.any()
    infos = played.infos
    assert infos["label"].tolist() == [4, -1, -1, 0, -1, -1]
    assert text(infos["status"]) == ["valid", "abstained", "not asked", "valid", "abstained", "not asked"]
    assert text(infos["kind"]) == ["", "exception", "", "", "timeout", ""]
    assert text(infos["reason"]) == ["", "ValueError: \\0 [b]\n(line 3)", "", "a wall is left", "", ""]
    assert text(infos["expert"]) == ["policy 1", "policy 1", "", "policy 1", "policy 1", ""]
    assert infos["optimal"].tolist() == [0b1010000, 0, 0, 0, 0, 0] and infos["cached"].tolist() == [False] * 3 + [
        True,
        False,
        False,
    ]
    assert set(text(infos["source"])) == {"rollout"} and set(infos["beta"]) == {0.25} and set(infos["world"]) == {3}
    assert infos["prev_action"].tolist() == [-1, 0, 1, 2, 3, 4] and set(infos["iteration"]) == {0}


def test_export_that_cannot_be_made(dagger, demonstrations, minari, tmp_path, monkeypatch):
    with pytest.raises(ExportError, match="is of milestone STARTER_CHOSEN, not BADGE"):
        export(Args(str(dagger), "a-v0", milestone="BADGE"))
    with pytest.raises(DemonstrationError, match="no demonstrations of BADGE"):
        export(Args(str(demonstrations), "a-v0", milestone="BADGE"))
    with pytest.raises(ValueError, match="Malformed dataset ID"):
        export(Args(str(demonstrations), "not a name"))

    def fails(data):
        contents = real(data)
        contents.recordings = (recording if i < 2 else 1 / 0 for i, recording in enumerate(contents.recordings))
        return contents

    real = export_minari.read_dagger
    with monkeypatch.context() as patched:
        patched.setattr(export_minari, "read_dagger", fails)
        with pytest.raises(ZeroDivisionError):
            export(Args(str(dagger), "a-v0"))
    assert not (tmp_path / "minari" / "a-v0").exists()  # not half of one
    with monkeypatch.context() as patched:
        usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
        patched.setattr(export_minari.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(ExportError, match="take 0.0 GB .* has 0.0 GB free"):
            export(Args(str(dagger), "a-v0"))
    with exclusive_lock(tmp_path / "minari" / ".a-v0.lock"), pytest.raises(AlreadyLockedError, match="held by process"):
        export(Args(str(dagger), "a-v0"))  # which fails, would delete the data set that the other one writes
    export(Args(str(dagger), "a-v0"))
    with pytest.raises(ExportError, match="exists already; choose another --dataset-id"):
        export(Args(str(dagger), "a-v0"))


@pytest.mark.parametrize("name", ["a-v0", "of/mine/a-v0"])
def test_an_export_that_is_killed_leaves_no_part_that_passes_for_a_whole(dagger, minari, monkeypatch, name):
    """After SIGTERM Minari loaded the episodes that were written by then, and a further export was told that all was there."""
    make, found, root = export_minari._buffer, [], os.environ["MINARI_DATASETS_PATH"]

    def look_then_make(recording):
        with monkeypatch.context() as elsewhere:  # what a user finds if the process is killed here
            elsewhere.setenv("MINARI_DATASETS_PATH", root)
            found.append(minari.list_local_datasets())
        return make(recording)

    monkeypatch.setattr(export_minari, "_buffer", look_then_make)
    left = Path(root, name).with_name(".a-v0.making")
    (left / name / "data").mkdir(parents=True)
    dataset = export(Args(str(dagger), name))
    assert len(found) == dataset.total_episodes > 1 and not any(found) and not left.exists()
    assert list(minari.list_local_datasets()) == [name] and minari.load_dataset(name).total_steps == dataset.total_steps
    namespaces = importlib.import_module("minari.namespace").list_local_namespaces()
    assert sorted(namespaces) == ([] if name == "a-v0" else ["of", "of/mine"])


def test_export_without_minari(dagger, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "minari" else find(name, *more))
    with pytest.raises(ExportError, match="minari is not installed; .*pip install -r requirements-minari.txt"):
        export(Args(str(dagger), "a-v0"))


def test_minari_is_pinned():
    lines = (ROOT / "requirements-minari.txt").read_text().splitlines()
    assert "minari[hdf5]==0.5.4" in lines and "-r requirements-minari.txt" in (ROOT / "requirements-dev.txt").read_text()
    assert not any("minari" in line for line in (ROOT / "requirements.txt").read_text().splitlines())


def test_withdrawn_labels_are_told_and_not_exported(dagger, tmp_path, minari, capsys):
    path = shutil.copy(dagger, tmp_path / "data.sqlite")
    with DaggerData(path) as data:
        data.withdraw("policy 1", "depends on a clock")
    found = describe(path)
    assert found["status"] == {"valid": 9, "abstained": 1, "not asked": 2, "withdrawn": 8}
    assert found["abstained_by_kind"] == {"not recorded": 1} and found["with_optimal_set"] == 2  # the demonstrations'
    assert sum(button["labels"] for button in found["buttons"].values()) == 9 and found["iterations"][1]["withdrawn"] == 8
    print_description(found)
    assert "rows, withdrawn" in capsys.readouterr().out
    export(Args(str(path), "withdrawn-v0"))
    infos = list(minari.load_dataset("withdrawn-v0").iterate_episodes())[2].infos
    assert text(infos["status"]) == ["withdrawn", "withdrawn", "not asked", "withdrawn", "withdrawn", "not asked"]
    assert set(infos["label"].tolist()) == {-1} and set(infos["optimal"].tolist()) == {0}
    assert set(text(infos["kind"])) == set(text(infos["reason"])) == {""}
