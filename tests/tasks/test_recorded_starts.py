"""Start states: made by playing, kept if they fit, made again if they don't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.runtime.files import exclusive_lock
from common.runtime.main import Stopped
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.state_files import sidecar_path
from tasks import recorded_starts as start_states
from tasks.recorded_starts import SEEDS, StartStateError, ensure_start_states

ROOT = Path(__file__).resolve().parents[2]
IDS = [milestone.id for milestone in GAME.milestones]
TARGET = "LEAVE_HOUSE"
PREVIOUS = IDS[IDS.index(TARGET) - 1]


def settings(folder: Path, **more) -> dict:
    return (
        {"n_train": 3, "n_heldout": 2, "show_progress": False}
        | more
        | {
            "state_dir": folder / "states",
            "start_states_dir": folder / "start_states",
        }
    )


@pytest.fixture(scope="module")
def made(rom_path, tmp_path_factory):
    """A folder with all states up to TARGET."""
    folder = tmp_path_factory.mktemp("cache")
    ensure_start_states(TARGET, rom_path, **settings(folder))
    return folder


def details(path: Path) -> dict:
    return json.loads(sidecar_path(path).read_text())["details"]


def test_all_milestones_up_to_the_wanted_one_have_their_states(made, rom_path):
    for place, name in enumerate(IDS[: IDS.index(TARGET) + 1]):
        states = ensure_start_states(name, rom_path, **settings(made))
        if place == 0:
            assert states.files("train") == states.files("heldout") == states.files("first") == (None,)
            assert states.train is states.heldout is states.first is None
            continue
        previous = IDS[place - 1]
        assert states.first == made / "states" / f"{previous}_completed.state" and states.first.is_file()
        folder = made / "start_states" / "tallgrass" / f"{previous}_completed"
        assert states.files("train") == tuple(folder / "train" / f"{i:03d}.state" for i in range(3))
        assert states.files("heldout") == tuple(folder / "heldout" / f"{i:03d}.state" for i in range(2))


def test_every_state_is_an_end_of_its_milestone_and_not_of_the_next(made, rom_path):
    for place, name in enumerate(IDS[1 : IDS.index(TARGET) + 1], start=1):
        states = ensure_start_states(name, rom_path, **settings(made))
        with PokemonEnv(rom_path, target_milestone=name) as env:  # which would refuse a state that has it
            for split in ("first", "train", "heldout"):
                for path in states.files(split):
                    _, info = env.reset(seed=0, options={"load_state": path})
                    done = [milestone for milestone, entry in info["milestones"].items() if entry["completed"]]
                    assert done == IDS[:place], path


def test_no_seed_serves_both_sets(made):
    sets = made / "start_states" / "tallgrass"
    seeds = {split: {details(path)["seed"] for path in sets.glob(f"*/{split}/*.state")} for split in ("train", "heldout")}
    assert len(seeds["train"]) == 3 and len(seeds["heldout"]) == 2 and not seeds["train"] & seeds["heldout"]
    spacing = abs(SEEDS["train"] - SEEDS["heldout"])
    assert spacing > 10_000 * start_states.ATTEMPTS


def test_the_states_of_a_set_differ(made, rom_path):
    states = ensure_start_states("INTRO_CUTSCENE_COMPLETE", rom_path, **settings(made))
    with PokemonEnv(rom_path) as env:
        names = {env.reset(seed=0, options={"load_state": p})[1]["player"]["name"] for p in states.files("train")}
        assert len(names) > 1
    assert all(details(path)["noise"] > 0 for path in states.files("train"))
    assert details(states.first)["noise"] == 0


def test_a_second_call_makes_nothing(made, rom_path, monkeypatch):
    monkeypatch.setattr(start_states._Maker, "make", lambda *_: pytest.fail("made states that were there"))
    began = time.perf_counter()
    ensure_start_states(TARGET, rom_path, **settings(made))
    assert time.perf_counter() - began < 2


def test_what_is_missing_or_damaged_is_made_again_as_it_was(made, rom_path):
    files = ensure_start_states(TARGET, rom_path, **settings(made)).files("train")
    before = [path.read_bytes() for path in files]
    files[0].unlink()
    files[1].write_bytes(before[1][:1000])
    sidecar_path(files[2]).write_text(sidecar_path(files[2]).read_text().replace('"rom_sha256": "', '"rom_sha256": "0'))
    ensure_start_states(TARGET, rom_path, **settings(made))
    assert [path.read_bytes() for path in files] == before


def test_more_states_are_added_to_those_that_are_there(made, rom_path):
    before = (made / "start_states" / "tallgrass" / f"{PREVIOUS}_completed" / "train" / "000.state").stat().st_mtime_ns
    states = ensure_start_states(TARGET, rom_path, **settings(made, n_heldout=3))
    assert len(states.files("heldout")) == 3
    assert states.files("train")[0].stat().st_mtime_ns == before


def test_a_set_never_holds_states_of_another_rom(made, rom_path):
    states = ensure_start_states(TARGET, rom_path, **settings(made))
    stale = states.train / "099.state"
    stale.write_bytes(states.files("train")[0].read_bytes())
    sidecar_path(stale).write_text(
        sidecar_path(states.files("train")[0]).read_text().replace('"rom_sha256": "', '"rom_sha256": "0')
    )
    states.files("train")[0].unlink()
    assert stale not in ensure_start_states(TARGET, rom_path, **settings(made)).files("train")


def test_states_that_somebody_else_put_there_are_kept(rom_path, tmp_path):
    first = tmp_path / "states" / "GAME_RUNNING_completed.state"
    ensure_start_states("PLAYER_NAME_SET", rom_path, **settings(tmp_path, n_train=0, n_heldout=0))
    sidecar = sidecar_path(first)
    text = sidecar.read_text()
    sidecar.unlink()
    first.write_bytes(b"mine")
    ensure_start_states("PLAYER_NAME_SET", rom_path, **settings(tmp_path, n_train=0, n_heldout=0))
    assert first.read_bytes() == b"mine"
    sidecar.write_text(text.replace('"game": "tallgrass"', '"game": "another"'))
    with pytest.raises(StartStateError, match="of another game.*another.*move its folder away, or"):
        ensure_start_states("PLAYER_NAME_SET", rom_path, **settings(tmp_path, n_train=0, n_heldout=0))
    assert first.read_bytes() == b"mine"


def test_an_unknown_milestone(rom_path, tmp_path):
    with pytest.raises(ValueError, match="no milestone 'NO_SUCH'; it has GAME_RUNNING"):
        ensure_start_states("NO_SUCH", rom_path, **settings(tmp_path))


def test_a_users_half_finished_policy_does_not_spoil_them(rom_path, tmp_path):
    (tmp_path / "GAME_RUNNING.py").write_text("def run(state):\n    return 'b'\n")
    states = ensure_start_states("PLAYER_NAME_SET", rom_path, **settings(tmp_path, n_train=1, n_heldout=1, policy_dir=tmp_path))
    assert states.files("train")[0].is_file()


def test_an_expert_that_does_not_get_there(rom_path, tmp_path, monkeypatch):
    for name in IDS[:2]:
        (tmp_path / f"{name}.py").write_text("def run(state):\n    return 'b'\n")
    monkeypatch.setattr(type(GAME), "policy_dir", tmp_path)
    monkeypatch.setattr(start_states, "MAX_STEPS_PER_MILESTONE", 20)
    with pytest.raises(StartStateError, match=r"GAME_RUNNING\.py did not reach GAME_RUNNING within 20 steps .*correct the policy"):
        ensure_start_states("PLAYER_NAME_SET", rom_path, **settings(tmp_path, n_train=0, n_heldout=0))
    assert not list(tmp_path.rglob("*.state")) and not list(tmp_path.rglob(".making-*"))


def test_a_missing_expert(rom_path, tmp_path, monkeypatch):
    monkeypatch.setattr(type(GAME), "policy_dir", tmp_path)
    with pytest.raises(StartStateError, match=r"GAME_RUNNING\.py"):
        ensure_start_states("PLAYER_NAME_SET", rom_path, **settings(tmp_path))


SCRIPT = """
import sys
from pathlib import Path
from tasks.recorded_starts import ensure_start_states
folder = Path(sys.argv[1])
ensure_start_states({target!r}, n_train=4, n_heldout=2, state_dir=folder / "states", start_states_dir=folder /
"start_states")
"""


def start_process(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT.format(target=TARGET), str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_and_called_again(rom_path, tmp_path):
    process = start_process(tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("start_states/tallgrass/*/train/*.state")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    (tmp_path / "start_states" / "tallgrass" / ".making-left").mkdir()
    states = ensure_start_states(TARGET, rom_path, **settings(tmp_path, n_train=4))
    assert len(states.files("train")) == 4 and len(states.files("heldout")) == 2
    assert not list(tmp_path.rglob(".making-*"))


@pytest.mark.slow
def test_two_processes_at_once(rom_path, tmp_path):
    processes = [start_process(tmp_path) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    states = ensure_start_states(TARGET, rom_path, **settings(tmp_path, n_train=4))
    assert len(states.files("train")) == 4
    assert not list(tmp_path.rglob(".making-*"))


@pytest.mark.slow
def test_who_waits_for_another_process_can_be_stopped(rom_path, tmp_path, monkeypatch):
    folder = settings(tmp_path)
    monkeypatch.setattr(start_states._Maker, "make", lambda *_: pytest.fail("did not wait"))
    with exclusive_lock(folder["start_states_dir"] / "tallgrass" / ".lock"), pytest.raises(Stopped):
        ensure_start_states(TARGET, rom_path, should_stop=lambda: True, **folder)


def test_the_command_makes_all(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "tasks.recorded_starts", "--n-train", "1", "--n-heldout", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert "states for 23 milestones, each 1 to learn from and 1 held out" in run.stdout
    for previous in IDS[:-1]:
        assert (tmp_path / f".milestone_trainer_cache/milestone_states/{previous}_completed.state").is_file()
        for split in ("train", "heldout"):
            assert (tmp_path / f".milestone_trainer_cache/start_states/tallgrass/{previous}_completed/{split}/000.state").is_file()
