"""What a seventh round of users' situations and hostile files tried: what failed, and what held that no other test tries."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import play
import pokemon_env  # noqa: F401 - registers the environments
from benchmarks import check_results, expert_steps, reference, results_file, students
from benchmarks.audit import __main__ as audit_main
from benchmarks.audit.cells import Cell as AuditCell
from benchmarks.folders import check_kept, claim_folder
from common.demonstrations import (
    DemonstrationError,
    Episode,
    episode_files,
    holds_sets,
    load_episode,
    next_episode_number,
    save_episode,
)
from common.flag_groups import GameFlags
from common.runtime.checkpoints import CheckpointError
from common.runtime.flag_types import FlagError
from common.runtime.main import UserError, run_main
from pokemon_env import bounded_files, builds
from pokemon_env.games.tallgrass import GAME, benchmark_v1, frozen
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.known_infos import KnownInfos
from pokemon_env.rom import BUNDLED_ROM
from pokemon_env.splits import has_splits
from tasks.episode_starts import find_starts
from tasks.evaluation import evaluation_starts
from tools import compare_roms, film_to_gif

ROOT = Path(__file__).resolve().parents[2]
BUTTONS = list(benchmark_v1.BUTTONS)


# A ROM of the build before the freeze


def test_the_build_that_can_t_hide_the_compass_is_refused_without_one(monkeypatch):
    """It showed the compass on T4, while the state said that there is none."""
    sha256 = "d94e991694def581a668869fe6d9d95404db4e63d716d7c5486fde9c7d734ee3"
    assert not builds.can_hide_compass(sha256) and builds.can_hide_compass(benchmark_v1.ROM_SHA256)
    monkeypatch.setattr(builds, "_SHOWS_COMPASS", {benchmark_v1.ROM_SHA256})
    with pytest.raises(ValueError, match="tier T4 has no compass, and this build of Tallgrass can't hide it: take the bundled ROM"):
        PokemonEnv(tier="T4", start_milestone="ROUTE_1")
    PokemonEnv(tier="T2", start_milestone="ROUTE_1").close()


# Tallgrass-v1


class Reset(gymnasium.Env):
    """An episode whose expert may have failed."""

    observation_space = gymnasium.spaces.Box(0, 255, (1,), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, steps: int | None):
        self.steps = steps

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.uint8), {"expert_steps": self.steps, "step_limit": 8, "optimal_steps": None}


def test_a_vector_of_the_benchmarks_episodes_in_one_of_which_the_expert_fails():
    """Gymnasium's vector environments ended with "int() argument must be ..., not 'NoneType'"."""
    envs = gymnasium.vector.SyncVectorEnv([lambda steps=steps: KnownInfos(Reset(steps)) for steps in (4, None, 5)])
    _, infos = envs.reset()
    assert infos["expert_steps"].tolist() == [4, 0, 5] and infos["_expert_steps"].tolist() == [True, False, True]
    assert infos["step_limit"].tolist() == [8, 8, 8] and infos["optimal_steps"].tolist() == [None] * 3
    (failed,) = (place for place, steps in enumerate(frozen.expert_steps("TRAINER_BEATEN", "T2", "test")) if steps is None)
    with gymnasium.make("Tallgrass-v1", milestone="TRAINER_BEATEN") as env:
        _, info = env.reset(seed=frozen.seeds("test")[failed])
        assert info == {"step_limit": 120, "optimal_steps": None}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"milestone": None}, "milestone is None, but must be"),
        ({"milestone": "CLOCK_SET", "compass": "off"}, "compass is 'off', but must be True or False"),
        ({"milestone": ["CLOCK_SET"]}, "milestone is"),
        ({"milestone": "CLOCK_SET", "split": ["test"]}, "no split"),
    ],
)
def test_wrong_arguments_of_the_benchmark(arguments, told):
    with pytest.raises(ValueError, match=told):
        gymnasium.make("Tallgrass-v1", **arguments)


# Files of results


def entry(milestone: str, **other) -> dict:
    limits = list(frozen.limits(milestone, "T2", "test"))
    return {
        "milestone": milestone, "method": "mine", "labels": 250, "seed": 1, "successes": [False] * 100, "lengths": limits,
        "seeds": list(frozen.seeds("test")),
    } | other  # fmt: skip


def save(path: Path, **other) -> Path:
    results_file.save_results(path, [entry(name, **other) for name in benchmark_v1.SCORED], "T2", "test")
    return path


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"tier": "T1"}, "its tier is T1, wanted T2"),
        ({"split": "choose"}, "its split is choose, wanted test"),
        ({"limits": [1000] * 100}, r"its limits is \[1000, .*, wanted \["),
        ({"method": "  "}, "wanted a name"),
    ],
)
def test_a_result_that_says_itself_that_it_is_another_s(other, told, tmp_path):
    with pytest.raises(results_file.ResultsError, match=told):
        check_results.main(check_results.Args(save(tmp_path / "x.json", **other)))


