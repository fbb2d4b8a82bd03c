"""play.py, its routers and the tools that make students small: chained networks on the bundled game."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import play
from agent.chain import ChainedStudents, MemoryRouter, PixelRouter
from agent.students import find_students, load_student
from benchmarks import students as students_table
from common.learner import DivergedError
from common.networks import TileCNN, make_network, network_arguments
from common.runtime.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from common.runtime.files import exclusive_lock
from common.video import VideoWriter
from dagger.data import DaggerData, Row
from pokemon_env.games.tallgrass import GAME
from pokemon_env.rom import Rom
from tools import ship_students, train_router

ROOT = Path(__file__).resolve().parents[2]
ROM = str(ROOT / "tallgrass" / "tallgrass.gb")
SHA = Rom.read(ROM).header.sha256
MILESTONES = [milestone.id for milestone in GAME.milestones]
SHIPPED = ROOT / "tallgrass" / "students"
START = GAME.buttons.index("START")


def student(button: int | None = None) -> TileCNN:
    """An untrained network; with a button one that always presses it."""
    network = make_network("tiles-small", len(GAME.buttons), 4, (144, 160, 3)).eval()
    if button is not None:
        with torch.no_grad():
            network.head[-1].bias[button] = 100.0
    return network


def save_student(path: Path, milestone: str, network: TileCNN, **more) -> None:
    content = {
        "algorithm": "dagger", "model_state_dict": network.state_dict(), "network": network_arguments(network),
        "frame_stack": 1, "deterministic": True, "buttons": list(GAME.buttons), "game": GAME.id, "rom_sha256": SHA,
        "milestone": milestone, "optimizer_state_dict": {"large": torch.zeros(1000)},
    }  # fmt: skip
    save_checkpoint(path, content | more)


@pytest.fixture
def students(tmp_path, monkeypatch) -> Path:
    """A pipeline's folder. The first student presses START, which is all that its milestone wants."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "dagger_pipeline_results"
    for name in MILESTONES:
        network = student(START if name == "GAME_RUNNING" else None)
        for which in ("best", "final"):
            save_student(folder / "models" / name / f"dagger_{name}_{which}.pth", name, network)
    return folder


def infos(*completed: int) -> list[dict]:
    """One info for each number: so many milestones are completed."""
    return [{"milestones": {name: {"completed": i < count} for i, name in enumerate(MILESTONES)}} for count in completed]


SCREEN = np.zeros((144, 160, 3), np.uint8)


def test_memory_routes_to_the_first_open_milestone():
    assert MemoryRouter(MILESTONES).route([0, 1, 2], [SCREEN] * 3, infos(0, 7, len(MILESTONES))) == [0, 7, len(MILESTONES) - 1]


