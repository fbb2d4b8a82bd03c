"""Policy files: what counts as an answer, what as none, and how broken files are told."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from agent.oracle import Answer, PolicyError
from agent.policy_expert import MAX_POLICY_BYTES, InProcessOracle, PolicyExpert, find_policy
from agent.sandbox.oracle import PolicyOracle
from pokemon_env.games.base import GBA_BUTTONS, Game
from pokemon_env.games.tallgrass import GAME

STATE = {"player": {}, "game": {}, "map": {}, "milestones": {}, "prev_action": "no_op"}


@pytest.fixture
def expert_of(tmp_path):
    def make(source: str, game: Game = GAME) -> PolicyExpert:
        path = tmp_path / "CLOCK_SET.py"
        path.write_text(source)
        return PolicyExpert(path, game)

    return make


def returning(expression: str) -> str:
    return f"def run(state):\n    return {expression}\n"


@pytest.mark.parametrize("number, name", list(enumerate(GAME.buttons)))
def test_each_button_is_an_answer(expert_of, number, name):
    assert expert_of(returning(repr(name.lower()))).label(STATE) == Answer(number)


def test_case_and_blanks_do_not_matter(expert_of):
    assert expert_of(returning("' Up\\n'")).label(STATE).action == GAME.buttons.index("UP")


def test_shoulder_buttons_exist_on_an_advance_only(expert_of):
    class Advance(Game):
        id = name = "advance"
        buttons = GBA_BUTTONS

    assert expert_of(returning("'l'"), Advance()).label(STATE).action == 8
    assert expert_of(returning("'l'")).label(STATE).kind == "unknown word"


@pytest.mark.parametrize(
    "source, kind, words",
    [
        (returning("None"), "none", "None"),
        ("def run(state):\n    pass\n", "none", "None"),
        (returning("'no_op'"), "no_op", "no_op"),
        (returning("'NO_OP'"), "no_op", "no_op"),
        (returning("'jump'"), "unknown word", "jump"),
        (returning("''"), "unknown word", "no button"),
        (returning("'up down'"), "unknown word", "up down"),
        (returning("'up' * 100000"), "unknown word", "no button"),
        (returning("['up']"), "not text", "list"),
        (returning("('up', 'a')"), "not text", "tuple"),
        (returning("{'action': 'up'}"), "not text", "dict"),
        (returning("4"), "not text", "int"),
        (returning("True"), "not text", "bool"),
        (returning("b'up'"), "not text", "bytes"),
        (returning("run"), "not text", "function"),
        (returning("1 / 0"), "exception", "ZeroDivisionError"),
        (returning("state['no such key']"), "exception", "KeyError"),
        (returning("unknown_tool(state)"), "exception", "NameError"),
        (returning("run(state)"), "exception", "RecursionError"),
        ("import sys\n\ndef run(state):\n    sys.exit(0)\n", "exception", "SystemExit"),
        ("def run():\n    return 'up'\n", "exception", "TypeError"),
        ("def run(state):\n    raise BaseException('worse')\n", "exception", "worse"),
        ("async def run(state):\n    return 'up'\n", "not text", "coroutine"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_anything_else_is_an_abstention(expert_of, source, kind, words):
    expert = expert_of(source)
    answer = expert.label(STATE)
    assert (answer.action, answer.kind) == (None, kind)
    assert words in answer.reason and "CLOCK_SET.py" in answer.reason and len(answer.reason) < 1000
    assert (expert.answers, expert.abstentions, expert.abstention_kinds[kind]) == (1, 1, 1)


def test_the_reason_names_the_policys_line(expert_of):
    expert = expert_of("def run(state):\n    x = 1\n    return help_me(state)\n\ndef help_me(state):\n    return 1 / 0\n")
    assert "line 6" in expert.label(STATE).reason


def test_keyboard_interrupt_is_not_swallowed(expert_of):
    with pytest.raises(KeyboardInterrupt):
        expert_of("def run(state):\n    raise KeyboardInterrupt\n").label(STATE)


def test_a_batch_keeps_its_order_and_one_failure_spoils_no_other(expert_of):
    expert = expert_of("def run(state):\n    return state['say']\n")
    answers = expert.label_batch([{"say": "up"}, {}, {"say": "b"}])
    assert [answer.action for answer in answers] == [4, None, 1]
    assert (expert.answers, expert.abstentions) == (3, 1)


def test_tools_and_log_are_there_without_an_import(expert_of):
    source = "log('loaded')\n\ndef run(state):\n    log(12)\n    log('x' * 5000)\n    find_path_action, face_and_press\n"
    expert = expert_of(source + "    return 'a'\n")
    assert expert.label(STATE).action == 0
    assert list(expert.messages)[:2] == ["loaded", "12"] and len(expert.messages[2]) == 1000


def test_helpers_and_constants_of_the_file_work(expert_of):
    source = "from collections import deque\nN = 2\n\ndef pick():\n    return 'left' if len(deque('ab')) == N else 'b'\n"
    assert expert_of(source + "def run(state):\n    return pick()\n").label(STATE).action == 6


@pytest.mark.parametrize(
    "source, words",
    [
        ("def run(state:\n", "is not Python"),
        ("def walk(state):\n    return 'up'\n", "no function run"),
        ("run = 'up'\n", "no function run"),
        ("1 / 0\n", "line 1"),
        ("import no_such_module\n", "no_such_module"),
        ("exit()\n", "SystemExit"),
        ("\0", "is not Python"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_an_error_that_names_it(expert_of, source, words):
    with pytest.raises(PolicyError, match=words) as error:
        expert_of(source)
    assert "CLOCK_SET.py" in str(error.value)


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    path = tmp_path / "CLOCK_SET.py"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyError, match=r"CLOCK_SET\.py"):
        PolicyExpert(path, GAME)


def test_ones_own_policy_comes_before_the_games(tmp_path):
    assert PolicyExpert((tmp_path, "CLOCK_SET"), GAME).path == GAME.policy_dir / "CLOCK_SET.py"
    with pytest.raises(PolicyError, match="not there: no such folder of policies"):
        PolicyExpert((tmp_path / "not there", "CLOCK_SET"), GAME)
    own = tmp_path / "CLOCK_SET.py"
    own.write_text(returning("'b'"))
    assert PolicyExpert((tmp_path, "CLOCK_SET"), GAME).path == own


def test_a_missing_policy_is_an_error_that_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(PolicyError) as error:
        PolicyExpert((tmp_path, "NO_SUCH"), GAME)
    assert str(tmp_path / "NO_SUCH.py") in str(error.value) and "tallgrass" in str(error.value)
    with pytest.raises(PolicyError):
        find_policy("NO_SUCH", tmp_path, None)
    with pytest.raises(PolicyError, match=r"no_such\.py"):
        PolicyExpert(tmp_path / "no_such.py", GAME)


# What a policy's file may be


def open_in_process(path):
    return PolicyExpert(path, GAME)


def open_in_sandbox(path):
    with PolicyOracle(path, GAME) as oracle:
        oracle.start()


OPENED = pytest.mark.parametrize("opened", [open_in_process, open_in_sandbox])


def test_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "CLOCK_SET.py"
    path.write_bytes(b"\xef\xbb\xbf" + returning("'up'").encode())
    assert PolicyExpert(path, GAME).label(STATE) == Answer(4)
    open_in_sandbox(path)


IRREGULAR = {
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "FIFO": (lambda path: os.mkfifo(path), "is a FIFO"),  # reading one waits for a writer, for ever
    "dangling link": (lambda path: path.symlink_to("nowhere"), "is a link to nothing"),
    "link in a circle": (lambda path: path.symlink_to(path.name), "cannot be read"),
    "link to a folder": (lambda path: path.symlink_to("."), "is a folder"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    "socket": (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "is a socket"),
}


@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_file_is_an_error_and_not_the_games_own_policy(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    make, words = IRREGULAR[kind]
    path = tmp_path / "CLOCK_SET.py"
    make(path.relative_to(tmp_path))
    with pytest.raises(PolicyError, match=f"{path}: {words}"):
        PolicyExpert((tmp_path, "CLOCK_SET"), GAME)
    for opened in (open_in_process, open_in_sandbox):
        with pytest.raises(PolicyError, match=f"{path}: {words}"):
            opened(path)


def test_a_policy_dir_that_cannot_be_looked_into_is_an_error(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("")
    link.symlink_to("nowhere")
    for folder, words in ((file, "is no folder"), (link, "is a link to nothing")):
        with pytest.raises(PolicyError, match=f"{folder}: {words}"):
            find_policy("CLOCK_SET", folder, GAME.policy_dir)


@pytest.mark.parametrize("name", ["../CLOCK_SET", "/etc/passwd", "", ".", "A\0", "x" * 300, "A/B"])
def test_a_milestone_is_no_path(tmp_path, name):
    with pytest.raises(PolicyError, match="no milestone's name"):
        find_policy(name, tmp_path, GAME.policy_dir)


@OPENED
def test_a_policy_has_at_most_a_mebibyte(tmp_path, opened):
    path, source = tmp_path / "CLOCK_SET.py", returning("'up'").encode()
    path.write_bytes(source + b"#" * (MAX_POLICY_BYTES - len(source)))
    opened(path)
    with path.open("ab") as file:
        file.write(b"#")
    with pytest.raises(PolicyError, match=r"CLOCK_SET\.py: is larger than 1,048,576 bytes"):
        opened(path)


@OPENED
def test_a_sparse_giant_is_not_read(tmp_path, opened):
    path = tmp_path / "CLOCK_SET.py"
    with path.open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(PolicyError, match="is larger than"):
        opened(path)


@pytest.mark.parametrize("kind", [InProcessOracle, PolicyOracle])
def test_the_identity_is_that_of_the_text_that_answers(tmp_path, kind):
    """A file that is replaced when it has been read once is not known under the new one's name."""
    path, other = tmp_path / "CLOCK_SET.py", tmp_path / "other"
    path.write_text(returning("'up'"))
    other.write_text(returning("'down'"))
    with kind(path, GAME) as oracle:
        wanted = oracle.identity
    opened = []

    def before_each_open(event, args):
        if event == "open" and other.exists() and str(args[0]) == str(path):
            opened.append(event)
            if len(opened) == 2:
                os.replace(other, path)

    sys.addaudithook(before_each_open)  # for good, but idle once `other` is gone
    with kind(path, GAME) as oracle:
        assert oracle.identity == wanted
    other.unlink(missing_ok=True)
    assert opened
