"""State files: what is written comes back, and whatever is wrong with one is said."""

from __future__ import annotations

import gzip
import json
import os

import numpy as np
import pytest

from pokemon_env import state_files
from pokemon_env.errors import StateFileError
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.state_files import StateIdentity, read_state, sidecar_path, write_state

IDENTITY = StateIdentity("tallgrass", "TALLGRASS", "ab" * 32, "pyboy", "2.8.1", "dmg")
DATA = bytes(range(256)) * 20


def edit(path, **changes):
    sidecar = sidecar_path(path)
    content = json.loads(sidecar.read_text()) | changes
    sidecar.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_what_is_written_is_read(tmp_path):
    path = write_state(tmp_path / "new" / "x.state", DATA, IDENTITY, ["ONE", "TWO"], {"seed": 3})
    saved = read_state(path, IDENTITY)
    assert (saved.data, saved.milestones, saved.details) == (DATA, ("ONE", "TWO"), {"seed": 3})
    assert sorted(os.listdir(path.parent)) == ["x.state", "x.state.json"]
    assert path.stat().st_size < len(DATA)
    first = path.read_bytes()
    assert write_state(path, DATA, IDENTITY).read_bytes() == first, "the same state makes the same file"


def test_plain_states_are_read_too(tmp_path):
    path = write_state(tmp_path / "x.state", DATA, IDENTITY)
    path.write_bytes(DATA)
    assert read_state(path, IDENTITY).data == DATA


def test_a_failed_write_leaves_the_old_files(tmp_path, monkeypatch):
    path = write_state(tmp_path / "x.state", DATA, IDENTITY)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_files.os, "replace", fail)
    with pytest.raises(StateFileError, match="cannot write.*x.state.*No space left"):
        write_state(path, b"other", IDENTITY)
    monkeypatch.undo()
    assert read_state(path, IDENTITY).data == DATA
    assert sorted(os.listdir(tmp_path)) == ["x.state", "x.state.json"]


def test_a_full_disk_leaves_the_old_pair(tmp_path, monkeypatch):
    path = write_state(tmp_path / "x.state", DATA, IDENTITY)
    original = state_files.tempfile.mkstemp

    def second_fails(*args, prefix, **more):
        if prefix == ".x.state.":
            raise OSError(28, "No space left on device")
        return original(*args, prefix=prefix, **more)

    monkeypatch.setattr(state_files.tempfile, "mkstemp", second_fails)
    with pytest.raises(StateFileError, match="cannot write.*x.state.*No space left"):
        write_state(path, b"other", IDENTITY)
    monkeypatch.undo()
    assert read_state(path, IDENTITY).data == DATA
    assert sorted(os.listdir(tmp_path)) == ["x.state", "x.state.json"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "there is no state file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "damaged or cut off"),
        (lambda path: path.write_bytes(path.read_bytes()[:4] + b"?" * 40), "damaged or cut off"),
        (
            lambda path: path.write_bytes(gzip.compress(DATA[:-1])),
            "damaged: its SHA-256 is not the one in x.state.json",
        ),
        (
            lambda path: edit(path, rom_sha256="cd" * 32, rom_title="OTHER"),
            "another ROM .'OTHER', SHA-256 cdcdcdcdcdcd",
        ),
        (lambda path: edit(path, emulator_version="2.6.0"), "saved by pyboy 2.6.0.*Install pyboy==2.6.0"),
        (lambda path: edit(path, emulator="mgba"), "saved by mgba 2.8.1, and this is pyboy 2.8.1"),
        (lambda path: edit(path, mode="cgb"), "saved in cgb mode, and this emulator runs in dmg mode"),
        (lambda path: edit(path, format=2), "format is 2, known is 1"),
        (lambda path: edit(path, mode=None), "cannot be read .mode: missing"),
        (lambda path: edit(path, milestones="ALL"), "milestones: missing, or not of the right type"),
        (lambda path: sidecar_path(path).write_text("{"), "the sidecar .*x.state.json of the state .* cannot be read"),
        (lambda path: sidecar_path(path).write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda path: sidecar_path(path).write_text("[]"), "not a JSON object"),
    ],
)
def test_each_damage_is_named(tmp_path, damage, message):
    path = write_state(tmp_path / "x.state", DATA, IDENTITY)
    damage(path)
    with pytest.raises(StateFileError, match=message) as error:
        read_state(path, IDENTITY)
    assert str(path) in str(error.value)


def test_a_state_without_a_sidecar_is_read_with_a_warning(tmp_path):
    path = write_state(tmp_path / "x.state", DATA, IDENTITY)
    sidecar_path(path).unlink()
    with pytest.warns(UserWarning, match="x.state has no sidecar x.state.json"):
        assert read_state(path, IDENTITY).data == DATA


def test_sources_of_start_states(tmp_path):
    b, a = (write_state(tmp_path / name, DATA, IDENTITY) for name in ("b.state", "a.state"))
    assert state_files.find_states(tmp_path) == [a, b]
    assert state_files.find_states(str(b)) == [b]
    assert state_files.find_states([b, str(a)]) == [b, a]
    (tmp_path / "empty").mkdir()
    for source, message in (
        (tmp_path / "empty", "no .state file in the folder .*empty"),
        (tmp_path / "nothing", "no state file .*nothing"),
        ([a, tmp_path / "nothing.state"], "no state file .*nothing.state"),
        ([], "list of start states is empty"),
    ):
        with pytest.raises(StateFileError, match=message):
            state_files.find_states(source)
        with pytest.raises(StateFileError, match=message):
            PokemonEnv(start_state=source)


def test_an_environment_saves_and_loads(env, bedroom_state, tmp_path):
    env.reset(seed=4, options={"load_state": bedroom_state})
    screen = env.step(7)[0]
    path = env.save_state(tmp_path / "saved.state", {"note": "after one step"})
    state = env.get_state()
    saved = read_state(path, env.identity)
    assert saved.milestones[:3] == ("GAME_RUNNING", "PLAYER_NAME_SET", "INTRO_CUTSCENE_COMPLETE")
    assert saved.details == {"note": "after one step"}
    env.reset(seed=4)
    observation, info = env.reset(seed=4, options={"load_state": path, "idle_frames": 1})
    assert np.array_equal(observation, screen)
    assert {key: info[key] for key in ("player", "map", "milestones")} == {
        key: state[key] for key in ("player", "map", "milestones")
    }


@pytest.mark.filterwarnings("ignore:.*no sidecar", "ignore:.*by its picture alone")
def test_an_environment_refuses_what_is_no_state_of_its_game(env, bedroom_state, rom_titled, tmp_path):
    with PokemonEnv(rom_titled("OTHERGAME")) as other:
        with pytest.raises(StateFileError, match="bedroom.state was saved with another ROM"):
            other.reset(options={"load_state": bedroom_state})
    (tmp_path / "cut.state").write_bytes(gzip.decompress(bedroom_state.read_bytes())[:-100])
    (tmp_path / "text.state").write_text("no state")
    for name in ("cut.state", "text.state"):
        with pytest.raises(StateFileError, match=f"{name} cannot be loaded: it has .* bytes, and a state of this ROM"):
            env.reset(options={"load_state": tmp_path / name})
        env.reset(seed=0)  # and it plays on
    (tmp_path / "plain.state").write_bytes(gzip.decompress(bedroom_state.read_bytes()))
    assert env.reset(options={"load_state": tmp_path / "plain.state"})[1]["milestones"]["PLAYER_NAME_SET"]["completed"]
