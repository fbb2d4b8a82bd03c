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
    agrees,
    cell_key,
    play_cell,
)
from benchmarks.audit.policies import NearestNeighbour, OneButton, OptimalPictures, Replay
from common.demonstrations import Episode
from common.runtime.scripts import never
from common.statistics import bootstrap_mean
from pokemon_env.games.tallgrass import GAME, frozen

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


def frozen_row(milestone: str, tier: str, kind: str, rate: float) -> dict:
    """A cell's record: this share of the 100 frozen episodes succeeded, in the steps that the expert takes."""
    steps, limits = frozen.expert_steps(milestone, tier, "test"), frozen.limits(milestone, tier, "test")
    successes = [taken is not None and number < 100 * rate for number, taken in enumerate(steps)]
    lengths = [taken if won else limit for won, taken, limit in zip(successes, steps, limits, strict=True)]
    about = {"method": kind, "milestone": milestone, "tier": tier, "split": "test", "spl": None, "successes": successes}
    return about | {"lengths": lengths, "seconds": 6.0, "machine": {"cpu": "a CPU"}} | ({"agrees": True} if kind == EXPERT else {})


def results_of(rates: dict[str, float], milestones=("CLOCK_SET", "BADGE")) -> audit.Results:
    """Results in which each audit has this figure everywhere, over 100 episodes."""
    results: audit.Results = {}
    for name in milestones:
        for tier in ("T1", "T2", "T4"):
            for kind, rate in rates.items():
                if (kind, tier) not in NOT_AUDITED:
                    record = frozen_row(name, tier, kind, rate)
                    results[Cell(name, tier, kind)] = {**record, "share": rate} if kind == IDENTICAL else record
    return results


GOOD = {
    EXPERT: 1.0, "random": 0.0, "mash_a": 0.1, "replay": 0.15, "nearest": 0.1, "compass": 0.9, "planner": 0.95, IDENTICAL: 0.01,
}  # fmt: skip
SCORED = ["CLOCK_SET", "BADGE"]


def test_all_gates_can_pass():
    assert [row[-1] for row in judge(results_of(GOOD), SCORED)] == ["PASS"] * len(GATES)


@pytest.mark.parametrize("kind", sorted({gate.audit for gate in GATES}))
def test_each_gate_can_be_missed(kind):
    worse = {**GOOD, kind: 0.9 if kind == EXPERT else GOOD[kind] + 0.41}
    verdicts = [row[-1] for row in judge(results_of(worse), SCORED)]
    wanted = ["FAIL" if gate.audit == kind else "PASS" for gate in GATES]
    assert verdicts == wanted and "FAIL" in wanted


@pytest.mark.parametrize(("kind", "rate", "limit"), [("mash_a", 0.19, 0.2), (EXPERT, 0.96, 0.95), ("random", 0.05, 0.05)])
def test_a_gate_is_judged_by_the_intervals_end_and_not_by_the_mean(kind, rate, limit):
    results = results_of({**GOOD, kind: rate})
    mean, low, high = interval_over(results, SCORED, "T1", kind)
    assert low < min(rate, limit) and max(rate, limit) < high and mean == pytest.approx(rate)
    row = next(row for row, gate in zip(judge(results, SCORED), GATES, strict=True) if (gate.audit, gate.tier) == (kind, "T1"))
    assert row[2:] == (f"{100 * mean:.0f} % [{100 * low:.0f}, {100 * high:.0f}]", "FAIL")


def test_the_interval_is_over_milestones_and_their_episodes():
    results = results_of({"nearest": 0.5, IDENTICAL: 0.02})
    successes = np.repeat([[1.0, 0.0]], 50, axis=1).repeat(2, axis=0)
    wanted = bootstrap_mean(successes, np.random.default_rng([2021, 2]))
    assert interval_over(results, SCORED, "T2", "nearest") == wanted and wanted[2] - wanted[1] > 0.1
    assert interval_over(results, SCORED, "T1", IDENTICAL) == (0.02, 0.02, 0.02)
    results[Cell("BADGE", "T1", IDENTICAL)]["share"] = 0.0
    assert interval_over(results, SCORED, "T1", IDENTICAL) == (0.01, 0.0, 0.02)
    del results[Cell("BADGE", "T2", "nearest")]
    assert interval_over(results, SCORED, "T2", "nearest") is None


