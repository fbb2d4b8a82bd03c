"""The gates on students: each can be passed and missed, is judged by the interval's end, and waits for what is not measured."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import reference
from benchmarks.results_file import complete
from benchmarks.student_gates import GATES, judge, table
from common.statistics import bootstrap_iqm, bootstrap_mean
from pokemon_env.games.tallgrass import frozen
from pokemon_env.games.tallgrass.benchmark_v1 import SCORED

GOOD = {("bc", 250): 0.2, ("bc", 1000): 0.5, ("bc", 10_000): 0.8, ("dagger", 10_000): 0.75}


def rows(rates: dict[tuple[str, int], float | dict[str, float]], seeds=(1, 2, 3)) -> list[dict]:
    """Results of these rates, the same for all milestones or by milestone; each seed has other successes."""
    made = []
    for (method, labels), rate in rates.items():
        for name in SCORED:
            wanted = rate[name] if isinstance(rate, dict) else rate
            for seed in seeds:
                drawn = np.random.default_rng([seed, labels]).permutation(100) < round(100 * wanted)
                made.append({"milestone": name, "method": method, "labels": labels, "seed": seed, "successes": drawn.tolist()})
    return made


def verdicts(rates, seeds=(1, 2, 3)) -> list[str]:
    return [verdict for *_, verdict in judge(complete(rows(rates, seeds), SCORED))]


def split(low: float, n_low: int, high: float) -> dict[str, float]:
    """Rates of milestones, of which the first few have the low one."""
    return {name: low if i < n_low else high for i, name in enumerate(SCORED)}


def test_all_gates_can_pass():
    assert verdicts(GOOD) == ["PASS"] * len(GATES) == ["PASS"] * 4


MISSED = {
    0: {("bc", 250): 0.62},
    1: {("bc", 1000): 0.9},
    2: {("bc", 10_000): 0.58, ("dagger", 10_000): 0.55},
    3: {("bc", 10_000): split(0.5, 2, 1.0), ("dagger", 10_000): 0.1},
}


@pytest.mark.parametrize("number", MISSED)
def test_each_gate_can_be_missed(number):
    assert verdicts(GOOD | MISSED[number]) == ["FAIL" if i == number else "PASS" for i in range(4)]


@pytest.mark.parametrize(
    ("number", "rates"),
    [
        (0, {("bc", 250): split(0.1, 8, 0.6), ("bc", 10_000): split(0.85, 9, 0.68)}),  # the difference itself is above 20 points
        (1, {("bc", 1000): split(0.1, 5, 0.82)}),
        (2, {("bc", 10_000): split(0.3, 7, 0.9), ("dagger", 10_000): 0.1}),
        (3, {("bc", 10_000): split(0.93, 5, 1.0), ("dagger", 10_000): 0.1}),
    ],
)
def test_a_gate_is_judged_by_the_intervals_end(number, rates):
    columns = complete(rows(GOOD | rates), SCORED)
    value, limit = GATES[number].measure(columns)[0], GATES[number].limit
    if number == 3:  # here the interval is each milestone's own
        low, high = bootstrap_mean(successes(columns["bc", 10_000], SCORED[:1]), np.random.default_rng([2021, 1]))[1:]
        assert low < 0.93 < 0.95 < high
    else:
        assert value <= limit if GATES[number].at_most else value >= limit
    assert GATES[number].judge(columns)[-1] == "FAIL"


def successes(column, names=SCORED) -> np.ndarray:
    return np.array([[row["successes"] for row in column[name]] for name in names])


def test_the_better_of_cloning_and_dagger_counts():
    columns = complete(rows(GOOD | {("bc", 10_000): 0.55, ("dagger", 10_000): split(0.7, 9, 0.99)}), SCORED)
    value, low, high = bootstrap_iqm(successes(columns["dagger", 10_000]), np.random.default_rng([2021, 17]))
    gates = judge(columns)
    assert gates[2][2:] == (f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}] (DAgger)", "PASS")
    assert gates[3][2:] == ("9 of 17", "PASS")
    better = {("bc", 10_000): split(1.0, 15, 0.2), ("dagger", 10_000): split(0.2, 15, 1.0)}  # another one on another milestone
    assert judge(complete(rows(GOOD | better), SCORED))[3][2:] == ("0 of 17", "FAIL")


def test_what_is_missing_is_not_measured():
    assert verdicts({}) == ["not measured"] * 4
    for column, waiting in ((("bc", 250), {0}), (("bc", 1000), {1}), (("dagger", 10_000), {2, 3}), (("bc", 10_000), {0, 2, 3})):
        few = {key: rate for key, rate in GOOD.items() if key != column}
        assert verdicts(few) == ["not measured" if number in waiting else "PASS" for number in range(4)]
    assert verdicts(GOOD, seeds=(1, 2)) == ["not measured"] * 4
    lacking = [row for row in rows(GOOD) if (row["milestone"], row["labels"]) != ("BADGE", 250)]
    assert judge(complete(lacking, SCORED))[0][2:] == ("-", "not measured")
    some = [name for name in SCORED if name != "BADGE"]
    assert {row[-1] for row in judge(complete(rows(GOOD), some))} == {"not measured"}


def test_the_table():
    lines = table(complete(rows(GOOD), SCORED)).splitlines()
    assert lines[0].startswith("| gate on students, T2, three seeds | wanted | measured, 95 % interval |")
    assert len(lines) == 2 + 4 and len({line.count("|") for line in lines}) == 1
    assert lines[3].startswith(
        "| few labels do not solve it: the IQM of BC with 1,000 labels | at most 80 %, by the upper bound | 50 % ["
    )


def test_the_gates_are_those_of_the_page(request):
    page = (request.config.rootpath / "docs" / "benchmark.md").read_text()
    for gate in GATES:
        assert f"| {gate.text} | {gate.wanted} |" in page
    assert "| gate on students, T2, three seeds | wanted |" in page


def report(**flags) -> str:
    made = {}
    for number, row in enumerate(rows(GOOD)):
        about = {
            "minutes": 1.0,
            "machine": {"cpu": "a CPU", "bf16": True},
            "lengths": list(frozen.limits(row["milestone"], "T2", "test")),
        }
        made[str(number)] = row | about
    return reference.markdown(reference.Args(**flags), made, list(SCORED))


def test_the_reference_has_them_on_the_test_of_t2_alone():
    text = report()
    assert text.count("| PASS |") == 4 and "| labels matter: " in text
    assert "reported whatever comes out" in text
    assert "| gate on students" not in report(compass="off") and "| gate on students" not in report(purpose="choose")
    assert report(seeds=(1,)).count("| not measured |") == 4
