"""The audit: its players do what they say, its gates can be missed, and a run goes on where it was stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.audit import __main__ as audit
from benchmarks.audit import cells as audit_cells
from benchmarks.audit.__main__ import GATES, NOT_AUDITED, Args, interval_over, judge, markdown, mean_over
from benchmarks.audit.cells import (
    AUDITS,
    COMPASS,
    EXPERT,
    IDENTICAL,
    PLANNER,
    Cell,
    Settings,
    cell_key,
    play_cell,
    success_record,
)
from benchmarks.audit.policies import NearestNeighbour, OneButton, OptimalPictures, Replay
from common.demonstrations import Episode
from common.episodes import EpisodeResult, Evaluation
from common.runtime.scripts import never
from common.statistics import bootstrap_mean
from pokemon_env.games.tallgrass import GAME

pytestmark = pytest.mark.usefixtures("forked_scripts")
ROOT = Path(__file__).resolve().parents[2]
STATES: list[dict] = [{}]


def screen(value: int) -> np.ndarray:
    return np.full((144, 160, 3), value, np.uint8)


def episode(values: list[int], labels: list[int], pressed: list[int] | None = None) -> Episode:
    """Steps on screens of these brightnesses; the last screen, after them, is white."""
    return Episode(
        observations=np.stack([screen(value) for value in [*values, 255]]),
        actions=np.array(labels),
        executed_actions=None if pressed is None else np.array(pressed),
        rewards=np.zeros(len(labels), np.float32),
        dones=np.zeros(len(labels), bool),
    )


def test_one_button():
    assert OneButton(3).act([0, 5], [screen(0), screen(9)], [{}, {}]) == [3, 3]


def test_replay_presses_what_was_pressed_round_and_round():
    policy = Replay([episode([0, 1, 2], [7, 7, 7], pressed=[4, 5, 6])])
    policy.start_episode(0, seed=1)
    policy.start_episode(2, seed=2)
    assert [policy.act([0, 2], [screen(0)] * 2, [{}, {}]) for _ in range(4)] == [[4, 4], [5, 5], [6, 6], [4, 4]]
    policy.start_episode(0, seed=3)
    assert policy.act([0, 2], [screen(0)] * 2, [{}, {}]) == [4, 5]  # the other episode goes on


def test_replay_draws_a_demonstration_from_the_seed():
    policy = Replay([episode([0], [label]) for label in range(8)])
    drawn = []
    for seed in [*range(40), *range(40)]:
        policy.start_episode(0, seed)
        drawn += policy.act([0], [screen(0)], STATES)
    assert set(drawn) == set(range(8)) and drawn[:40] == drawn[40:]


def test_the_nearest_neighbour_is_the_nearest():
    policy = NearestNeighbour([episode([10, 100, 200], [0, 1, 2]), episode([60], [3])])
    shades = {0: 0, 30: 0, 50: 3, 79: 3, 81: 1, 149: 1, 151: 2, 255: 2}
    assert policy.act([0] * len(shades), [screen(value) for value in shades], [{}] * len(shades)) == list(shades.values())
    near = screen(100)
    near[:72] = 120
    assert policy.act([0], [near], STATES) == [1]


def test_the_nearest_neighbour_takes_the_commonest_label_and_only_labels():
    policy = NearestNeighbour([episode([50, 50, 50, 90], [4, 6, 6, -1])])
    assert policy.act([0, 1], [screen(50), screen(90)], [{}, {}]) == [6, 6]
    with pytest.raises(ValueError, match="no labelled picture"):
        NearestNeighbour([episode([50], [-1])])


def test_identical_pictures_contradict_only_where_their_optimal_actions_are_disjoint():
    pictures = OptimalPictures()
    up, left, both = frozenset(["up"]), frozenset(["left"]), frozenset(["up", "left"])
    for value, best, label in ((0, up, "up"), (0, up, None), (0, left, "up"), (1, up, "up"), (1, both, "left"), (2, None, "a")):
        pictures.add(screen(value), best, label)
    assert (pictures.steps, pictures.contradictory) == (5, 3)  # all three of the first picture
    assert (pictures.labels, pictures.optimal_labels) == (4, 3)
    pictures.add(screen(1), left, None)
    assert pictures.contradictory == 3 + 2  # {up, left} agrees with both


def test_pictures_are_compared_as_the_network_sees_them():
    pictures = OptimalPictures()
    other = screen(200)
    other[0, 0] = 201  # lost when the picture is made smaller
    pictures.add(screen(200), frozenset(["a"]), None)
    pictures.add(other, frozenset(["b"]), None)
    assert pictures.contradictory == 2


def test_success_is_counted_within_multiples_of_the_experts_mean():
    lengths = [(10, True), (20, True), (21, True), (40, True), (41, True), (5, False)]
    played = Evaluation([EpisodeResult(i, None, 1.0, n, success, ()) for i, (n, success) in enumerate(lengths)])
    record = success_record(played, 9.9)  # 19.8 and 39.6, rounded up
    assert (record["within_2x"], record["within_4x"], record["successes"], record["episodes"]) == (2, 4, 5, 6)
    assert record["failed_seeds"] == [5]
    never = success_record(Evaluation([EpisodeResult(0, None, 0.0, 9, False, ())]), None)
    assert never["within_2x"] == never["within_4x"] == 0 and never["mean_steps"] is None


def results_of(rates: dict[str, float], milestones=("CLOCK_SET", "BADGE")) -> audit.Results:
    """Results in which each audit has this figure everywhere, 100 episodes."""
    results: audit.Results = {}
    for name in milestones:
        for tier in ("T1", "T2"):
            for kind, rate in rates.items():
                record = (
                    {"share": rate} if kind == IDENTICAL else {"within_2x": round(100 * rate), "within_4x": 100, "episodes": 100}
                )
                results[Cell(name, tier, kind)] = {**record, "seconds": 6.0, "mean_steps": 12.34, "spl": None}
    return results


GOOD = {
    EXPERT: 1.0, "random": 0.0, "mash_a": 0.1, "replay": 0.15, "nearest": 0.1, "compass": 0.9, "planner": 0.95, IDENTICAL: 0.01,
}  # fmt: skip
BC = {"CLOCK_SET": {"relative_1000": 0.5, "relative_10000": 0.97}, "BADGE": {"relative_1000": 0.9, "relative_10000": 1.0}}


def test_all_gates_can_pass():
    assert {row[-1] for row in judge(results_of(GOOD), ["CLOCK_SET", "BADGE"], BC)} == {"PASS"}


@pytest.mark.parametrize("kind", sorted({gate.audit for gate in GATES}))
def test_each_gate_can_be_missed(kind):
    worse = {**GOOD, kind: 0.9 if kind == EXPERT else GOOD[kind] + 0.41}
    verdicts = [row[-1] for row in judge(results_of(worse), ["CLOCK_SET", "BADGE"], BC)]
    wanted = ["FAIL" if gate.audit == kind else "PASS" for gate in GATES]
    assert verdicts[:-1] == wanted and "FAIL" in wanted


@pytest.mark.parametrize(("kind", "rate", "limit"), [("mash_a", 0.19, 0.2), (EXPERT, 0.96, 0.95), ("random", 0.05, 0.05)])
def test_a_gate_is_judged_by_the_intervals_end_and_not_by_the_mean(kind, rate, limit):
    results, scored = results_of({**GOOD, kind: rate}), ["CLOCK_SET", "BADGE"]
    mean, low, high = interval_over(results, scored, "T1", kind)
    assert low < min(rate, limit) and max(rate, limit) < high and mean == pytest.approx(rate)
    row = next(row for row, gate in zip(judge(results, scored, BC), GATES, strict=False) if (gate.audit, gate.tier) == (kind, "T1"))
    assert row[2:] == (f"{100 * mean:.0f} % [{100 * low:.0f}, {100 * high:.0f}]", "FAIL")


def test_the_interval_is_over_milestones_and_their_episodes():
    results, scored = results_of({"nearest": 0.5, IDENTICAL: 0.02}), ["CLOCK_SET", "BADGE"]
    successes = np.repeat([[1.0, 0.0]], 50, axis=1).repeat(2, axis=0)
    wanted = bootstrap_mean(successes, np.random.default_rng([2021, 2]))
    assert interval_over(results, scored, "T2", "nearest") == wanted and wanted[2] - wanted[1] > 0.1
    assert interval_over(results, scored, "T1", IDENTICAL) == (0.02, 0.02, 0.02)
    results[Cell("BADGE", "T1", IDENTICAL)]["share"] = 0.0
    assert interval_over(results, scored, "T1", IDENTICAL) == (0.01, 0.0, 0.02)
    del results[Cell("BADGE", "T2", "nearest")]
    assert interval_over(results, scored, "T2", "nearest") is None


def test_there_is_no_gate_that_cannot_fail_and_none_for_the_new_players():
    assert (IDENTICAL, "T2") in NOT_AUDITED
    assert not NOT_AUDITED & {(gate.audit, gate.tier) for gate in GATES}
    assert {gate.audit for gate in GATES}.isdisjoint({COMPASS, PLANNER})


def test_a_gate_is_a_mean_over_the_scored_milestones_alone():
    results = results_of(GOOD)
    results[Cell("BADGE", "T1", "random")]["within_2x"] = 100
    assert mean_over(results, ["CLOCK_SET"], "T1", "random") == 0
    assert mean_over(results, ["CLOCK_SET", "BADGE"], "T1", "random") == pytest.approx(0.5)
    assert judge(results, ["CLOCK_SET"], BC)[0][-1] == "PASS"
    assert judge(results, ["CLOCK_SET", "BADGE"], BC)[0][-1] == "FAIL"


def test_what_is_missing_is_not_passed():
    results = results_of(GOOD)
    del results[Cell("BADGE", "T1", "random")]
    results[Cell("BADGE", "T2", "random")] = {"skipped": "the expert never got there", "seconds": 0.0}
    verdicts = [row[-1] for row in judge(results, ["CLOCK_SET", "BADGE"], {})]
    assert verdicts[:2] == ["not measured"] * 2 and verdicts[-1] == "not measured"
    assert {row[-1] for row in judge({}, [], {})} == {"not measured"}
    titles, ends = (
        next(line for line in markdown(Args(), results, [], ["CLOCK_SET", "BADGE"], []).splitlines() if line.startswith(start))
        for start in ("| milestone", "| 95 % interval")
    )
    interval = dict(zip(titles.split(" | "), ends.split(" | "), strict=True))
    assert interval["random T1"] == interval["random T2"] == "-" and interval["mash_a T1"].startswith("[")


def test_the_gate_of_behavioural_cloning_wants_both_numbers_of_labels():
    milestones = ["CLOCK_SET", "BADGE", "HEALED"]
    results = results_of(GOOD, milestones)
    for in_between, all_labels, verdict in ((0.3, 0.95, "PASS"), (0.8, 1.0, "PASS"), (0.81, 1.0, "FAIL"), (0.5, 0.94, "FAIL")):
        bc = {name: {"relative_1000": 1.0, "relative_10000": 1.0} for name in milestones}
        bc["HEALED"] = {"relative_1000": in_between, "relative_10000": all_labels}
        assert judge(results, milestones, bc)[-1][-1] == verdict


def test_the_table():
    scored = ["CLOCK_SET"]
    results = results_of(GOOD)
    text = markdown(Args(), results, ["CLOCK_SET", "BADGE"], scored, judge(results, scored, BC))
    assert "| random presses, T1 | at most 5 % | 0 % [0, 0] | PASS |" in text
    assert "| CLOCK_SET | 100 (100) | 100 (100) | 12.3 | 12.3 | - | - | 0 (100) |" in text
    assert "| (BADGE) | 100 (100) |" in text and "| mean of the scored | 100 (100) |" in text
    assert "| 95 % interval of the mean | [100, 100] | [100, 100] |" in text
    titles, row = (next(line for line in text.splitlines() if line.startswith(start)) for start in ("| milestone", "| CLOCK_SET"))
    cells = dict(zip(titles.split(" | "), row.split(" | "), strict=True))
    assert (cells["compass T1"], cells["compass T2"], cells["planner T1"], cells["planner T2"]) == (
        "90 (100)", "90 (100)", "95 (100)", "95 (100)",
    )  # fmt: skip
    assert cells.pop("identical T1 |") == "1.00 |" and "identical T2" not in titles
    columns = {line.count("|") for line in text.split("\n\n")[1].splitlines()}
    assert len(columns) == 1


def test_nothing_that_is_counted_was_demonstrated():
    seeds = sorted([audit_cells.TEST_SEED, audit_cells.DEMONSTRATION_SEED, audit_cells.PICTURE_SEED])
    assert min(b - a for a, b in zip(seeds, seeds[1:], strict=False)) >= 10_000  # more episodes than anybody plays


@pytest.mark.parametrize("kind", [COMPASS, PLANNER])
def test_the_new_players_play_a_cell(kind, rom_path):
    settings = Settings(episodes=3, demonstrations=1, noise=0.0, rom_path=rom_path, policy_dir=rom_path.parent)
    record = play_cell(Cell("STARTER_CHOSEN", "T2", kind), settings, GAME, 100, 10.0, never)
    assert record["episodes"] == 3 and record["successes"] == 3 and max(record["lengths"]) <= 40


def test_the_planner_plays_by_the_games_own_policies(rom_path, tmp_path):
    """A user's policy, which may read what is not on the screen, makes no other result of it."""
    own = Settings(episodes=3, demonstrations=1, noise=0.0, rom_path=rom_path, policy_dir=GAME.policy_dir)
    (tmp_path / "STARTER_CHOSEN.py").write_text("def run(state):\n    return 'select'\n")
    others = replace(own, policy_dir=tmp_path)
    for kind, is_same in ((PLANNER, True), (EXPERT, False)):
        cell = Cell("STARTER_CHOSEN", "T2", kind)
        assert (cell_key(cell, own, GAME, 100, 10.0) == cell_key(cell, others, GAME, 100, 10.0)) == is_same