def test_there_is_no_gate_that_cannot_fail_and_none_for_the_new_players_or_without_the_compass():
    assert (IDENTICAL, "T2") in NOT_AUDITED
    assert not NOT_AUDITED & {(gate.audit, gate.tier) for gate in GATES}
    assert {gate.audit for gate in GATES}.isdisjoint({COMPASS, PLANNER}) and {gate.tier for gate in GATES} == {"T1", "T2"}
    assert {kind for kind in AUDITS if (kind, "T4") not in NOT_AUDITED} == {EXPERT, "nearest", COMPASS, PLANNER}


def test_a_gate_is_a_mean_over_the_scored_milestones_alone():
    results = results_of(GOOD)
    results[Cell("BADGE", "T1", "random")] = frozen_row("BADGE", "T1", "random", 1.0)
    assert mean_over(results, ["CLOCK_SET"], "T1", "random") == 0
    assert mean_over(results, SCORED, "T1", "random") == pytest.approx(0.5)
    assert judge(results, ["CLOCK_SET"])[0][-1] == "PASS"
    assert judge(results, SCORED)[0][-1] == "FAIL"


def test_what_is_missing_is_not_passed():
    results = results_of(GOOD)
    del results[Cell("BADGE", "T1", "random")], results[Cell("BADGE", "T2", "random")]
    assert [row[-1] for row in judge(results, SCORED)][:2] == ["not measured"] * 2
    assert {row[-1] for row in judge({}, [])} == {"not measured"}
    titles, ends = (
        next(line for line in markdown(Args(), results, [], SCORED, []).splitlines() if line.startswith(start))
        for start in ("| milestone", "| 95 % interval")
    )
    interval = dict(zip(titles.split(" | "), ends.split(" | "), strict=True))
    assert interval["random T1"] == interval["random T2"] == "-" and interval["mash_a T1"].startswith("[")


def lines_of(text: str, *starts: str) -> list[str]:
    return [next(line for line in text.splitlines() if line.startswith(start)) for start in starts]


def test_the_table():
    results = results_of(GOOD)
    text = markdown(Args(), results, SCORED, ["CLOCK_SET"], judge(results, ["CLOCK_SET"]))
    steps = [sum(taken) / 100 for taken in (frozen.expert_steps("CLOCK_SET", tier, "test") for tier in ("T1", "T2"))]
    assert "| random presses, T1 | at most 5 % | 0 % [0, 0] | PASS |" in text
    assert f"| CLOCK_SET | 100 | 100 | 100 | {steps[0]:.1f} | {steps[1]:.1f} | - | - | 0 | 0 | 10 |" in text
    assert "| (BADGE) | 100 | 100 |" in text and "| mean of the scored | 100 | 100 | 100 |  |" in text
    assert "| 95 % interval of the mean | [100, 100] | [100, 100] |" in text
    titles, row = lines_of(text, "| milestone", "| CLOCK_SET")
    cells = dict(zip(titles.split(" | "), row.split(" | "), strict=True))
    wanted = {"expert": ("100",) * 3, "nearest": ("10",) * 3, "compass": ("90",) * 3, "planner": ("95",) * 3}
    for kind, told in wanted.items():
        assert tuple(cells[f"{kind} {tier}"] for tier in ("T1", "T2", "T4")) == told
    assert cells.pop("identical T1 |") == "1.00 |" and not {"identical T2", "random T4", "steps T4"} & set(cells)
    columns = {line.count("|") for line in text.split("\n\n")[1].splitlines()}
    assert len(columns) == 1
    (titles,) = lines_of(markdown(Args(tiers=("T4",)), results, SCORED, [], []), "| milestone")
    assert titles == "| milestone | expert T4 | nearest T4 | compass T4 | planner T4 |"


def test_the_table_says_whether_the_expert_plays_as_it_is_frozen():
    results = results_of(GOOD)
    assert "The expert's steps are the frozen ones. " in markdown(Args(), results, SCORED, SCORED, [])
    results[Cell("BADGE", "T4", EXPERT)]["agrees"] = False  # T4's are those of T2, where it sees a compass
    assert "The expert's steps are the frozen ones. " in markdown(Args(), results, SCORED, SCORED, [])
    results[Cell("BADGE", "T2", EXPERT)]["agrees"] = False
    assert "The expert's steps are not the frozen ones in T2/BADGE/expert. " in markdown(Args(), results, SCORED, SCORED, [])
    assert "The expert's steps were not counted. " in markdown(Args(), {}, SCORED, SCORED, [])


