"""What tokens cost.

Prices change, so each has the date from which it holds: a call is paid by the prices of its day, also when its dollars are computed
anew years later. The bundled file, `prices.json`, says where each price was read, and when. A model that is not in it never costs
nothing: its dollars are unknown (None).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeGuard

from common.runtime.main import UserError
from pokemon_env.bounded_files import read_file

Backend = Literal["anthropic", "openai"]
"""The Messages API, or chat completions (of any server)."""

BUNDLED = Path(__file__).with_name("prices.json")

_MILLION = 1_000_000
_MOST = 1e9
_MOST_BYTES = 1 << 24
_NOTES = ("source", "checked")
_LONG = "long_prompt"


class PriceError(UserError, ValueError):
    """Prices that cannot be used, or that are missing; the text says which, and what to do."""


@dataclass(frozen=True)
class Usage:
    """The tokens of one reply, in one form for all servers. No token counts twice."""

    input: int = 0
    """Input that was neither read from a cache nor written to one."""
    cache_write_5m: int = 0
    """Input written to the cache for 5 minutes, or for as long as the server's ordinary cache keeps it."""
    cache_write_1h: int = 0
    cache_read: int = 0
    output: int = 0
    """All output, thinking included."""
    thinking: int | None = None
    """The part of `output` that was thinking; None where the server does not tell."""
    dollars: float | None = None
    """The price that the reply itself names; None where it names none."""

    @property
    def prompt(self) -> int:
        """All input: by this, prices of long prompts are chosen."""
        return self.input + self.cache_write_5m + self.cache_write_1h + self.cache_read


def usage_of(backend: Backend, raw: object) -> Usage | None:
    """Bring a reply's own `usage` to one form; None if it is missing, or is none.

    Chat completions count cached tokens inside `prompt_tokens`, Messages do not. OpenRouter adds `cost`, in dollars.
    """
    if not isinstance(raw, Mapping):
        return None
    if backend == "anthropic":
        thinking = _counts(_of(raw, "output_tokens_details").get("thinking_tokens"))
        counts = _counts(
            raw.get("input_tokens"),
            raw.get("output_tokens"),
            raw.get("cache_creation_input_tokens") or 0,
            raw.get("cache_read_input_tokens") or 0,
            _of(raw, "cache_creation").get("ephemeral_1h_input_tokens") or 0,
        )
        if counts is None or counts[4] > counts[2]:
            return None
        new, output, written, read, hour = counts
        return Usage(new, written - hour, hour, read, output, thinking[0] if thinking else None)
    details = _of(raw, "prompt_tokens_details")
    thinking = _counts(_of(raw, "completion_tokens_details").get("reasoning_tokens"))
    counts = _counts(
        raw.get("prompt_tokens"),
        raw.get("completion_tokens"),
        details.get("cached_tokens") or 0,
        details.get("cache_write_tokens") or 0,
    )
    if counts is None or counts[2] > counts[0]:
        return None
    prompt, output, read, written = counts
    written = min(written, prompt - read)
    cost = raw.get("cost")
    named = float(cost) if _is_amount(cost) else None
    return Usage(prompt - read - written, written, 0, read, output, thinking[0] if thinking else None, named)


def picture_tokens(backend: Backend, height: int, width: int) -> int:
    """Return how many tokens a picture of this size costs at most, by the providers' formulas.

    Anthropic counts a token for each 28x28 pixels. OpenAI counts 32x32 pixels times a factor of the model, up to 2.46, or 85 and
    then 170 for each 512x512 pixels: the larger counts.
    """
    if backend == "anthropic":
        return math.ceil(height / 28) * math.ceil(width / 28)
    patches = math.ceil(2.46 * math.ceil(height / 32) * math.ceil(width / 32))
    return max(patches, 85 + 170 * math.ceil(height / 512) * math.ceil(width / 512))


@dataclass(frozen=True)
class Price:
    """Dollars a million tokens."""

    input: float
    output: float
    cache_write_5m: float
    cache_write_1h: float
    cache_read: float

    def dollars(self, usage: Usage) -> float:
        """Return what these tokens cost."""
        return sum(getattr(self, one.name) * getattr(usage, one.name) for one in fields(self)) / _MILLION


@dataclass(frozen=True)
class Entry:
    """A model's prices from one day on."""

    since: date
    price: Price
    batch: float
    """The factor for requests of a batch."""
    above: int | None = None
    """A prompt of more tokens than this costs `long`, and so does all of its request; None if there is no such limit."""
    long: Price | None = None

    def dollars(self, usage: Usage, batch: bool) -> float:
        """Return what a request cost."""
        price = self.long if self.long is not None and self.above is not None and usage.prompt > self.above else self.price
        return price.dollars(usage) * (self.batch if batch else 1.0)

    def worst_case(self, prompt: int, output: int, batch: bool) -> float:
        """Return the most that a request of so many tokens can cost, whatever the cache does."""
        prices = [self.price]
        if self.long is not None and self.above is not None and prompt > self.above:
            prices.append(self.long)
        dearest = max(max(p.input, p.cache_write_5m, p.cache_write_1h, p.cache_read) * prompt + p.output * output for p in prices)
        return dearest / _MILLION * (self.batch if batch else 1.0)


