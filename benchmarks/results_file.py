"""Results of Tallgrass-v1 in one JSON file: what it holds, what must hold of it, and its table.

    {"benchmark": "Tallgrass-v1", "rom_sha256": ..., "frozen_steps_sha256": ..., "tier": "T2", "split": "test", "results": [
       {"milestone": "CLOCK_SET", "method": "bc", "labels": 250, "seed": 1, "gradient_steps": 250, "successes": [...100 booleans],
        "lengths": [...100], "seeds": [...100], "limits": [...100], ...}, ...]}

`method` is a name of the submitter's own. `labels` and `seed` are 0 or absent for what learns nothing. Further keys are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common.runtime.files import save_json
from common.runtime.main import UserError
from pokemon_env.games.tallgrass import benchmark_v1, frozen

Entry = dict[str, Any]
"""One result: a method's frozen episodes of one milestone, with one number of labels and one seed."""
MOST_LABELS = 10**9


class ResultsError(UserError, ValueError):
    """A results file that does not hold what it should; the text names the entry and what is wrong."""


def save_results(path: Path, rows: list[Entry], tier: str, split: frozen.Split) -> None:
    """Write results as a file that can be submitted."""
    about = {
        "benchmark": benchmark_v1.ENV_ID, "rom_sha256": benchmark_v1.ROM_SHA256,
        "frozen_steps_sha256": benchmark_v1.FROZEN_STEPS_SHA256, "tier": tier, "split": split,
    }  # fmt: skip
    save_json(path, about | {"results": sorted(rows, key=lambda row: (row["method"], row.get("labels", 0), row["milestone"]))})


def check_results(content: Any, path: Path) -> list[Entry]:
    """Return the entries of a results file. Raises ResultsError unless it is of this benchmark and can have been measured."""
    wanted = {
        "benchmark": benchmark_v1.ENV_ID, "rom_sha256": benchmark_v1.ROM_SHA256,
        "frozen_steps_sha256": benchmark_v1.FROZEN_STEPS_SHA256,
    }  # fmt: skip
    if not isinstance(content, dict) or not isinstance(content.get("results"), list):
        raise ResultsError(f"{path}: is no results file: it wants an object with a list of results")
    for key, value in wanted.items():
        if content.get(key) != value:
            raise ResultsError(f"{path}: {key} is {str(content.get(key))[:80]!r}, wanted {value!r}")
    tier, split = content.get("tier"), content.get("split")
    if tier not in ("T1", "T2", "T4") or split not in ("choose", "test"):
        raise ResultsError(f"{path}: tier is {str(tier)[:20]!r}, split {str(split)[:20]!r}: wanted T1, T2 or T4; choose or test")
    found: set[tuple[Any, ...]] = set()
    if not content["results"]:
        raise ResultsError(f"{path}: holds no results")
    for number, entry in enumerate(content["results"], 1):
        where = f"{path}: result {number}"
        if not isinstance(entry, dict):
            raise ResultsError(f"{where} is no object")
        check_entry(entry, where, tier, split)
        which = (entry["milestone"], entry["method"], entry.get("labels", 0), entry.get("seed", 0))
        if which in found:
            raise ResultsError(f"{where}: {' '.join(map(str, which))} is there twice")
        found.add(which)
    return content["results"]


def check_entry(entry: Entry, where: str, tier: str, split: frozen.Split, episodes: int | None = None) -> None:
    """Raise ResultsError unless a result is of this tier and split, and can have been measured; `where` names it.

    Args:
        episodes: only the first so many of the frozen ones; None for all.
    """
    milestone, method = entry.get("milestone"), entry.get("method")
    if milestone not in benchmark_v1.MILESTONES:
        raise ResultsError(f"{where}: no milestone {str(milestone)[:40]!r}")
    if not isinstance(method, str) or not method.strip() or not method.isprintable() or len(method) > 80:
        raise ResultsError(f"{where}: method is {str(method)[:40]!r}, wanted a name")
    where = f"{where} ({milestone}, {method})"
    for key, most in (("labels", MOST_LABELS), ("seed", 2**63)):
        value = entry.get(key, 0)
        if type(value) is not int or not 0 <= value < most:
            raise ResultsError(f"{where}: {key} is {str(value)[:40]!r}, wanted a number from 0 on")
    limits = frozen.limits(milestone, tier, split)[:episodes]
    for key, wanted in (("tier", tier), ("split", split), ("limits", list(limits))):
        if entry.get(key, wanted) != wanted:
            raise ResultsError(f"{where}: its {key} is {str(entry[key])[:40]}, wanted {str(wanted)[:40]}")
    if entry.get("seeds") != list(frozen.seeds(split))[:episodes]:
        raise ResultsError(f"{where}: seeds are not the {len(limits)} frozen ones of {split}, in their order")
    successes, lengths = entry.get("successes"), entry.get("lengths")
    for key, values, kind in (("successes", successes, bool), ("lengths", lengths, int)):
        if not isinstance(values, list) or len(values) != len(limits) or any(type(value) is not kind for value in values):
            raise ResultsError(f"{where}: {key} is not a list of {len(limits)} {'booleans' if kind is bool else 'whole numbers'}")
    assert isinstance(successes, list) and isinstance(lengths, list)
    for seed, success, length, limit in zip(entry["seeds"], successes, lengths, limits, strict=True):
        if not 1 <= length <= limit or (not success and length != limit):
            ended = "succeeded" if success else "failed"
            raise ResultsError(f"{where}: the episode of seed {seed} {ended} after {length} steps, but its limit is {limit}")


def title(column: tuple[str, int]) -> str:
    """Return a column's name in a table."""
    method, labels = column
    name = {"bc": "BC", "bc_sets": "BC, spread label sets", "dagger": "DAgger"}.get(method, method)
    return f"{name} {labels:,}" if labels else name


def complete(
    rows: Iterable[Entry], milestones: Sequence[str], seeds: Sequence[int] | None = None
) -> dict[tuple[str, int], dict[str, list[Entry]]]:
    """Return the columns of a table: (method, labels) -> milestone -> its results, one for each seed.

    A column is complete or left out: a mean over the easy milestones, or over some of the seeds, would stand beside means over all.

    Args:
        rows: results, of which those of other milestones do not count.
        seeds: that students must have; None: as many as the milestone with the most.
    """
    found: dict[tuple[str, int], dict[str, dict[int, Entry]]] = {}
    for row in rows:
        column = found.setdefault((row["method"], row.get("labels", 0)), {})
        column.setdefault(row["milestone"], {})[row.get("seed", 0)] = row
    columns = {}
    for column, by_milestone in sorted(found.items(), key=_order):
        wanted = set(seeds) if seeds is not None and column[1] else set().union(*by_milestone.values())
        if all(wanted and wanted <= by_milestone.get(name, {}).keys() for name in milestones):
            columns[column] = {name: [by_milestone[name][seed] for seed in sorted(wanted)] for name in milestones}
    return columns


def _order(item: tuple[tuple[str, int], Any]) -> tuple[int, str, int]:
    (method, labels), _ = item
    place = {"random": 0, "compass": 1, "planner": 2, "expert": 9}
    return place.get(method, 5), method, labels