def test_the_expert_agrees_if_it_takes_the_frozen_steps(monkeypatch):
    record = frozen_row("BADGE", "T2", EXPERT, 1.0)
    assert agrees(record) and agrees(frozen_row("BADGE", "T4", EXPERT, 1.0))
    fewer = record | {key: record[key][:7] for key in ("successes", "lengths")}
    assert agrees(fewer)
    longer = record["lengths"][:1] + [record["lengths"][1] + 1] + record["lengths"][2:]
    assert not agrees(record | {"lengths": longer})
    late = record | {"successes": [False, *record["successes"][1:]]}
    assert not agrees(late)
    frozen_late = (None, *frozen.expert_steps("BADGE", "T2", "test")[1:])
    monkeypatch.setattr(frozen, "expert_steps", lambda *names: frozen_late)
    assert agrees(late) and not agrees(record)  # where it failed, it must fail


def test_nothing_that_is_counted_was_demonstrated():
    seeds = sorted([*frozen.FIRST_SEEDS.values(), audit_cells.DEMONSTRATION_SEED, audit_cells.PICTURE_SEED])
    assert min(b - a for a, b in zip(seeds, seeds[1:], strict=False)) >= 10_000  # more episodes than anybody plays


SETTINGS = Settings(episodes=3, demonstrations=1, noise=0.0, policy_dir=GAME.policy_dir)


@pytest.mark.parametrize(
    ("kind", "tier", "wins"), [(COMPASS, "T2", 2), (PLANNER, "T2", 3), (COMPASS, "T4", 0), ("nearest", "T4", 0)]
)
def test_a_player_plays_the_frozen_episodes_within_their_limits(kind, tier, wins):
    record = play_cell(Cell("STARTER_CHOSEN", tier, kind), SETTINGS, 100, never)
    limits = list(frozen.limits("STARTER_CHOSEN", tier, "test")[:3])
    assert record["method"] == kind and record["seeds"] == [100_000, 100_001, 100_002] and record["limits"] == limits
    assert sum(record["successes"]) == wins and len(set(limits)) > 1
    assert all(
        length == limit for won, length, limit in zip(record["successes"], record["lengths"], limits, strict=True) if not won
    )
    assert record["machine"]["cpu"] and record["split"] == "test" and (record["spl"] > 0.5) == (wins > 0)


def test_without_a_compass_the_planner_draws_its_way():
    """Both find what is in view. The compass is all that differs."""
    won = {tier: play_cell(Cell("GYM_ENTERED", tier, PLANNER), replace(SETTINGS, episodes=20), 100, never) for tier in ("T2", "T4")}
    assert won["T2"]["seeds"] == won["T4"]["seeds"] and won["T2"]["limits"] == won["T4"]["limits"]
    assert sum(won["T2"]["successes"]) > sum(won["T4"]["successes"]) > 0


@pytest.mark.parametrize("tier", ["T1", "T2", "T4"])
def test_the_expert_plays_as_it_is_frozen(tier):
    record = play_cell(Cell("ROUTE_1", tier, EXPERT), SETTINGS, 100, never)
    assert record["agrees"] is True and record["lengths"] == list(frozen.expert_steps("ROUTE_1", tier, "test")[:3])
    assert record["abstentions"] == 0 and 0.5 < record["spl"] <= 1


def test_an_expert_that_plays_otherwise_is_told(tmp_path):
    (tmp_path / "CLOCK_SET.py").write_text("def run(state):\n    return 'select'\n")
    others = replace(SETTINGS, episodes=1, policy_dir=tmp_path, unsafe_policies=True)
    record = play_cell(Cell("CLOCK_SET", "T1", EXPERT), others, 100, never)
    assert record["agrees"] is False and record["successes"] == [False]
    args = Args(
        milestones=("CLOCK_SET",), tiers=("T1",), audits=(EXPERT,), episodes=1, policy_dir=tmp_path, unsafe_policies=True,
        output_dir=tmp_path / "out", table=tmp_path / "audit.md", milestone_config=ROOT / "milestone_config.json",
    )  # fmt: skip
    assert audit.main(args) == 1 and "not the frozen ones in T1/CLOCK_SET/expert" in args.table.read_text()


