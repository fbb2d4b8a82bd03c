"""What tokens cost: by the day, by the prompt's length, by cache and batch; unknown is never nothing."""

from __future__ import annotations

import json
from datetime import date

import pytest

from agent.llm.prices import BUNDLED, PriceError, Prices, Usage, picture_tokens, usage_of

DAY = date(2026, 11, 28)
FLAT = {"from": "2026-01-01", "input": 1, "output": 10, "cache_write_5m": 2, "cache_write_1h": 4, "cache_read": 0.5, "batch": 0.5}
LONG = {"above": 1000, "input": 2, "output": 20, "cache_write_5m": 4, "cache_write_1h": 8, "cache_read": 1}


def priced(tmp_path, *entries, model="some-model"):
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"models": {model: list(entries)}}))
    return Prices(path)


def test_each_kind_of_token_has_its_price(tmp_path):
    prices = priced(tmp_path, FLAT)
    usage = Usage(input=1000, cache_write_5m=100, cache_write_1h=10, cache_read=2000, output=50, thinking=20)
    assert prices.dollars("some-model", usage, DAY) == pytest.approx((1000 + 200 + 40 + 1000 + 500) / 1e6)
    assert prices.dollars("some-model", usage, DAY, batch=True) == pytest.approx((1000 + 200 + 40 + 1000 + 500) / 2e6)


def test_the_day_of_the_call_counts(tmp_path):
    prices = priced(tmp_path, {**FLAT, "from": "2026-10-07", "input": 3}, FLAT)
    usage = Usage(input=1_000_000)
    days = [date(2025, 1, 1), date(2026, 10, 6), date(2026, 10, 7), DAY]
    assert [prices.dollars("some-model", usage, day) for day in days] == [1, 1, 3, 3]
    # A request that leaves on the evening before may be billed on the day after.
    assert prices.worst_case("some-model", 1_000_000, 0, date(2026, 10, 5)) == 4  # all of it written to the 1-hour cache
    before_a_rise = priced(tmp_path, FLAT, {**FLAT, "from": "2026-10-07", "input": 9, "output": 30})
    assert before_a_rise.worst_case("some-model", 0, 1_000_000, date(2026, 10, 6)) == 30


def test_a_long_prompt_costs_more_and_so_does_its_output(tmp_path):
    prices = priced(tmp_path, {**FLAT, "long_prompt": LONG})
    at, above = Usage(input=500, cache_read=500, output=10), Usage(input=500, cache_read=501, output=10)
    assert prices.dollars("some-model", at, DAY) == pytest.approx((500 + 250 + 100) / 1e6)
    assert prices.dollars("some-model", above, DAY) == pytest.approx((1000 + 501 + 200) / 1e6)


def test_the_worst_case_is_never_exceeded(tmp_path):
    prices = priced(tmp_path, {**FLAT, "long_prompt": LONG})
    for prompt in (0, 999, 1000, 1001, 5000):
        worst = prices.worst_case("some-model", prompt, 100, DAY)
        for part in ("input", "cache_write_5m", "cache_write_1h", "cache_read"):
            assert prices.dollars("some-model", Usage(**{part: prompt}, output=100), DAY) <= worst


def test_an_unknown_model_never_costs_nothing():
    prices = Prices()
    assert prices.dollars("who-knows", Usage(input=10**9), DAY) is None
    assert prices.worst_case("who-knows", 1, 1, DAY) is None
    assert "who-knows" not in prices
    with pytest.raises(PriceError, match='--max-cost: the price of who-knows is not known.*"who-knows": \\[\\{"from"'):
        prices.demand("who-knows")
    prices.demand("claude-haiku-5-5")
    assert prices.dollars("who-knows", Usage(input=10, dollars=0.25), DAY) == 0.25  # its server says it


def test_the_line_that_is_asked_for_is_one_that_is_read(tmp_path):
    with pytest.raises(PriceError) as error:
        Prices().demand("local")
    path = tmp_path / "mine.json"
    path.write_text(str(error.value).partition("such as ")[2])
    prices = Prices(path)
    assert prices.dollars("local", Usage(input=10), DAY) == 0  # said to be free, by its owner
    assert prices.models() == sorted([*Prices().models(), "local"])


