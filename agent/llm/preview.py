"""What questions to a model will cost, before one is asked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich.table import Table

from agent.llm.client import ModelClient, Question
from agent.llm.prices import Prices, Usage, picture_tokens
from agent.llm.prompts import estimated_tokens

SAMPLED = 20
"""Questions whose tokens are counted."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of one question, on average."""

    prompt: float
    """All that is sent."""
    fixed: float
    """Of `prompt`, what all questions begin with, and a provider may keep."""
    output: float
    counted: bool
    """Whether the server counted `prompt`, or it is estimated."""
    known_output: bool
    """Whether `output` is the mean of earlier calls of this model, or the most that is allowed."""


def tokens_of(client: ModelClient, questions: Sequence[Question], earlier: Iterable[Mapping[str, Any]]) -> Tokens:
    """Count the tokens of some questions, on the server where it counts for nothing. Asks nothing.

    Args:
        client: of the model.
        questions: a few of those that will be asked.
        earlier: calls of any run, as `CallFile.rows` yields them: their replies' lengths are taken for these.
    """
    counts = [client.count_tokens(question) for question in questions]
    counted = [count for count in counts if count is not None]
    if len(counted) == len(questions):
        bare = client.count_tokens(replace(questions[0], fixed=""))
        fixed = counted[0] - (bare if bare is not None else counted[0] - estimated_tokens(questions[0].fixed))
        prompt = float(np.mean(counted))
    else:
        prompt = float(np.mean([_estimate(client, question) for question in questions]))
        fixed = estimated_tokens(questions[0].fixed)
    settings, role = client.settings, questions[0].role
    theirs = (row["usage"] for row in earlier if (row["model"], row["role"], row["kind"]) == (settings.model, role, None))
    outputs = [count for usage in theirs if (count := _output(usage))]
    mean = float(np.mean(outputs)) if outputs else float(settings.max_tokens)
    return Tokens(prompt, float(fixed), mean, len(counted) == len(questions), bool(outputs))


def _estimate(client: ModelClient, question: Question) -> int:
    tokens = estimated_tokens(question.fixed)
    for part in question.parts:
        tokens += estimated_tokens(part) if isinstance(part, str) else picture_tokens(client.settings.backend, *part.shape[:2])
    return tokens


def _output(usage: str | None) -> int:
    """Return the tokens of a reply, as either API names them; 0 if it says none. usage: JSON, as the file of calls keeps it."""
    found = json.loads(usage) if usage else {}
    count = found.get("output_tokens", found.get("completion_tokens", 0))
    return count if isinstance(count, int) else 0


def dollars_of(prices: Prices, model: str, tokens: Tokens, questions: float, *, cache: bool, batch: bool) -> float | None:
    """Return what so many questions cost; None if the model's price is unknown.

    cache: the provider keeps what they begin with: it is written once, and read by all others.
    """
    if questions <= 0:
        return 0.0
    entry = prices.entry(model, datetime.now(UTC).date())
    if entry is None:
        return None
    if not cache:
        return questions * entry.dollars(Usage(input=math.ceil(tokens.prompt), output=math.ceil(tokens.output)), batch)
    rest, fixed, output = (math.ceil(count) for count in (tokens.prompt - tokens.fixed, tokens.fixed, tokens.output))
    first = entry.dollars(Usage(input=rest, cache_write_5m=fixed, output=output), batch)
    return first + (questions - 1) * entry.dollars(Usage(input=rest, cache_read=fixed, output=output), batch)


def cost_table(prices: Prices, model: str, tokens: Tokens, questions: Mapping[str, float]) -> Table:
    """Return a table of what questions cost, with and without the provider's cache, and as batches at half the price.

    questions: how many, under the names of the cases, such as "likely" and "most".
    """
    table = Table("", "questions", "tokens in", "tokens out", "plain", "cache", "batch", "cache and batch", title=model)
    for case, count in questions.items():
        cells = []
        for cache, batch in ((False, False), (True, False), (False, True), (True, True)):
            dollars = dollars_of(prices, model, tokens, count, cache=cache, batch=batch)
            cells.append("unknown" if dollars is None else f"${dollars:,.2f}")
        table.add_row(case, f"{count:,.0f}", f"{count * tokens.prompt:,.0f}", f"{count * tokens.output:,.0f}", *cells)
    return table


def notes(tokens: Tokens, model: str, max_tokens: int) -> list[str]:
    """Return lines that say where the numbers are from."""
    counted = "counted by the server" if tokens.counted else "estimated: the server does not count them"
    lines = [f"{tokens.prompt:,.0f} tokens a question ({counted}), of which all share {tokens.fixed:,.0f}."]
    if tokens.known_output:
        lines.append(f"{tokens.output:,.0f} tokens an answer, the mean of earlier calls of {model} in the file of calls.")
    else:
        lines.append(f"{max_tokens:,} tokens an answer, the most that --expert-max-tokens allows: this file has no earlier calls.")
    return lines
