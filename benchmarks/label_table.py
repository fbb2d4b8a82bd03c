"""What `benchmarks.label_audit` found out, in numbers: how often experts agree and are right, when they abstain, their costs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agent.llm.calls import day_of
from agent.llm.prices import Prices, usage_of
from agent.oracle import Answer
from benchmarks.label_cases import SCENES, Case
from common.statistics import percent, rate_text, wilson_interval
from pokemon_env.games.tallgrass import GAME

Answers = list[Answer | None]
"""One for each state. None where the expert was not asked: money was out, or it has no policy for the milestone."""


@dataclass(frozen=True)
class Cost:
    """What a model's answers cost, each on average, by the file of calls. None where that does not say."""

    answers: int
    """Those in the file that this is the average of."""
    dollars: float | None = None
    tokens_in: float | None = None
    tokens_out: float | None = None
    median_seconds: float | None = None
    slow_seconds: float | None = None
    """95 % took no longer."""


@dataclass(frozen=True)
class Result:
    """What an expert answered."""

    name: str
    answers: Answers
    cost: Cost | None = None
    """None for one that costs nothing."""


def cost_of(rows: Sequence[Mapping[str, Any]], prices: Prices) -> Cost:
    """Return what a model's answers cost on average. Dollars are computed anew: an answer that was found again has cost as well.

    rows: as `CallFile.rows` yields them, of the one model.
    """
    paid = [row for row in rows if row["state"] == "answered"]
    answers = sum(row["sample"] % 2 for row in paid)  # a malformed one is asked for again, as the next sample
    usages = [usage_of(row["backend"], json.loads(row["usage"] or "null")) for row in paid]
    known = [(row, usage) for row, usage in zip(paid, usages, strict=True) if usage is not None]
    if not answers or len(known) < len(paid):
        return Cost(answers)
    dollars = [prices.dollars(row["model"], usage, day_of(row["sent"])) for row, usage in known]
    seconds = [row["seconds"] for row, _ in known]
    return Cost(
        answers,
        None if None in dollars else sum(filter(None, dollars)) / answers,
        sum(usage.prompt for _, usage in known) / answers,
        sum(usage.output for _, usage in known) / answers,
        float(np.median(seconds)),
        float(np.quantile(seconds, 0.95)),
    )


def tally(cases: Sequence[Case], answers: Answers) -> dict[str, Any]:
    """Return how many were asked, agree, and are right, with the intervals of the two shares; and the abstentions by kind."""
    pairs = [(case, answer) for case, answer in zip(cases, answers, strict=True) if answer is not None]
    agree = sum(answer.action == case.action for case, answer in pairs)
    right = sum(answer.action in case.right for case, answer in pairs)
    kinds = Counter(str(answer.kind) for _, answer in pairs if answer.action is None)
    return {
        "asked": len(pairs), "agree": agree, "agree_interval": list(wilson_interval(agree, len(pairs))), "right": right,
        "right_interval": list(wilson_interval(right, len(pairs))), "abstained": dict(kinds.most_common()),
    }  # fmt: skip


def tally_by(cases: Sequence[Case], answers: Answers, field: str) -> dict[str, dict[str, Any]]:
    """Return value of a field of the cases -> `tally` of those cases."""
    found = {}
    for value in dict.fromkeys(getattr(case, field) for case in cases):
        numbers = [number for number, case in enumerate(cases) if getattr(case, field) == value]
        found[value] = tally([cases[number] for number in numbers], [answers[number] for number in numbers])
    return found


def record(cases: Sequence[Case], result: Result) -> dict[str, Any]:
    """Return what the JSON file holds of an expert."""
    return {
        "name": result.name, "cost": None if result.cost is None else asdict(result.cost), "all": tally(cases, result.answers),
        **{f"by_{field}": tally_by(cases, result.answers, field) for field in ("scene", "visitor", "milestone")},
        "answers": [None if answer is None else word_of(answer) for answer in result.answers],
    }  # fmt: skip


def described(case: Case) -> dict[str, Any]:
    """Return what the JSON file holds of a state."""
    buttons = [GAME.buttons[action].lower() for action in (case.action, *case.right)]
    return {
        "milestone": case.milestone, "visitor": case.visitor, "scene": case.scene, "expert": buttons[0], "right": buttons[1:],
    }  # fmt: skip


def word_of(answer: Answer) -> str:
    """Return an answer's button, or why there is none."""
    return f"none: {answer.kind}" if answer.action is None else GAME.buttons[answer.action].lower()


def markdown(cases: Sequence[Case], results: Sequence[Result], flags: str) -> str:
    """Return the tables.

    flags: of the command that made them.
    """
    visitors = ", ".join(f"{name} {count:,}" for name, count in sorted(Counter(case.visitor for case in cases).items()))
    where = f"{len(cases):,} states of {len({case.milestone for case in cases})} milestones (visited by: {visitors})"
    scenes = [scene for scene in SCENES if any(case.scene == scene for case in cases)]
    lines = [
        "# Models as experts",
        "",
        f"`python -m benchmarks.label_audit {flags}`".replace(" `", "`"),
        "",
        f"{where}. An answer agrees if it is the scripted expert's button, and is right if it is any button on a shortest path, "
        "where those are known. An abstention does neither. Intervals are Wilson's (95 %). Dollars and seconds are of answers as "
        "they were first given.",
        "",
        "| expert | agrees | is right | abstains | $ per 1,000 labels | seconds, median | 95 % of them |",
        "|-|-|-|-|-|-|-|",
    ]
    for result in results:
        whole = tally(cases, result.answers)
        abstained = sum(whole["abstained"].values())
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in whole["abstained"].items())
        share = f"{percent(abstained / max(whole['asked'], 1))}{f' ({kinds})' if kinds else ''}"
        cells = [_cell(result.name), *(rate_text(whole[name], whole["asked"]) for name in ("agree", "right")), share]
        lines.append(f"| {' | '.join([*cells, *_costs(result.cost)])} |")
    for title, name in (("Right", "right"), ("Agrees", "agree"), ("Abstains", "abstained")):
        lines += ["", f"| {title}, by scene | {' | '.join(scenes)} |", f"|-|{'-|' * len(scenes)}"]
        for result in results:
            found = tally_by(cases, result.answers, "scene")
            cells = [_share(found[scene], name) for scene in scenes]
            lines.append(f"| {' | '.join([_cell(result.name), *cells])} |")
    return "\n".join(lines) + "\n"


def _share(found: Mapping[str, Any], name: str) -> str:
    if name == "abstained":
        return percent(sum(found[name].values()) / found["asked"]) if found["asked"] else "-"
    return rate_text(found[name], found["asked"])


def _costs(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["-", "-", "-"]
    dollars = "unknown" if cost.dollars is None else f"{1000 * cost.dollars:.2f}"
    return [dollars, *("-" if one is None else f"{one:.2f}" for one in (cost.median_seconds, cost.slow_seconds))]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
