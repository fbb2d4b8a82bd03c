"""Files from strangers whose form is right and whose contents are not: what a third round of hostile ones was.

The rounds before are in `tests/test_hostile_files.py` and `tests/test_hostile_policies.py`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from agent.sandbox import PolicyOracle
from common.plain_text import in_one_line
from common.run_logging import ProgressReport, print_table
from pokemon_env.games.tallgrass import GAME
from tests.sandboxed import distinct_situations

ROOT = Path(__file__).resolve().parent.parent
ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e\ud800[/x]\n"  # a title for the terminal, a cleared screen, letters turned round


def one_line(text: str) -> None:
    assert text.isprintable() and len(text) < 2500, ascii(text)[:700]


# What is shown of a policy, and of a file


@pytest.fixture
def oracle_of(tmp_path):
    opened = []

    def make(source: str) -> PolicyOracle:
        (tmp_path / "POLICY.py").write_text(source)
        opened.append(PolicyOracle(tmp_path / "POLICY.py", GAME))
        return opened[-1]

    yield make
    for oracle in opened:
        oracle.close()


WAYS = (
    "raise ValueError('\\x1b]0;owned\\x07\\x1b[2J\\u202e\\n' * 100)", "raise type('\\x1b[2J\\n', (Exception,), {})('x')",
    "return type('\\x1b[2J\\n', (), {})()", "return '\\x1b[2J\\n'", "raise ValueError('\\U000e0001' * 5000)",
)  # fmt: skip


def test_reasons_of_a_policy_can_be_printed(oracle_of):
    """`collect_expert_data.py` prints them."""
    ways = "".join(f"    if way == {number}: {way}\n" for number, way in enumerate(WAYS))
    oracle = oracle_of(f"import random\ndef run(state):\n    way = random.randrange({len(WAYS)})\n{ways}")
    answers = oracle.label_batch(distinct_situations(32))
    assert {answer.kind for answer in answers} == {"exception", "not text", "unknown word"}
    assert len({answer.reason for answer in answers}) >= len(WAYS) - 1  # two are alike but for the line
    for answer in answers:
        one_line(answer.reason)


def test_why_a_policy_can_t_be_loaded_can_be_printed(oracle_of):
    oracle = oracle_of(f"raise ValueError({ESCAPE!r})")
    oracle.label_batch(distinct_situations(1))
    one_line(oracle.stopped)


def test_tables_and_lines_can_be_printed(capsys):
    table = Table("name", title=ESCAPE)
    table.add_row(ESCAPE)
    print_table(table)
    with ProgressReport("x", 1) as report:
        report.print(ESCAPE)
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\u202e" not in said and said.count("owned") == 3 and said.count("[/x]") == 3


def test_a_script_s_last_words_are_one_line(tmp_path):
    one_line(in_one_line(ValueError(ESCAPE * 10_000)))
    command = [sys.executable, "-m", "tools.describe_data", str(tmp_path / "\x1b[2J\n.sqlite")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode and ended.stderr.endswith("\n")
    one_line(ended.stderr[:-1])
    for path in (*ROOT.glob("*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*.py"), ROOT / "agent/start_states.py"):
        assert not re.search(r'(sys\.exit|print)\(f"[\w{}.]+: \{error\}', path.read_text()), f"{path}: use in_one_line"