class Says(torch.nn.Module):
    """A network for four milestones that is sure of what the screen's brightness says."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def preprocess(self, screen):
        return screen[:1, :1, 0]

    def forward(self, x):
        return 8.0 * torch.nn.functional.one_hot(x[:, 0, 0].long(), 4)


def screen(milestone: int, other: int = 0) -> np.ndarray:
    """A screen of the milestone; with another number another one."""
    picture = np.full((144, 160, 3), milestone, np.uint8)
    picture[1:] = other
    return picture


def test_the_filter_follows_the_story_and_only_on():
    router = PixelRouter(Says())
    router.start_episode(0)
    story = [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    places = [router.route([0], [screen(one, i)], [{}])[0] for i, one in enumerate(story)]
    assert places == sorted(places) and set(places) == {0, 1, 2, 3}
    assert sum(a != b for a, b in zip(places, story, strict=True)) <= 6  # it takes a moment to be sure
    assert [router.route([0], [screen(0, i)], [{}])[0] for i in range(5)] == [3] * 5  # there is no way back


def test_one_misleading_screen_moves_nothing():
    router = PixelRouter(Says())
    router.start_episode(0)
    assert [router.route([0], [screen(one)], [{}])[0] for one in (0, 0, 3, 0, 1, 0, 0)] == [0] * 7


def test_a_screen_that_stays_says_nothing_and_takes_no_time():
    router = PixelRouter(Says(), trust=0.01)  # without evidence, time alone would move it on
    router.start_episode(0)
    assert [router.route([0], [screen(0)], [{}])[0] for _ in range(100)] == [0] * 100
    router.start_episode(0)
    assert [router.route([0], [screen(one)], [{}])[0] for one in (0, 1) * 100][-1] > 0


def test_episodes_side_by_side_do_not_mix():
    router = PixelRouter(Says())
    for slot in (0, 1):
        router.start_episode(slot)
    for shade in range(6):
        places = router.route([0, 1], [screen(0, shade), screen(1, shade)], [{}, {}])
    assert places == [0, 1]
    router.start_episode(1)
    assert router.route([1], [screen(0)], [{}]) == [0]


def test_each_screen_goes_to_its_own_student():
    policy = ChainedStudents([(student(i % 8), True) for i in range(len(MILESTONES))], MemoryRouter(MILESTONES))
    for slot in range(3):
        policy.start_episode(slot, seed=slot)
    assert policy.act([0, 1, 2], [SCREEN] * 3, infos(3, 0, 3)) == [3, 0, 3]
    assert policy.last == {0: (3, 1.0), 1: (0, 1.0), 2: (3, 1.0)} and policy.slots == {0: 0, 1: 1, 2: 2}
    policy.act([0], [SCREEN], infos(4))
    assert policy.splits[0] == {name: (int(i == 3), 0) for i, name in enumerate(MILESTONES[:4])} and policy.splits[1] == {}


def test_drawn_buttons_depend_on_the_seed_alone():
    network = student()
    with torch.no_grad():
        network.head[-1].weight.zero_()

    def drawn(slot, seed):
        policy = ChainedStudents([(network, False)] * len(MILESTONES), MemoryRouter(MILESTONES))
        policy.start_episode(slot, seed)
        return [policy.act([slot], [SCREEN], infos(0))[0] for _ in range(30)]

    assert drawn(0, 5) == drawn(3, 5) != drawn(0, 6) and len(set(drawn(0, 5))) > 4


def test_students_are_found_in_both_kinds_of_folders(students, tmp_path):
    assert list(find_students(students, MILESTONES)) == MILESTONES
    unfinished = students / "models" / "BADGE" / "dagger_BADGE_final.pth"
    unfinished.rename(unfinished.with_suffix(".away"))
    with pytest.raises(CheckpointError, match="has no student for BADGE:"):
        find_students(students, MILESTONES)
    flat = tmp_path / "flat"
    save_student(flat / "GAME_RUNNING.pth", "GAME_RUNNING", student())
    assert find_students(flat, ["GAME_RUNNING"]) == {"GAME_RUNNING": flat / "GAME_RUNNING.pth"}
    with pytest.raises(CheckpointError, match="flat has no student for PLAYER_NAME_SET, INTRO"):
        find_students(flat, MILESTONES[:3])
    for more, told in (({"rom_sha256": "other"}, "its rom_sha256 is other"), ({"milestone": "BADGE"}, "its milestone is BADGE")):
        save_student(flat / "wrong.pth", **({"milestone": "GAME_RUNNING", "network": student()} | more))
        with pytest.raises(CheckpointError, match=told):
            load_student(flat / "wrong.pth", "GAME_RUNNING", SHA, GAME.buttons)
    save_student(flat / "wrong.pth", "GAME_RUNNING", student(), frame_stack=4)
    with pytest.raises(CheckpointError, match="looks at 4 screens"):
        load_student(flat / "wrong.pth", "GAME_RUNNING", SHA, GAME.buttons)


def test_runs_from_power_on(students, capsys):
    assert play.main(play.Args(rom_path=ROM, n_runs=2, max_steps=12, tier="T0", num_envs=2)) == 0
    said = capsys.readouterr().out
    assert "routed: 0/2" in said and "runs from power-on reached BADGE; the others came as far as GAME_RUNNING (2)" in said
    assert "experts: 2/2 = 100 %" in said
    content = json.loads(Path("play_results/play.json").read_text())
    assert content["track"] == "routed" and content["limits"] == [12, 12]
    run, expert = content["students"][0], content["experts"][0]
    assert run["splits"]["GAME_RUNNING"][0] == 1 and (run["steps"], run["came_to"], run["seed"]) == (12, "GAME_RUNNING", 70000)
    assert list(expert["splits"]) == MILESTONES and expert["success"]
    steps = [step for step, _ in expert["splits"].values()]
    frames = [frame for _, frame in expert["splits"].values()]
    assert steps == sorted(steps) and steps[-1] == expert["steps"] and frames == sorted(frames)
    assert 24 * steps[-1] <= frames[-1] <= 32 * steps[-1]
    (film,) = Path("play_results").glob("play_routed_ep1_failure_steps12.mp4")
    with av.open(str(film)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 13


def test_the_film_that_is_named_is_of_this_run(students, monkeypatch, capsys):
    """An earlier run's was named where the clock had been set back, and where this run's could not be written."""
    flags = dict(rom_path=ROM, n_runs=1, max_steps=2, tier="T0", num_envs=1)
    (earlier := Path("play_results/play_routed_ep1_success_steps9.mp4")).parent.mkdir()
    earlier.write_bytes(b"another run's")
    os.utime(earlier, (4e9, 4e9))
    play.main(play.Args(**flags))
    assert capsys.readouterr().out.endswith("play.json, play_results/play_routed_ep1_failure_steps2.mp4\n")
    monkeypatch.setattr(VideoWriter, "_open", no_room)
    play.main(play.Args(**flags))
    assert capsys.readouterr().out.endswith("play.json\n")


def no_room(*given):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_run_ends_after_so_many_times_its_experts_steps(students, monkeypatch):
    args = play.Args(rom_path=ROM, n_runs=2, tier="T1", record_video=False, step_factor=1.25)
    assert play.main(args) == 0
    content = json.loads(Path("play_results/play.json").read_text())
    limits = [round(1.25 * run["steps"]) for run in content["experts"]]
    assert content["limits"] == [run["steps"] for run in content["students"]] == limits and limits[0] != limits[1]
    assert content["starts"] == {"tier": "T1", "worlds": "0"} and not list(Path("play_results").glob("*.mp4"))
    assert content["router_agreement"] == 1.0
    monkeypatch.setattr(play, "LONGEST", 3)
    with pytest.raises(play.FlagError, match=r"the experts themselves do not reach BADGE with seed\(s\) 70000, 70001"):
        play.main(args)


def test_students_play_what_they_learned(students):
    paths = find_students(students, MILESTONES)
    assert play.tier_of(paths) is None
    for name in MILESTONES:
        save_student(paths[name], name, student(), tier="T2")
    assert play.tier_of(paths) == "T2"
    save_student(paths["BADGE"], "BADGE", student(), tier="T1")
    with pytest.raises(play.FlagError, match="different tiers .*BADGE T1.*--tier"):
        play.main(play.Args(rom_path=ROM))


def test_the_shipped_students_play_on_a_fresh_clone(tmp_path, monkeypatch):
    """They belong to the bundled ROM, are small, and get far with nothing but the screen; on other machines rounding may change
    a drawn button, so that the badge itself is not asked for here."""
    monkeypatch.chdir(tmp_path)
    for name, path in find_students(SHIPPED, MILESTONES).items():
        load_student(path, name, SHA, GAME.buttons)
        assert path.stat().st_size < 500 * 1024
    flags = {"rom_path": ROM, "router": "pixels", "n_runs": 2, "seed": 80000, "num_envs": 2, "record_video": False}
    assert play.main(play.Args(**flags)) == 0
    content = json.loads(Path("play_results/play.json").read_text())
    assert content["policies"]["BADGE"] == str(SHIPPED / "BADGE.pth")
    assert all("LAB_ENTERED" in run["splits"] for run in content["students"])
    assert content["router_agreement"] > 0.9


def test_mean_splits():
    assert play.mean_split([(10, 3584), (20, 3584)]) == ("15", "1:00") and play.mean_split([]) == ("-", "-")


def test_wrong_folders_and_flags_are_one_line(students, tmp_path):
    with pytest.raises(play.FlagError, match="--n-runs is 0"):
        play.main(play.Args(rom_path=ROM, n_runs=0))
    with pytest.raises(play.FlagError, match="--step-factor is inf, but must be a finite number"):
        play.main(play.Args(rom_path=ROM, step_factor=float("inf")))
    with pytest.raises(CheckpointError, match="elsewhere has no student for GAME_RUNNING"):
        play.main(play.Args(rom_path=ROM, students="elsewhere"))
    with pytest.raises(CheckpointError, match=r"router.pth: no such checkpoint"):
        play.main(play.Args(rom_path=ROM, router="pixels"))
    save_student(students / "router.pth", "GAME_RUNNING", student())
    with pytest.raises(CheckpointError, match="its algorithm is dagger, wanted router"):
        play.main(play.Args(rom_path=ROM, router="pixels"))


def test_two_that_play_into_one_folder_are_refused(tmp_path):
    """The second would replace the first one's play.json."""
    calls = {"out/.lock": [str(ROOT / "play.py"), "--output-dir", "out"]}
    calls["out/.router.pth.lock"] = ["-m", "tools.train_router", "--pipeline-dir", "out"]
    some = dict(cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    for lock, words in calls.items():
        with exclusive_lock(tmp_path / lock):
            done = subprocess.run([sys.executable, *words], **some)
        assert done.returncode == 1 and f"{lock}: held by process {os.getpid()}, " in done.stderr and done.stderr.count("\n") == 1


def test_a_router_is_trained_and_shipped_with_the_students(students, capsys):
    rng = np.random.default_rng(0)
    for place, name in enumerate(MILESTONES):
        base = rng.integers(0, 256, (18, 20), dtype=np.uint8).repeat(8, 0).repeat(8, 1)  # what this milestone looks like
        with DaggerData(
            students / "models" / name / f"dagger_{name}_data.sqlite", "create", milestone=name, buttons=GAME.buttons,
            facts={"rom_sha256": SHA},
        ) as data:  # fmt: skip
            for number in range(24):
                picture = base.copy()
                picture[:16, :16] = 10 * number
                row = Row(np.repeat(picture[:, :, None], 3, 2), 0, 0, number // 2, number % 2, 0.0, seed=number, world=0)
                data.append([row])
                if number % 2:
                    data.end_episode(number // 2, np.full((144, 160, 3), place, np.uint8), True)
            data.commit(0)
    args = train_router.Args(rom_path=ROM, hidden_dim=32, total_steps=60, learning_rate=3e-3, num_threads=1, cuda=False)
    assert train_router.main(args) == 0
    assert load_checkpoint(students / "router.pth")["metrics"]["val_accuracy"] > 0.9, capsys.readouterr().out
    assert play.main(play.Args(rom_path=ROM, router="pixels", max_steps=5, tier="T0", record_video=False)) == 0
    assert "pixels-only: 0/1" in capsys.readouterr().out

    assert ship_students.main(ship_students.Args(output_dir="shipped", rom_path=ROM)) == 0
    small = load_checkpoint("shipped/GAME_RUNNING.pth")
    assert "optimizer_state_dict" not in small and small["model_state_dict"]["head.2.weight"].dtype == torch.float16
    assert len(list(Path("shipped").iterdir())) == len(MILESTONES) + 1
    network, deterministic = load_student(Path("shipped/GAME_RUNNING.pth"), "GAME_RUNNING", SHA, GAME.buttons)
    assert (
        deterministic
        and network(torch.zeros(1, 1, 144, 160)).argmax() == START
        and next(network.parameters()).dtype == torch.float32
    )
    assert play.main(play.Args(rom_path=ROM, students="shipped", max_steps=5, tier="T0", record_video=False)) == 0

    before = (students / "router.pth").read_bytes()
    with pytest.raises(DivergedError, match=r"^step 60: training has diverged .*; begin again with a lower learning rate than"):
        train_router.main(replace(args, learning_rate=1e12))
    for name, value in (("learning_rate", float("nan")), ("total_steps", 0)):
        with pytest.raises(ValueError, match=f"^--{name.replace('_', '-')} is {value}, but must be"):
            train_router.main(replace(args, **{name: value}))
    assert (students / "router.pth").read_bytes() == before


def test_students_without_data_sets_have_no_router(students):
    with pytest.raises(CheckpointError, match="has no data set of GAME_RUNNING"):
        train_router.main(train_router.Args(rom_path=ROM))


def test_students_are_counted_at_their_own_milestones(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder, button in (("good", START), ("bad", GAME.buttons.index("UP"))):
        save_student(Path(folder) / "GAME_RUNNING.pth", "GAME_RUNNING", student(button), max_steps=4, tier="T1", worlds=None)
    settings = {"milestones": ("GAME_RUNNING",), "test_episodes": 4, "parallel": 1}
    assert students_table.main(students_table.Args(students=("good", "bad"), **settings)) == 0
    said = capsys.readouterr().out
    assert "| GAME_RUNNING | 4 | 4 | 4 | 0 |" in said
    assert "`good`: 1 of 1 students" in said and "`bad`: 0 of 1 students" in said and "not GAME_RUNNING (0 against 4)" in said
    row = json.loads(Path("results/students/students.json").read_text())["milestones"]["GAME_RUNNING"]
    assert row["students"][0]["kib"] > 1 and row["students"][1]["failed_seeds"] == [50_000, 50_001, 50_002, 50_003]

    worlds = []
    with monkeypatch.context() as patch:  # where T2's students are tested nobody has learned
        choose = students_table.choose_starts
        patch.setattr(students_table, "choose_starts", lambda *args, **more: worlds.append(choose(*args, **more)) or worlds[0])
        save_student(Path("new/GAME_RUNNING.pth"), "GAME_RUNNING", student(START), max_steps=4, tier="T2", worlds="train")
        assert students_table.main(students_table.Args(students=("new",), **settings)) == 0
    assert worlds[0].settings["worlds"] == "test"
    with pytest.raises(CheckpointError, match="bad/GAME_RUNNING.pth: its tier is T1, wanted T2"):
        students_table.main(students_table.Args(students=("new", "bad"), **settings))
    save_student(Path("new/GAME_RUNNING.pth"), "GAME_RUNNING", student(START))
    with pytest.raises(CheckpointError, match="does not say how many steps"):
        students_table.main(students_table.Args(students=("new",), **settings))
    save_student(tmp_path / "bad" / "GAME_RUNNING.pth", "BADGE", student(START), max_steps=4)
    with pytest.raises(CheckpointError, match="its milestone is BADGE, wanted GAME_RUNNING"):
        students_table.main(students_table.Args(students=("bad",), **settings))
    with pytest.raises(CheckpointError, match="no student for PLAYER_NAME_SET"):
        students_table.main(students_table.Args(students=("good",), milestones=("PLAYER_NAME_SET",)))