def run_audit(folder: Path, *flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks.audit", "--rom-path", str(ROOT / "tallgrass" / "tallgrass.gb")]
    command += ["--milestone-config", str(ROOT / "milestone_config.json"), "--milestones", "GO_DOWNSTAIRS_TO_1F", *flags]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    run = run_audit(folder, "--episodes", "3", "--demonstrations", "3")
    assert run.returncode == 1, run.stderr  # behavioural cloning is not measured
    return folder, run


@pytest.mark.slow
def test_a_run_writes_each_result_and_the_table(played):
    folder, run = played
    names = {path.relative_to(folder / "runs" / "audit").as_posix() for path in (folder / "runs").rglob("*.json")}
    assert names == {
        f"{tier}/GO_DOWNSTAIRS_TO_1F/{kind}.json" for tier in ("T1", "T2") for kind in AUDITS if (kind, tier) not in NOT_AUDITED
    }
    expert = json.loads((folder / "runs/audit/T2/GO_DOWNSTAIRS_TO_1F/expert.json").read_text())
    assert expert["successes"] == expert["episodes"] == 3 and 0.5 < expert["spl"] <= 1
    identical = json.loads((folder / "runs/audit/T1/GO_DOWNSTAIRS_TO_1F/identical.json").read_text())
    assert identical["steps"] >= 6 and identical["optimal_labels"] == 1
    table = (folder / "results" / "audit.md").read_text()
    assert table in run.stdout and any(line.startswith("|") and "GO_DOWNSTAIRS_TO_1F" in line for line in table.splitlines())


@pytest.mark.slow
def test_what_is_there_is_not_played_again_unless_the_settings_changed(played):
    folder, _ = played
    results = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*.json")}
    gone = folder / "runs/audit/T1/GO_DOWNSTAIRS_TO_1F/random.json"
    gone.unlink()
    run = run_audit(folder, "--episodes", "3", "--demonstrations", "3")
    assert run.returncode == 1 and gone.is_file()
    assert {path for path, when in results.items() if path.stat().st_mtime_ns != when} == {gone}
    run_audit(folder, "--episodes", "2", "--demonstrations", "3", "--tiers", "T1", "--audits", "random")
    changed = {path for path, when in results.items() if path.stat().st_mtime_ns != when}
    assert {path.name for path in changed} == {"random.json", "expert.json"} and json.loads(gone.read_text())["episodes"] == 2


@pytest.mark.slow
def test_errors(played, tmp_path):
    folder, _ = played
    good = Args(
        milestones=("GO_DOWNSTAIRS_TO_1F",),
        rom_path=ROOT / "tallgrass" / "tallgrass.gb",
        milestone_config=ROOT / "milestone_config.json",
        output_dir=tmp_path,
        table=tmp_path / "audit.md",
    )
    broken = tmp_path / "T1/GO_DOWNSTAIRS_TO_1F/expert.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    for wrong, message in (
        ({"milestones": ("NO_SUCH",)}, "no milestone NO_SUCH"),
        ({"episodes": 0}, "--episodes is 0"),
        ({"noise": 2.0}, "--noise is 2"),
        ({}, "is no result of the audit"),
    ):
        with pytest.raises(ValueError, match=message):
            audit.main(replace(good, **wrong))
    run = run_audit(folder, "--parallel", "0")
    assert run.returncode == 1 and run.stderr.startswith("audit.py: --parallel is 0") and "Traceback" not in run.stderr