class Prices:
    """The prices of all known models.

    Args:
        path: of a file of the same form as the bundled one, whose models replace or add to the bundled ones. None adds none.

    Raises PriceError.
    """

    def __init__(self, path: str | Path | None = None):
        self._models = dict(_read(BUNDLED))
        if path is not None:
            self._models.update(_read(Path(path)))

    def __contains__(self, model: str) -> bool:
        return model in self._models

    def models(self) -> list[str]:
        """Return the names of all models with a price."""
        return sorted(self._models)

    def entry(self, model: str, when: date) -> Entry | None:
        """Return a model's prices of a day. A day before its first price has the first. None for an unknown model."""
        entries = self._models.get(model)
        if entries is None:
            return None
        return next((one for one in reversed(entries) if one.since <= when), entries[0])

    def dollars(self, model: str, usage: Usage, when: date, batch: bool = False) -> float | None:
        """Return what a reply cost: the price it names itself, else by its tokens; None if that is unknown."""
        if usage.dollars is not None:
            return usage.dollars
        entry = self.entry(model, when)
        return None if entry is None else entry.dollars(usage, batch)

    def worst_case(self, model: str, prompt: int, output: int, when: date, batch: bool = False) -> float | None:
        """Return the most that a request can cost; None for an unknown model.

        The dearer of today's prices and the next: a request that is sent in the evening may be billed on the next day.
        """
        if model not in self._models:
            return None
        days = (when, date.fromordinal(when.toordinal() + 1))
        entries = [entry for day in days if (entry := self.entry(model, day)) is not None]
        return max(entry.worst_case(prompt, output, batch) for entry in entries)

    def demand(self, model: str) -> None:
        """Raise PriceError, with the line that a file of prices needs, unless a model has a price."""
        if model in self._models:
            return
        line = {"from": date.today().isoformat(), "input": 0.0, "output": 0.0, "cache_write_5m": 0.0, "cache_write_1h": 0.0}
        line |= {"cache_read": 0.0, "batch": 0.5}
        example = json.dumps({"models": {model: [line]}})
        raise PriceError(
            f"--max-cost: the price of {model} is not known; name a file with --prices that says what a million of its tokens cost "
            f"in dollars, such as {example}"
        )


def _of(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = raw.get(name)
    return part if isinstance(part, Mapping) else {}


def _is_amount(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number that one can count with: of a larger one, dollars and sums would be infinite, or none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST


def _counts(*values: object) -> list[int] | None:
    """Return the values if all are numbers of tokens that there can be, else None."""
    counts = [value for value in values if _is_amount(value) and isinstance(value, int)]
    return counts if len(counts) == len(values) else None


def _read(path: Path) -> dict[str, list[Entry]]:
    """Return the models of a file of prices. Raises PriceError."""
    try:
        content = json.loads(read_file(path, _MOST_BYTES))
    except OSError as error:
        raise PriceError(f"{path}: cannot be read ({error.strerror or error}); is the name after --prices right?") from error
    except (ValueError, RecursionError) as error:
        raise PriceError(f"{path}: is not JSON ({error}); mend it, or leave out --prices") from error
    complain = functools.partial(_complaint, path)
    if not isinstance(content, dict) or not isinstance(content.get("models"), dict):
        raise complain('has no object "models"')
    if further := [name for name in content if name not in ("models", "about")]:
        raise complain(f"{further[0]!r} does not belong there")
    models = {}
    for model, entries in content["models"].items():
        if not isinstance(entries, list) or not entries:
            raise complain(f"{model}: needs a list of prices")
        models[model] = sorted((_entry(path, model, entry) for entry in entries), key=lambda entry: entry.since)
        if len({entry.since for entry in models[model]}) < len(entries):
            raise complain(f"{model}: two prices hold from the same day")
    return models


def _entry(path: Path, model: str, raw: object) -> Entry:
    complain = functools.partial(_complaint, path)
    if not isinstance(raw, dict):
        raise complain(f"{model}: a price is an object")
    names = [one.name for one in fields(Price)]
    allowed = {"from", "batch", _LONG, *names, *_NOTES}
    if further := [name for name in raw if name not in allowed]:
        raise complain(f"{model}: {further[0]!r} is no part of a price")
    try:
        since = date.fromisoformat(raw["from"])
    except (KeyError, TypeError, ValueError):
        raise complain(f'{model}: "from" must be a date such as 2026-10-07') from None
    above, long = None, raw.get(_LONG)
    if long is not None:
        above = _counts(long.get("above")) if isinstance(long, dict) else None
        if above is None:
            raise complain(f'{model}: "{_LONG}" needs "above", a number of tokens, and prices')
        if further := [name for name in long if name not in ("above", *names)]:
            raise complain(f"{model}: {further[0]!r} is no part of a price")
    return Entry(
        since,
        Price(**{name: _number(path, model, name, raw.get(name)) for name in names}),
        _number(path, model, "batch", raw.get("batch", 1.0)),
        above[0] if above else None,
        None if long is None else Price(**{name: _number(path, model, name, long.get(name)) for name in names}),
    )


def _number(path: Path, model: str, name: str, value: object) -> float:
    if not _is_amount(value):
        said = "is missing" if value is None else f"is {repr(value)[:40]}"
        raise _complaint(path, f'{model}: "{name}" {said}, but must be a number of dollars, at least 0 and at most {_MOST:g}')
    return float(value)


def _complaint(path: Path, what: str) -> PriceError:
    return PriceError(f"{path}: {what}; agent/llm/prices.json shows the form")
