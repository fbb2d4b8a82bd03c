"""What calls cost, and what cache, batch and the file saved; a run's calls to publish."""

from __future__ import annotations

import json
from datetime import date

import pytest

from agent.llm.calls import Call, CallFile, CallFileError, Outcome, Request, Sent
from agent.llm.prices import Prices, Usage
from common.runtime.main import UserError
from tools.model_costs import Args, costs_of, main, total

MODEL = "claude-opus-5"  # 5, 25, 6.25 and 0.5 dollars a million tokens: input, output, written and read
USAGE = {"input_tokens": 100, "output_tokens": 40, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 1000}


def request(number, model=MODEL):
    return Request("anthropic", model, 100, "rules", (f"state {number}",), None)


def answered(dollars, usage=USAGE):
    return Outcome("answered", dollars, 200, usage=usage, reply='{"id": "msg_1"}', request_id="req_1")


@pytest.fixture
def path(tmp_path):
    """A run that asked for two labels, in vain for a third, and for a policy; one in a batch; one that found what was there."""
    path = tmp_path / "calls.sqlite"
    dollars = Prices().entry(MODEL, date(2026, 11, 1)).dollars(Usage(100, 0, 0, 1000, 40), False)
    assert dollars == pytest.approx(0.002)
    with CallFile(path) as calls:
        for number, role in ((0, "label"), (1, "label"), (2, "policy")):
            calls.end(calls.begin(request(number), Call("one", role), 1.0, None, 60), answered(dollars))
        calls.end(calls.begin(request(3), Call("one", "label"), 0.25, None, 60), Outcome("failed", None, kind="timeout"))
        (sent,), batch = calls.begin_batch_soon([(request(4), Call("batched", "label"), 0.5)], None, 60).result()
        assert isinstance(sent, Sent)
        calls.end_batch_soon(batch, {request(4).key.hex(): answered(dollars / 2)}).result()
        for _ in range(3):
            calls.begin(request(0), Call("frugal", "label"), 1.0, None, 60)
        calls.end(calls.begin(request(5, "local"), Call("free", "label"), None, None, 60), answered(None))
    return path


def test_costs_by_run_model_and_role(path):
    with CallFile(path, write=False) as calls:
        found = {(cost.run, cost.role): cost for cost in costs_of(calls, Prices())}
        assert found.keys() == {("one", "label"), ("one", "policy"), ("batched", "label"), ("frugal", "label"), ("free", "label")}
        one = found["one", "label"]
        assert (one.calls, one.answered, one.input, one.cache_read, one.output) == (3, 2, 200, 2000, 80)
        assert (one.dollars, one.unconfirmed, one.unpriced) == (pytest.approx(0.004), 0.25, 0)
        assert one.saved_by_cache == pytest.approx(2 * 1000 * 4.5e-6) and one.saved_by_batch == one.saved_by_file == 0
        batched = found["batched", "label"]
        assert batched.dollars == pytest.approx(0.001) and batched.saved_by_batch == pytest.approx(0.001)
        frugal = found["frugal", "label"]
        assert (frugal.calls, frugal.found, frugal.dollars) == (0, 3, 0.0) and frugal.saved_by_file == pytest.approx(0.006)
        assert (found["free", "label"].unpriced, found["free", "label"].dollars) == (1, 0.0)
        whole = total(list(found.values()))
        assert whole.calls == 6 and whole.dollars == pytest.approx(0.007) and whole.unpriced == 1
        assert [cost.run for cost in costs_of(calls, Prices(), "batched")] == ["batched"]


def test_what_had_no_price_is_computed_anew(path, tmp_path):
    entry = {"from": "2026-01-01", "input": 1, "output": 1, "cache_write_5m": 1, "cache_write_1h": 1, "cache_read": 1}
    (tmp_path / "prices.json").write_text(json.dumps({"models": {"local": [entry]}}))
    with CallFile(path, write=False) as calls:
        (free,) = costs_of(calls, Prices(tmp_path / "prices.json"), "free")
        assert (free.unpriced, free.dollars) == (0, pytest.approx(0.00114))


def test_it_is_printed(path, capsys):
    main(Args(str(path)))
    text = capsys.readouterr().out
    assert "claude-opus-5" in text and "unknown of 1" in text.replace("\n", " ") and "\nall" in text.replace(" all", "\nall")
    main(Args(str(path), run="one", json=True))
    assert [row["role"] for row in json.loads(capsys.readouterr().out)] == ["label", "policy"]


def test_a_run_is_exported(path, tmp_path, capsys):
    out = tmp_path / "published.sqlite"
    main(Args(str(path), run="frugal", export=str(out)))
    assert "1 calls of frugal" in capsys.readouterr().out
    with CallFile(out, write=False) as calls:
        assert calls.find(request(0)) is not None and calls.find(request(1)) is None
    assert b"msg_1" not in out.read_bytes() and b"req_1" not in out.read_bytes()


def test_what_is_wrong_is_told(path, tmp_path):
    for wrong, complaint in (
        (Args(str(path), export="x"), "--export: needs --run"),
        (Args(str(path), run="two"), "has no calls of the run 'two'; it has those of batched, free, frugal, one"),
        (Args(str(tmp_path / "absent.sqlite")), "absent.sqlite: is not there"),
    ):
        with pytest.raises((UserError, CallFileError), match=complaint):
            main(wrong)
    with pytest.raises(CallFileError, match="is there already"):
        main(Args(str(path), run="one", export=str(path)))