def test_own_prices_replace_the_bundled_ones(tmp_path):
    prices = priced(tmp_path, FLAT, model="claude-haiku-5-5")
    assert prices.dollars("claude-haiku-5-5", Usage(input=1_000_000), DAY) == 1
    assert "claude-sonnet-5-5" in prices


def test_the_bundled_prices():
    prices = Prices()
    tenth = Usage(input=50_000, output=1000)
    assert prices.dollars("claude-haiku-5-5", tenth, DAY) == pytest.approx(0.0055)
    assert prices.dollars("claude-haiku-5-5", Usage(input=150_000), DAY) == pytest.approx(0.075)
    halved = [prices.dollars("claude-sonnet-5-5", Usage(cache_read=1_000_000), date(2026, 10, day)) for day in (6, 7)]
    assert halved == [0.2, 0.1]
    content = json.loads(BUNDLED.read_text())
    for model, entries in content["models"].items():
        for entry in entries:
            assert entry["source"] and date.fromisoformat(entry["checked"]) >= date(2026, 11, 1), model


BROKEN = {
    "[]": "has no object",
    "{": "is not JSON",
    '{"models": {"m": []}}': "m: needs a list",
    '{"models": {"m": [3]}}': "a price is an object",
    '{"models": {"m": [{}]}}': '"from" must be a date',
    json.dumps({"models": {"m": [{**FLAT, "input": -1}]}}): '"input" is -1, but must be',
    json.dumps({"models": {"m": [{**FLAT, "input": True}]}}): '"input" is True, but must be',
    '{"models": {"m": [{"from": "2026-01-01", "input": NaN}]}}': '"input" is nan, but must be',
    '{"models": {"m": [{"from": "2026-01-01", "input": 1}]}}': '"output" is missing',
    json.dumps({"models": {"m": [{**FLAT, "inputs": 1}]}}): "'inputs' is no part",
    json.dumps({"models": {"m": [FLAT, FLAT]}}): "two prices hold from the same day",
    json.dumps({"models": {"m": [{**FLAT, "long_prompt": {"above": 5}}]}}): '"input" is missing',
    json.dumps({"models": {"m": [{**FLAT, "long_prompt": {**LONG, "above": "x"}}]}}): '"long_prompt" needs "above"',
    json.dumps({"modls": {}, "models": {}}): "'modls' does not belong",
}


@pytest.mark.parametrize("text", BROKEN)
def test_broken_prices_are_told(tmp_path, text):
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(PriceError) as error:
        Prices(path)
    assert BROKEN[text] in str(error.value) and str(path) in str(error.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(PriceError, match="absent.json: cannot be read .*--prices"):
        Prices(tmp_path / "absent.json")


def test_usage_of_messages():
    raw = {
        "input_tokens": 10, "output_tokens": 7, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 200,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
        "output_tokens_details": {"thinking_tokens": 5}, "service_tier": "standard",
    }  # fmt: skip
    assert usage_of("anthropic", raw) == Usage(10, 20, 10, 200, 7, 5)
    assert usage_of("anthropic", raw).prompt == 240
    plain = {"input_tokens": 10, "output_tokens": 7, "cache_creation": None, "cache_read_input_tokens": None}
    assert usage_of("anthropic", plain) == Usage(10, output=7)


def test_usage_of_chat_completions_holds_the_cached_tokens_twice():
    raw = {
        "prompt_tokens": 240, "completion_tokens": 7, "total_tokens": 247, "cost": 0.0125,
        "prompt_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }  # fmt: skip
    assert usage_of("openai", raw) == Usage(10, 30, 0, 200, 7, 5, 0.0125)
    assert usage_of("openai", {"prompt_tokens": 3, "completion_tokens": 1}) == Usage(3, output=1)


@pytest.mark.parametrize(
    "raw",
    [None, {}, [], {"input_tokens": 1}, {"input_tokens": -1, "output_tokens": 1}, {"input_tokens": "1", "output_tokens": 1},
     {"prompt_tokens": 3}, {"prompt_tokens": 3, "completion_tokens": True},
     {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}],
)  # fmt: skip
def test_what_is_no_usage(raw):
    assert usage_of("anthropic", raw) is None and usage_of("openai", raw) is None


def test_pictures_cost_by_their_size():
    assert picture_tokens("anthropic", 288, 320) == 11 * 12
    assert picture_tokens("openai", 288, 320) == max(-(-246 * 90 // 100), 255)
