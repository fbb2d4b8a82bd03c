"""What a run will cost, said before anything is asked.

    forecast(client, questions[:20], number=10_000).lines()

Real questions are counted by the server, which costs nothing, or estimated where it can't. What the model will write is known from
the file's earlier calls of the same model, or else is the most that it may write.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import fmean

import numpy as np
from rich.table import Table

from agent.llm.client import ModelClient, Question
from agent.llm.prices import Entry, Usage, picture_tokens

_BYTES_OF_A_TOKEN = 4.0


@dataclass(frozen=True)
class Forecast:
    """Tokens of one question, on average, and what all of them cost."""

    model: str
    questions: int
    input: float
    fixed: float
    """Those of `input` that all questions begin with: a provider may cache them."""
    output: float
    """What the model will likely write."""
    most_output: int
    counted: bool
    """The server has counted the input; False if it is estimated."""
    used_before: bool
    """`output` is the mean of earlier calls; False if there were none, and it is the most."""
    entry: Entry | None
    """The model's prices; None if they are not known."""

    def dollars(self, *, most: bool = False, cache: bool = False, batch: bool = False) -> float | None:
        """Return what all questions cost; None if the model has no price.

        Args:
            most: each answer is as long as it may be, else as long as it likely is.
            cache: what all questions begin with is written to the provider's cache once, and then read.
            batch: the questions are asked in batches.
        """
        if self.entry is None:
            return None
        output = self.most_output if most else self.output
        read = round(self.fixed) if cache and self.questions > 1 else 0
        usage = Usage(input=round(self.input) - read, cache_read=read, output=round(output))
        first = replace(usage, cache_read=0, cache_write_5m=read)
        return self.entry.dollars(first, batch) + self.entry.dollars(usage, batch) * (self.questions - 1)

    def notes(self) -> list[str]:
        """Return where the numbers are from, in words."""
        how = "counted by the server" if self.counted else "estimated: the server does not count them"
        output = "as in its earlier calls" if self.used_before else "the most that it may write, as it was not used before"
        lines = [
            f"input: {self.input:,.0f} tokens each ({how}); all begin with the same {self.fixed:,.0f}",
            f"output: {self.output:,.0f} tokens each ({output}), at most {self.most_output:,}",
        ]
        return lines if self.entry else [*lines, f"dollars: unknown, as {self.model} has no price; name a file with --prices"]

    def lines(self) -> list[str]:
        """Return it in words."""
        lines = [f"{self.questions:,} questions to {self.model}", *self.notes()]
        if self.entry is None:
            return lines
        for cache in (False, True):
            for batch in (False, True):
                likely, most = (self.dollars(most=one, cache=cache, batch=batch) for one in (False, True))
                how = " and ".join([*["with cache"] * cache, *["in batches"] * batch]) or "plain"
                lines.append(f"dollars, {how}: likely {likely:,.2f}, at most {most:,.2f}")
        return lines


def cost_table(cases: Mapping[str, Forecast]) -> Table:
    """Return a table of what questions cost, with and without the provider's cache, and as batches.

    cases: names, such as "likely" and "most", and how many questions they mean.
    """
    table = Table("", "questions", "tokens in", "tokens out", "plain", "cache", "batch", "cache and batch")
    for name, case in cases.items():
        most = name == "most"
        output = case.most_output if most else case.output
        cells = []
        for cache, batch in ((False, False), (True, False), (False, True), (True, True)):
            dollars = case.dollars(most=most, cache=cache, batch=batch)
            cells.append("unknown" if dollars is None else f"${dollars:,.2f}")
        table.add_row(
            name, f"{case.questions:,}", f"{case.input * case.questions:,.0f}", f"{output * case.questions:,.0f}", *cells
        )
    return table


def forecast(client: ModelClient, samples: Sequence[Question], number: int) -> Forecast:
    """Return what a number of questions like the samples will cost. Asks nothing that costs."""
    settings = client.settings
    counts = [client.count_tokens(question) for question in samples]
    counted = None not in counts
    known = [_estimated(client, question) if count is None else count for question, count in zip(samples, counts, strict=True)]
    bare = replace(samples[0], parts=("x",))
    fixed = (client.count_tokens(bare) if counted else None) or _estimated(client, bare)
    earlier = [usage.output for usage in client.calls.usages(settings.backend, settings.model, samples[0].role)]
    output = min(fmean(earlier), settings.max_tokens) if earlier else settings.max_tokens
    entry = client.prices.entry(settings.model, datetime.now(UTC).date())
    return Forecast(
        settings.model, number, fmean(known), min(float(fixed), fmean(known)), output, settings.max_tokens, counted, bool(earlier),
        entry,
    )  # fmt: skip


def _estimated(client: ModelClient, question: Question) -> int:
    texts = [question.fixed, *(part for part in question.parts if isinstance(part, str))]
    tokens = sum(len(text.encode("utf-8", "replace")) for text in texts) / _BYTES_OF_A_TOKEN
    pictures = [part for part in question.parts if isinstance(part, np.ndarray)]
    return math.ceil(tokens) + sum(picture_tokens(client.settings.backend, *part.shape[:2]) for part in pictures)