def test_a_result_depends_on_the_limits(monkeypatch):
    cell = Cell("BADGE", "T2", "random")
    key = cell_key(cell, SETTINGS, 70)
    assert key != cell_key(cell, replace(SETTINGS, episodes=4), 70) and key != cell_key(cell, SETTINGS, 71)
    monkeypatch.setattr(frozen, "limits", lambda *names: (9, 9, 9))
    assert key != cell_key(cell, SETTINGS, 70)


def test_the_planner_plays_by_the_games_own_policies(tmp_path):
    """A user's policy, which may read what is not on the screen, makes no other result of it."""
    (tmp_path / "STARTER_CHOSEN.py").write_text("def run(state):\n    return 'select'\n")
    others = replace(SETTINGS, policy_dir=tmp_path)
    for kind, is_same in ((PLANNER, True), (EXPERT, False)):
        cell = Cell("STARTER_CHOSEN", "T2", kind)
        assert (cell_key(cell, SETTINGS, 100) == cell_key(cell, others, 100)) == is_same


def played_args(folder: Path, **others) -> Args:
    flags = dict(episodes=2, demonstrations=1, output_dir=folder / "audit", table=folder / "audit.md")
    return Args(milestones=("GO_DOWNSTAIRS_TO_1F",), milestone_config=ROOT / "milestone_config.json", **(flags | others))


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    audit.main(played_args(folder))
    return folder


def test_a_run_writes_each_result_and_the_table(played):
    names = {path.relative_to(played / "audit").as_posix() for path in played.rglob("*.json")}
    assert names == {
        f"{tier}/GO_DOWNSTAIRS_TO_1F/{kind}.json"
        for tier in ("T1", "T2", "T4") for kind in AUDITS if (kind, tier) not in NOT_AUDITED
    }  # fmt: skip
    expert = json.loads((played / "audit/T2/GO_DOWNSTAIRS_TO_1F/expert.json").read_text())
    assert expert["successes"] == [True] * 2 and expert["agrees"] and 0.5 < expert["spl"] <= 1
    identical = json.loads((played / "audit/T1/GO_DOWNSTAIRS_TO_1F/identical.json").read_text())
    assert identical["steps"] >= 4 and identical["optimal_labels"] == 1
    table = (played / "audit.md").read_text()
    assert lines_of(table, "| (GO_DOWNSTAIRS_TO_1F) | 100 | 100 | 100 |") and table.count("| not measured |") == len(GATES)


def test_what_is_there_is_not_played_again_unless_the_settings_changed(played, capsys):
    results = {path: path.stat().st_mtime_ns for path in played.rglob("*.json")}
    gone = played / "audit/T1/GO_DOWNSTAIRS_TO_1F/random.json"
    gone.unlink()
    assert audit.main(played_args(played)) == 1 and gone.is_file()  # no scored milestone, so no gate is measured
    assert {path for path, when in results.items() if path.stat().st_mtime_ns != when} == {gone}
    assert (played / "audit.md").read_text() in capsys.readouterr().out
    audit.main(played_args(played, episodes=1, tiers=("T1",), audits=("random",), table=played / "other.md"))
    changed = {path for path, when in results.items() if path.stat().st_mtime_ns != when}
    assert changed == {gone} and len(json.loads(gone.read_text())["successes"]) == 1


def test_errors(tmp_path):
    good = played_args(tmp_path)
    broken = tmp_path / "audit/T1/GO_DOWNSTAIRS_TO_1F/expert.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    for wrong, message in (
        ({"milestones": ("NO_SUCH",)}, "no milestone NO_SUCH"),
        ({"episodes": 0}, "--episodes is 0"),
        ({"episodes": 101}, "--episodes is 101, but must be at most 100"),
        ({"noise": 2.0}, "--noise is 2"),
        ({}, "is no result"),
    ):
        with pytest.raises(ValueError, match=message):
            audit.main(replace(good, **wrong))
    command = [sys.executable, "-m", "benchmarks.audit", "--parallel", "0"]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert run.returncode == 1 and run.stderr.startswith("audit.py: --parallel is 0") and "Traceback" not in run.stderr
