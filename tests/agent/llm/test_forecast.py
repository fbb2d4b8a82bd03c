"""What a run will cost is near to what it then costs, and nothing is asked for it."""

from __future__ import annotations

import pytest

from agent.llm.forecast import forecast
from tests.agent.llm.test_client import Asking, question
from tools.model_server import MODELS, Model, ModelServer

pytest.importorskip("anthropic")
pytest.importorskip("openai")


def test_a_forecast_is_near_to_what_the_run_costs(tmp_path):
    with ModelServer() as server:
        with Asking(tmp_path / "before", server) as asking:
            first = forecast(asking.client, [question(number) for number in range(20)], 200)
            assert (first.counted, first.used_before, first.output) == (True, False, 2048) and server.seen == []
        with Asking(tmp_path, server, run="earlier") as asking:
            asking.ask(*range(1000, 1030))
        with Asking(tmp_path, server) as asking:
            seen = len(server.seen)
            told = forecast(asking.client, [question(number) for number in range(20)], 200)
            assert told.used_before and told.output < 100 and len(server.seen) == seen
            answers = asking.ask(*range(200))
            tokens = sum(answer.usage.prompt for answer in answers)
            assert told.input * 200 == pytest.approx(tokens, rel=0.1)
            assert told.dollars(cache=True) == pytest.approx(asking.money.spent, rel=0.2)
            assert told.dollars(cache=True) < told.dollars() < told.dollars(most=True)
            assert told.dollars(batch=True) == pytest.approx(told.dollars() / 2)
            text = "\n".join(told.lines())
            assert "counted by the server" in text and "dollars, with cache and in batches: likely 0.0" in text


def test_in_batches(tmp_path):
    with ModelServer() as server, Asking(tmp_path, server) as asking:
        asking.ask(*range(1000, 1010))
        before = asking.money.spent
        told = forecast(asking.client, [question(number) for number in range(5)], 50)
        asking.client.ask_batch([question(number) for number in range(50)])
        assert told.dollars(cache=True, batch=True) == pytest.approx(asking.money.spent - before, rel=0.2)


def test_where_nobody_counts_it_is_estimated(tmp_path):
    with ModelServer(models={**MODELS, "local": Model()}) as server, Asking(tmp_path, server, "openai", model="local") as asking:
        told = forecast(asking.client, [question()], 3)
        assert not told.counted and told.dollars() is None and any("estimated" in line for line in told.lines())
        assert "has no price" in told.lines()[-1]
        assert told.input == pytest.approx(asking.ask(0)[0].usage.prompt, rel=0.5) and len(server.seen) == 1