def test_files_of_results_that_hold_none_or_are_none(tmp_path):
    content = json.loads(save(tmp_path / "x.json").read_text())
    (tmp_path / "none.json").write_text(json.dumps(content | {"results": []}))
    with pytest.raises(results_file.ResultsError, match=r"none.json: holds no results"):
        check_results.main(check_results.Args(tmp_path / "none.json"))
    for text, told in (("9" * 5000, "is no JSON"), ("\ufeff", "is no JSON"), ("\0", "is no JSON")):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(results_file.ResultsError, match=told):
            check_results.main(check_results.Args(tmp_path / "odd.json"))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(IsADirectoryError, match="folder.json"):  # it named the number of an open file
        check_results.main(check_results.Args(tmp_path / "folder.json"))
    with pytest.raises(OSError, match="/dev/zero"):
        bounded_files.read_file("/dev/zero", 10)


def test_results_are_not_judged_by_a_table_that_was_altered(tmp_path, monkeypatch):
    """The file that was submitted was blamed for it, or a traceback came."""
    path, altered = save(tmp_path / "x.json"), tmp_path / "frozen_steps.json"
    altered.write_text(frozen.PATH.read_text().replace("1", "2"))
    monkeypatch.setattr(frozen, "PATH", altered)
    with pytest.raises(results_file.ResultsError, match=r"frozen_steps.json: is not the benchmark's table of steps any more"):
        check_results.main(check_results.Args(path))


def test_markup_and_many_methods_can_be_shown(tmp_path, capsys):
    path = save(tmp_path / "x.json", method="[/red]x[bold")
    assert check_results.main(check_results.Args(path)) == 0 and "[/red]x[bold 250" in capsys.readouterr().out


# Results that a command has kept, and somebody has edited


