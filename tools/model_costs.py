#!/usr/bin/env python3
"""What the calls of language models cost, by run, model and role; and a run's calls as a file to publish.

    python -m tools.model_costs .milestone_trainer_cache/model_calls.sqlite
    python -m tools.model_costs model_calls.sqlite --run NAME --json
    python -m tools.model_costs model_calls.sqlite --run NAME --export published.sqlite

Also says what the provider's cache, batches, and answers that the file already had saved. The published file holds what the run
asked and was answered, without the servers' ids of requests. `--replay` repeats the run from it, without a key.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass

import tyro

from common.runtime.flags import parse_command_line


@dataclass
class Args:
    path: tyro.conf.Positional[str]
    """A file of calls."""
    run: str | None = None
    """Only this run. None tells of all."""
    export: str | None = None
    """Write the calls of `--run` to this new file. None writes nothing."""
    prices: str | None = None
    """A JSON file whose prices replace or add to the bundled ones, for calls whose dollars are unknown. None adds none."""
    json: bool = False
    """Print JSON instead of a table."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from rich.table import Table

from agent.llm.calls import CallFile, day_of
from agent.llm.prices import Prices, Usage, usage_of
from common.runtime.main import UserError, run_main
from common.runtime.plain_text import in_one_line
from common.runtime.progress import print_table


@dataclass
class Costs:
    """What the calls of one run, model and role cost. Dollars of calls without a price are not in here: see `unpriced`."""

    run: str
    model: str
    role: str
    calls: int = 0
    answered: int = 0
    input: int = 0
    """Tokens that were neither read from the provider's cache nor written to it."""
    cache_written: int = 0
    cache_read: int = 0
    output: int = 0
    dollars: float = 0.0
    unconfirmed: float = 0.0
    """The most that calls without a reply may have cost; those that are under way, too."""
    unpriced: int = 0
    """Calls whose dollars are unknown, as their model has no price."""
    found: int = 0
    """Answers that the file already had."""
    saved_by_cache: float = 0.0
    """Less than the same prompts without a cache; negative if writing to it cost more than reading from it saved."""
    saved_by_batch: float = 0.0
    saved_by_file: float = 0.0


def costs_of(calls: CallFile, prices: Prices, run: str | None = None) -> list[Costs]:
    """Return the costs by run, model and role, in the order of their first calls."""
    costs: dict[tuple[str, str, str], Costs] = {}

    def of(run: str, model: str, role: str) -> Costs:
        return costs.setdefault((run, model, role), Costs(run, model, role))

    for row in calls.rows(run):
        cost = of(row["run"], row["model"], row["role"])
        cost.calls += 1
        cost.answered += row["state"] == "answered"
        usage = None if row["usage"] is None else usage_of(row["backend"], json.loads(row["usage"]))
        dollars, batch, day = row["dollars"], row["batch"] is not None, day_of(row["sent"])
        if usage is not None:
            cost.input += usage.input
            cost.cache_written += usage.cache_write_5m + usage.cache_write_1h
            cost.cache_read += usage.cache_read
            cost.output += usage.output
            if dollars is None:
                dollars = prices.dollars(row["model"], usage, day, batch)
            entry = prices.entry(row["model"], day)
            if entry is not None and usage.dollars is None:
                bare = Usage(input=usage.prompt, output=usage.output)
                cost.saved_by_cache += entry.dollars(bare, batch) - entry.dollars(usage, batch)
                cost.saved_by_batch += entry.dollars(usage, False) - entry.dollars(usage, batch)
        if dollars is not None:
            cost.dollars += dollars
        elif row["worst"] is not None:
            cost.unconfirmed += row["worst"]
        else:
            cost.unpriced += 1
    for name, model, role, times, dollars in calls.found(run):
        cost = of(name, model, role)
        cost.found += times
        cost.saved_by_file += times * (dollars or 0.0)
    return list(costs.values())


def total(costs: list[Costs]) -> Costs:
    """Return the sum of all."""
    whole = Costs("all", "", "")
    for cost in costs:
        numbers = {name: value for name, value in asdict(cost).items() if not isinstance(value, str)}
        whole = replace(whole, **{name: getattr(whole, name) + value for name, value in numbers.items()})
    return whole


def rows_of(costs: list[Costs]) -> Iterator[list[str]]:
    for cost in [*costs, *([total(costs)] if len(costs) > 1 else [])]:
        spent = f"{cost.dollars:.4f}" + (f" + up to {cost.unconfirmed:.4f}" if cost.unconfirmed else "")
        spent += f" + unknown of {cost.unpriced}" if cost.unpriced else ""
        tokens = (f"{number:,}" for number in (cost.input, cost.cache_written, cost.cache_read, cost.output))
        saved = (f"{dollars:.4f}" for dollars in (cost.saved_by_cache, cost.saved_by_batch, cost.saved_by_file))
        names = (in_one_line(name) for name in (cost.run, cost.model, cost.role))
        yield [*names, f"{cost.calls:,}", *tokens, spent, *saved, f"{cost.found:,}"]


def main(args: Args) -> int:
    if args.export is not None and args.run is None:
        raise UserError("--export: needs --run, the name of the run to publish")
    with CallFile(args.path, write=False) as calls:
        costs = costs_of(calls, Prices(args.prices), args.run)
        if not costs:
            of_run = "" if args.run is None else f" of the run {args.run!r}"
            raise UserError(f"{args.path}: has no calls{of_run}; it has those of {', '.join(calls.runs()) or 'none'}")
        if args.export is not None and args.run is not None:
            number = calls.export(args.export, args.run)
            print(f"{args.export}: {number:,} calls of {in_one_line(args.run)}")
            return 0
    if args.json:
        described: list[dict[str, Any]] = [asdict(cost) for cost in costs]
        print(json.dumps(described, indent=2))
        return 0
    columns = ("run", "model", "role", "calls", "input", "cache written", "cache read", "output", "dollars")
    table = Table(*columns, "saved by cache", "by batch", "by the file", "found in it")
    for row in rows_of(costs):
        table.add_row(*row)
    print_table(table)
    return 0


if __name__ == "__main__":
    run_main("model_costs.py", lambda: main(args))
