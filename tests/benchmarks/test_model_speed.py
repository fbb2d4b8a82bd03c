"""The measurement of labels by a language model, small."""

from __future__ import annotations

import pytest

from benchmarks.speed.model import Args, main

pytest.importorskip("anthropic")


@pytest.mark.slow
def test_all_that_can_be_answered_is_right(capsys):
    assert main(Args(questions=60, seconds=0.02, faults="529, reset", timeout=10.0)) == 0
    text = capsys.readouterr().out
    assert '{"right": 59}' in text and "MB more memory" in text and "59 questions to anthropic" in text