EDITS = {
    "method": ({"method": ["bc"]}, r"bc250_seed1.json is no result \(method is"),
    "labels": ({"labels": "250"}, r"labels is '250', wanted int"),
    "seed": ({"seed": [1]}, r"seed is '\[1\]', wanted int"),
    "episodes": ({"successes": [True]}, "successes is not a list of 100 booleans"),
    "no episodes": ({"successes": None}, "successes is not a list of 100 booleans"),
    "machine": ({"machine": None}, "machine is 'None', wanted an object"),
    "minutes": ({"minutes": float("inf")}, "minutes is 'inf', wanted a finite number"),
    "another milestone": ({"milestone": "BADGE"}, "limits is|is no result of CLOCK_SET, but of BADGE|its limit is"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_result_of_the_reference_is_told(edit, tmp_path, monkeypatch):
    """It ended with a traceback, or stood in the table."""
    args = reference.Args(milestones=("CLOCK_SET",), labels=(250,), seeds=(1,), students=("bc",), output_dir=str(tmp_path))
    monkeypatch.setattr(benchmark_v1, "check", lambda: None)
    monkeypatch.setattr(reference, "run_in_parallel", lambda work, todo, parallel, on_result: None)
    folder, key = reference.folder_of(args, "CLOCK_SET"), reference.training_key(args, "CLOCK_SET")
    claim_folder(folder, reference.MARKER, key, False)
    row = entry("CLOCK_SET", method="bc", spl=None, minutes=1.0, machine={"cpu": "a CPU", "bf16": False})
    row["fingerprint"] = reference.result_key(args, key, reference.Cell("CLOCK_SET", "bc", 250, 1))
    (folder / "bc250_seed1.json").write_text(json.dumps(row))
    assert reference.main(args) == 0
    (folder / "bc250_seed1.json").write_text(json.dumps(row | edit[0]))
    with pytest.raises(ValueError, match=edit[1]):
        reference.main(args)


def test_an_edited_result_of_the_audit_is_told(tmp_path):
    cell, path = AuditCell("CLOCK_SET", "T2", "expert"), tmp_path / "expert.json"
    row = entry("CLOCK_SET", method="expert", labels=0, seconds=1.0, machine={"cpu": "a CPU"}, agrees=True, fingerprint="key")
    for change, told in (
        ({}, None), ({"successes": [True]}, "successes is not a list"), ({"seconds": "1"}, "seconds is '1'"),
        ({"machine": {}}, "cpu is 'None', wanted str"), ({"agrees": 1}, "agrees is '1', wanted bool"), ({"spl": "x"}, "spl is 'x'"),
    ):  # fmt: skip
        path.write_text(json.dumps(row | change))
        if told is None:
            assert audit_main.read_result(path, "key", cell, 100) == row
            assert audit_main.read_result(path, "another key", cell, 100) is None
        else:
            with pytest.raises(ValueError, match=rf"expert.json is no result.*{told}"):
                audit_main.read_result(path, "key", cell, 100)
    path.write_text(json.dumps({"fingerprint": "key", "share": "0", "seconds": 1, "machine": {"cpu": "a CPU"}}))
    with pytest.raises(ValueError, match="share is '0'"):
        audit_main.read_result(path, "key", replace(cell, audit="identical"), 100)


def test_types_of_a_kept_row(tmp_path):
    wanted = {"a": int, "b": (int, type(None)), "c": [bool], "d": {"e": str}}
    check_kept({"a": 1, "c": [True], "d": {"e": ""}, "more": 3}, wanted, tmp_path)
    for wrong in ({"a": True}, {"b": "x"}, {"c": [1]}, {"c": None}, {"d": []}, {"d": {"e": 1}}):
        with pytest.raises(ValueError, match="is no result .*; remove it, and it is made again"):
            check_kept({"a": 1, "c": [], "d": {"e": ""}} | wrong, wanted, tmp_path)


def test_a_marker_that_is_no_text_is_another_run_s(tmp_path):
    (tmp_path / ".marker").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="was made with other settings"):
        claim_folder(tmp_path, ".marker", "key", False)


# Flags of benchmarks and tools that were looked at too late, or not at all


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"study": True, "milestones": ("ROUTE_1",)}, "--study is of LEAVE_HOUSE, STARTER_CHOSEN, ROUTE_2 with 250, "),
        ({"study": True, "labels": (300,)}, "--study is of LEAVE_HOUSE"),
        ({"seeds": (-1,)}, "--seeds is -1, but must be at least 0"),
        ({"length": 0.0001, "purpose": "choose"}, "--length 0.0001 leaves no training step"),
    ],
)
def test_flags_of_the_reference_that_leave_nothing_to_do(flags, told, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark_v1, "check", lambda: None)
    with pytest.raises(ValueError, match=told):
        reference.main(reference.Args(output_dir=str(tmp_path / "out"), **flags))
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"check": True, "check_episodes": 0}, "--check-episodes is 0"),
        ({"check": True, "check_episodes": -1}, "--check-episodes is -1"),
        ({"parallel": 0}, "--parallel is 0"),
        ({"check": True, "milestones": ("NOWHERE",)}, "--milestones: Tallgrass has no NOWHERE; it has GAME_RUNNING"),
        ({"output": Path()}, "--output .: is a folder; name a file"),
    ],
)
def test_flags_of_the_experts_steps(flags, told, tmp_path, monkeypatch):
    """A table that can't be written was told after all episodes were played."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FlagError, match=told):
        expert_steps.main(expert_steps.Args(milestone_config=ROOT / "milestone_config.json", **flags))


def test_a_comparison_of_roms_that_compares_nothing():
    """It said that all screens are equal."""
    for flags, told in (
        ({"episodes": 0}, "--episodes is 0"),
        ({"milestones": ("NOWHERE",)}, "--milestones: Tallgrass has no NOWHERE"),
    ):
        with pytest.raises(FlagError, match=told):
            compare_roms.main(compare_roms.Args(BUNDLED_ROM, BUNDLED_ROM, **flags))


def test_films_that_are_none(tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("no film")
    output = str(tmp_path / "x.gif")
    for flags, told in (
        ({"films": ("nowhere.mp4",)}, "nowhere.mp4: is no film that can be read"),
        ({"films": (str(tmp_path / "text.mp4"),)}, "text.mp4: is no film that can be read"),
        ({"films": ()}, "--films: no film is named"),
        ({"films": ("x",), "width": 0}, "--width is 0"),
        ({"films": ("x",), "width": 10**8}, "--width is 100000000"),
    ):
        with pytest.raises(SystemExit, match=f"film_to_gif.py: .*{told}"):
            run_main("film_to_gif.py", lambda flags=flags: film_to_gif.main(film_to_gif.Args(output=output, **flags)))
    film_to_gif.main(film_to_gif.Args((str(next((ROOT / "docs").glob("*.gif"))),), output, width=16))
    assert "frames of 1 films" in capsys.readouterr().out and Path(output).is_file()


# Others


@pytest.mark.parametrize("tier", ["T9", "", "t2"])
def test_a_tier_that_there_is_not_in_a_checkpoint_is_one_line(tier):
    """Resumed runs of DAgger, those that begin with a clone, and --eval-only ended with a traceback."""
    assert not has_splits(tier) and not has_splits(None) and has_splits("T2") and has_splits("T4")
    with pytest.raises(UserError, match="there is no tier"):
        find_starts(GameFlags(), GAME, "ROUTE_1", tier, None, "train")
    with pytest.raises(UserError, match="there is no tier"):
        evaluation_starts(GameFlags(), GAME, "ROUTE_1", tier, None, "test")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"buttons": list(reversed(BUTTONS))}, "CLOCK_SET.pth: its buttons is .*, wanted "),
        ({"rom_sha256": "0" * 64}, "CLOCK_SET.pth: its rom_sha256 is 0000"),
        ({"frame_stack": 7}, "CLOCK_SET.pth: its network cannot see this game's screen"),
    ],
)
def test_students_of_another_game_or_other_buttons_are_not_counted(change, told, tmp_path):
    """`play.py` refuses them; the table of students counted what they pressed."""
    content = torch.load(ROOT / "tallgrass" / "students" / "CLOCK_SET.pth") | change
    torch.save(content, tmp_path / "CLOCK_SET.pth")
    with pytest.raises(CheckpointError, match=told):
        students.play(students.Args(test_episodes=1), "CLOCK_SET", [tmp_path / "CLOCK_SET.pth"], lambda: False)


def test_playing_into_a_folder_where_a_run_trains_leaves_its_half_written_checkpoint(tmp_path, monkeypatch):
    (tmp_path / f".bc_last.{os.getpid()}.tmp.pth").write_text("being written")
    for name in (".play.1.tmp.json", ".play_routed_ep1.1.2.tmp.mp4"):
        (tmp_path / name).write_text("left behind")
    monkeypatch.setattr(play, "play_and_report", lambda args: 0)
    assert play.main(play.Args(output_dir=str(tmp_path))) == 0
    assert [path.name for path in tmp_path.iterdir()] == [f".bc_last.{os.getpid()}.tmp.pth"]


@pytest.fixture
def episode(tmp_path) -> Path:
    labels = np.array([4, 0, 4])
    pictures = np.zeros((4, 144, 160, 3), np.uint8)
    metadata = {"milestone": "CLOCK_SET", "buttons": BUTTONS}
    sets = np.array([0b10000, 0b11, 0])
    return save_episode(tmp_path, Episode(pictures, labels, np.zeros(3), np.zeros(3, bool), metadata=metadata, optimal=sets))


SETS = {
    "numbers that are none": (lambda sets: np.full(sets.shape, np.nan), "optimal are float64"),
    "yes and no": (lambda sets: sets.astype(bool), "optimal are bool"),
    "high bits": (lambda sets: sets.astype(np.uint64) + np.uint64(1 << 63), "bits beyond those of 8 buttons"),
    "below zero": (lambda sets: -sets.astype(np.int64), "wanted whole numbers from 0"),
    "two columns": (lambda sets: sets[:, None], r"shape \(3, 1\), wanted \(3,\)"),
    "one more": (lambda sets: np.append(sets, sets[:1]), r"shape \(4,\), wanted \(3,\)"),
    "one number": (lambda sets: np.uint16(16), r"shape \(\), wanted"),
    "texts": (lambda sets: sets.astype("U4"), "of text"),
    "dates": (lambda sets: sets.astype("M8[s]"), "datetime64"),
    "without the label": (lambda sets: np.full(sets.shape, 2, np.uint16), "the label 4 is not in its own set"),
}


@pytest.mark.parametrize("change", SETS.values(), ids=SETS)
def test_label_sets_that_can_t_be(change, episode):
    with np.load(episode) as file:
        arrays = dict(file)
    np.savez(episode.with_suffix(""), **(arrays | {"optimal": change[0](arrays["optimal"])}))
    with pytest.raises(DemonstrationError, match=f"episode_0001.npz: .*{change[1]}"):
        load_episode(episode)


def test_label_sets_that_are_all_empty_are_none(episode):
    """--label-set changed nothing, and did not say so."""
    assert holds_sets(episode)
    with np.load(episode) as file:
        arrays = dict(file)
    for sets in (arrays["optimal"] * 0, arrays["optimal"].astype("U4")):
        np.savez(episode.with_suffix(""), **(arrays | {"optimal": sets}))
        assert not holds_sets(episode)
    np.savez(episode.with_suffix(""), **(arrays | {"optimal": arrays["optimal"].astype(">u2")}))
    assert holds_sets(episode) and load_episode(episode).optimal.tolist() == [16, 3, 0]


def test_names_that_synchronising_programs_leave_are_no_episodes(episode):
    """A folder that is half copied: rsync's and macOS' names, and a copy by a file manager, which is one more episode."""
    for name in (".episode_0002.npz.Xk3fQa", "._episode_0001.npz", ".DS_Store", "episode_0003.npz~", "Thumbs.db"):
        (episode.parent / name).write_bytes(b"half")
    assert episode_files(episode.parent) == [episode] and next_episode_number(episode.parent) == 2
    copy = Path(shutil.copy(episode, episode.with_name("episode_0001 (copy).npz")))
    assert episode_files(episode.parent) == [copy, episode] and next_episode_number(episode.parent) == 2
