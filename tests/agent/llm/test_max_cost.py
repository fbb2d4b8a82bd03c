"""No run costs more than its --max-cost: whatever models cost, servers answer, and whenever processes are killed."""

from __future__ import annotations

import asyncio
import json
import random
from concurrent.futures import as_completed
from datetime import UTC, datetime

import pytest

from agent.llm import client as client_module
from agent.llm.calls import CallFile
from agent.llm.client import ModelClient, ModelSettings, Question
from agent.llm.prices import Prices, Usage

CENT = 1e-9
"""Sums of floats differ in their last digits."""


class Killed(BaseException):
    """The process is ended: nothing more is written."""


class Provider:
    """What the money is paid to: it answers, errs, bills, and never bills more than its prices allow."""

    def __init__(self, rng, prices, client, limit):
        self.rng, self.prices, self.client, self.limit = rng, prices, client, limit
        self.billed = 0.0
        self.kill_after = None

    async def post(self, path, body):
        if self.kill_after is not None:
            self.kill_after -= 1
            if self.kill_after <= 0:
                self.bill(body, self.rng.random() < 0.5)
                raise Killed
        await asyncio.sleep(0)
        fault = self.rng.choices(
            ["none", "lost", "timeout", "cut", 529, 500, 429, 504, 400, "unknown", "refusal"],
            [8, 1, 1, 1, 1, 1, 0.3, 0.5, 0.5, 1, 1],
        )[0]
        if isinstance(fault, int):
            return fault, {"retry-after-ms": "0"}, json.dumps({"error": {"message": "no"}})
        usage = self.bill(body, fault in ("none", "unknown", "refusal") or self.rng.random() < 0.5)
        if fault == "lost":
            raise OSError("the connection was lost")
        if fault == "timeout":
            raise TimeoutError
        text = json.dumps({"button": "TURBO" if fault == "unknown" else "A"})
        reply = {
            "type": "message", "role": "assistant", "stop_reason": "refusal" if fault == "refusal" else "end_turn",
            "content": [{"type": "text", "text": text}], "usage": usage,
        }  # fmt: skip
        whole = json.dumps(reply)
        return 200, {}, whole[: len(whole) // 2] if fault == "cut" else whole

    def bill(self, body, really):
        """Return the usage of a request, and add its price to the bill."""
        most = 500 + len(json.dumps(body["messages"])) + len(json.dumps(body.get("system", "")))
        most = min(most, 500 + sum(len(block["text"].encode()) for block in [*body["messages"][0]["content"], *body["system"]]))
        prompt, output = self.rng.randint(1, most), self.rng.randint(0, body["max_tokens"])
        written = self.rng.randint(0, prompt)
        read = self.rng.randint(0, prompt - written)
        hour = self.rng.randint(0, written)
        if really:
            counted = Usage(prompt - written - read, written - hour, hour, read, output)
            self.billed += self.prices.dollars("m", counted, datetime.now(UTC).date())
            assert self.billed <= self.limit + CENT, (self.billed, self.limit)
        return {
            "input_tokens": prompt - written - read, "output_tokens": output, "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read, "cache_creation": {"ephemeral_1h_input_tokens": hour},
        }  # fmt: skip


def random_prices(rng, path):
    def price():
        return {
            name: rng.choice([0.0, rng.uniform(0, 5), rng.uniform(0, 500)])
            for name in ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
        }

    entry = {"from": "2026-01-01", "batch": 0.5, **price()}
    entry["output"] += 0.01  # what costs nothing at all is no test
    if rng.random() < 0.4:
        entry["long_prompt"] = {"above": rng.randint(100, 2000), **price()}
    path.write_text(json.dumps({"models": {"m": [entry]}}))
    return Prices(path)


def one_run(calls, name, rng, folder):
    """Play a run of some processes, the last of which asks until there is no money. Returns how many were killed."""
    prices = random_prices(rng, folder / "prices.json")
    settings = ModelSettings(
        "m", "anthropic", "http://127.0.0.1:9", "a-key-of-some-length", "K", tries=rng.randint(1, 3),
        concurrency=rng.choice([1, 2, 8]), max_tokens=rng.randint(1, 300),
    )  # fmt: skip
    schema = {"type": "object", "properties": {"button": {"enum": ["A", "B"]}}, "required": ["button"]}
    questions = [Question("rules " * rng.randint(1, 40), (f"{name} {number}",), schema) for number in range(20)]
    limit, provider, killed = None, None, 0
    for _ in range(rng.randint(1, 3)):
        if limit is None:
            probe = ModelClient(settings, calls, prices, name)
            limit = max(probe.worst_case(question) for question in questions) * rng.uniform(1.0, 8.0)
        client = ModelClient(settings, calls, prices, name, max_cost=limit, say=lambda text: None)
        client._pool = lambda: None
        provider = provider or Provider(rng, prices, client, limit)
        provider.kill_after = rng.randint(1, 12) if rng.random() < 0.4 else None
        client._post = provider.post
        futures = [client.ask_soon(question) for question in rng.sample(questions, rng.randint(1, len(questions)))]
        answers, was_killed = [], False
        try:
            answers = [future.result() for future in as_completed(futures)]
        except Killed:
            was_killed = True
            killed += 1
            client._calls = None  # it writes no more
        client.close()
        with calls._lock:
            calls._connection.execute("UPDATE calls SET owner = '0 gone' WHERE state = 'under way'")
        money = calls.money(name)
        assert money.held <= limit + CENT and money.under_way == 0
        assert provider.billed <= money.held + CENT  # nothing that was paid is forgotten
        if not was_killed and client.left == 0:
            assert limit - money.held < max(client.worst_case(question) for question in questions) + CENT
            assert any(answer.kind == "no money" for answer in answers)
    return killed


@pytest.fixture
def calls(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "BACK_OFF_SECONDS", 0.0)
    monkeypatch.setattr(client_module, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(client_module, "FIRST_RATE", 1e6)
    with CallFile(tmp_path / "calls.sqlite") as calls:
        calls._connection.execute("PRAGMA synchronous = OFF")  # no power fails here, and the disk is slow
        yield calls


@pytest.mark.parametrize("first, number", [(0, 40), pytest.param(40, 960, marks=pytest.mark.slow)])
def test_no_run_costs_more_than_it_may(tmp_path, calls, first, number):
    killed = sum(one_run(calls, f"run {seed}", random.Random(seed), tmp_path) for seed in range(first, first + number))
    assert killed > number / 10
