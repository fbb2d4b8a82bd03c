"""The loop of one milestone, over the local server, the emulator and the sandbox: written, tried, told, written again."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from agent.llm import client as client_module
from agent.llm.calls import CallFile
from agent.llm.client import ModelClient, ModelSettings
from agent.llm.policy_prompts import MOST_TOKENS, PICTURE_TOKENS
from agent.llm.prices import Prices
from agent.llm.prompts import estimated_tokens
from common.runtime.main import Stopped
from pokemon_env.gym_env import PokemonEnv
from tools.model_server import Asked, ModelServer
from trainer.attempts import folder_of, load_attempt
from trainer.policy_writer import SHOWN_STARTS, CannotAsk, OutOfMoney, PolicyWriter, Writing
from trainer.trial import Limits

pytest.importorskip("anthropic")
LIMITS = Limits(max_steps=12, stuck_threshold=6, seconds=60)
RIGHT = 'def run(state):\n    return "start"'
WRONG = 'def run(state):\n    return "b"  # {}'
BROKEN = "def run(state):\n    return {"


def written(code: str, plan: str = "I try.") -> str:
    return f"{plan}\n```python\n{code}\n```"


@dataclass
class Kit:
    """What a test writes policies with."""

    server: ModelServer
    prompts: list[str]
    env: PokemonEnv
    tmp_path: object
    opened: ExitStack
    client: ModelClient | None = None

    def again(self) -> None:
        """Go on as a new process does: with a client that nobody has stopped."""
        self.client, last = None, self.client
        last.close()

    def writer(self, attempts: int = 4, max_cost: float | None = None, milestone: str = "GAME_RUNNING", **further) -> PolicyWriter:
        if self.client is None:
            settings = ModelSettings("claude-sonnet-5-5", "anthropic", self.server.url, None, "K", timeout=20, max_tokens=2000)
            calls = self.opened.enter_context(CallFile(self.tmp_path / "calls.sqlite"))
            client = ModelClient(settings, calls, Prices(), "a run", say=lambda line: None, max_cost=max_cost)
            self.client = self.opened.enter_context(client)
        asked = {name: further.pop(name) for name in ("should_stop", "winners") if name in further}
        writing = Writing(attempts, **({"trial_episodes": 2, "confirm_episodes": 2, "noise": 0.0} | further))
        output = self.tmp_path / "out"
        return PolicyWriter(self.client, self.env, milestone, (None,), LIMITS, writing, output, say=lambda line: None, **asked)


@pytest.fixture(scope="module")
def title(rom_path):
    with PokemonEnv(rom_path, target_milestone="GAME_RUNNING", start_milestone="GAME_RUNNING", tier="T1", worlds="0") as env:
        yield env


@pytest.fixture
def kit(tmp_path, monkeypatch, title):
    """Make a kit whose model gives these answers, one after another; or one that calls a function of what is asked."""
    monkeypatch.setattr(client_module, "BACK_OFF_SECONDS", 0.005)
    for name in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as opened:

        def make(answers, env=title, **flags) -> Kit:
            prompts: list[str] = []

            def answer(asked: Asked) -> str:
                prompts.append("\n".join(part for part in asked.parts if isinstance(part, str)))
                return answers(asked) if callable(answers) else answers[min(len(prompts), len(answers)) - 1]

            return Kit(opened.enter_context(ModelServer(answer=answer, **flags)), prompts, env, tmp_path, opened)

        yield make


def test_the_first_that_holds_wins_and_what_was_asked_is_kept(kit):
    kit = kit([written(RIGHT, "Press <START>.")])
    result = kit.writer().write()
    assert (result.status, len(result.attempts), len(kit.prompts)) == ("won", 1, 1)
    best = result.best
    assert best.plan == "Press <START>." and best.code == RIGHT + "\n" and best.parent is None
    assert (best.trial.successes, best.confirmed.successes) == (2, 2)
    assert {one.seed for one in best.trial.episodes}.isdisjoint(one.seed for one in best.confirmed.episodes)
    folder = folder_of(kit.tmp_path / "out", "GAME_RUNNING", 1)
    prompt = (folder / "prompt.md").read_text()
    assert kit.prompts[0].split("\n")[0] in prompt and "# What a policy must do" in prompt and prompt.count("![picture") == 3
    assert len(list(folder.glob("sent_*.png"))) == 3 and (folder / "answer.md").read_text() == written(RIGHT, "Press <START>.")
    assert len(list(folder.glob("states/1/*.state"))) == 2


def test_what_cannot_be_loaded_costs_no_episode_and_is_told(kit):
    kit = kit([written(BROKEN), written(RIGHT)])
    result = kit.writer().write()
    assert [attempt.trial is None for attempt in result.attempts] == [True, False]
    assert result.attempts[0].error.startswith("policy.py: is not Python (")
    assert f"It could not be loaded: {result.attempts[0].error}" in kit.prompts[1] and BROKEN in kit.prompts[1]
    assert result.attempts[1].parent == 1 and result.status == "won"


def test_the_next_is_written_from_the_best_so_far(kit):
    # The first is right at starts with a name, and at the title there is none: so it is made right at every second start.
    half = 'def run(state):\n    return "start" if sum(map(ord, str(state["map"]))) >= 0 and HALF(state) else "b"'
    code = half.replace("HALF(state)", 'state["prev_action"] in ("b", "no_op", "start")')
    kit = kit([written(WRONG.format(1)), written(code.replace('"start" if', '"select" if')), written(BROKEN), written(RIGHT)])
    result = kit.writer().write()
    assert [attempt.parent for attempt in result.attempts] == [None, 1, 2, 2]
    assert "attempt 2\n" in kit.prompts[3] and BROKEN not in kit.prompts[3]
    earlier = kit.prompts[3].split("# Earlier attempts\n")[1]
    assert earlier.startswith("1: 0 of 2 episodes of the trial; stuck: ") and "\n3: could not be loaded: policy.py" in earlier


def test_after_three_without_progress_it_begins_afresh(kit):
    kit = kit([*(written(WRONG.format(number)) for number in range(1, 5)), written(RIGHT)])
    result = kit.writer(5).write()
    assert [attempt.parent for attempt in result.attempts] == [None, 1, 2, 3, None] and result.status == "won"
    assert "# Your policy" not in kit.prompts[4] and "return" not in kit.prompts[4]
    lines = kit.prompts[4].split("# What was tried, without success\n")[1].splitlines()
    assert [line[:2] for line in lines[:4]] == ["1:", "2:", "3:", "4:"] and lines[4] == "Begin afresh, with another plan."


def test_an_answer_without_a_policy_is_asked_for_again_and_does_not_count(kit):
    kit = kit(lambda asked: ["Press START.", written("def policy(state): ..."), written(RIGHT)][asked.times - 1])
    result = kit.writer(1).write()
    assert result.status == "won" and len(result.attempts) == 1 and len(kit.prompts) == 3 and len(set(kit.prompts)) == 1


def test_without_a_policy_three_times_it_counts_and_is_told(kit):
    kit = kit(["Press START.", "Press START!", "Press it.", written(RIGHT)])
    result = kit.writer().write()
    assert len(kit.prompts) == 4 and result.status == "won"
    assert result.attempts[0].error == "the answer has no fenced block that defines run" and result.attempts[0].plan == "Press it."
    assert "It could not be loaded: the answer has no fenced block" in kit.prompts[3]


def test_a_policy_that_was_cut_off_is_asked_for_again(kit):
    kit = kit([written(RIGHT)], plan={1: "max-tokens"})
    assert kit.writer(1).write().status == "won" and len(kit.server.seen) == 2


def test_of_several_candidates_the_best_counts(kit):
    kit = kit(lambda asked: written([WRONG.format(0), RIGHT, BROKEN][(asked.times - 1) % 3]))
    result = kit.writer(1, candidates=3).write()
    assert result.status == "won" and len(kit.prompts) == 3 and result.best.code == RIGHT + "\n"
    folder = folder_of(kit.tmp_path / "out", "GAME_RUNNING", 1)
    assert (folder / "answer.md").read_text() == written(RIGHT) and (folder / "policy.py").read_text() == RIGHT + "\n"


def test_the_states_that_are_kept_are_the_best_candidates(kit):
    later = 'def run(state):\n    return "start" if state["prev_action"] == "b" else "b"'
    kit = kit(lambda asked: written([later, RIGHT][asked.times - 1]))
    result = kit.writer(1, candidates=2).write()
    assert result.best.code == RIGHT + "\n"
    states = list(folder_of(kit.tmp_path / "out", "GAME_RUNNING", 1).glob("states/*/*.state"))
    assert len(states) == 2 and len({path.parent for path in states}) == 1


def test_answers_that_depend_on_more_than_the_state_are_no_success(kit):
    code = 'import math\n\ndef run(state):\n    math.n = getattr(math, "n", 0) + 1\n    return ("b", "start")[math.n % 2]'
    kit = kit([written(code), written(RIGHT)])
    result = kit.writer().write()
    assert result.attempts[0].trial is None and "its answers depend on more than the state" in result.attempts[0].error
    assert "its answers depend on more than the state" in kit.prompts[1] and result.status == "won"
    # Which of its answers were found out is drawn anew each time: a prompt that told them would be another after a kill.
    assert "'b'" not in result.attempts[0].error and "'start'" not in result.attempts[0].error


def test_all_attempts_used_it_has_failed_and_the_best_is_told(kit):
    kit = kit([written(BROKEN), written(WRONG.format(2))])
    result = kit.writer(2).write()
    assert (result.status, result.best.number, len(result.attempts)) == ("failed", 2, 2)


@pytest.mark.parametrize("wanted, status", [(0.9, "weak"), (0.6, "won")])
def test_a_policy_that_confirms_most_of_the_time_is_weak(kit, rom_path, wanted, status):
    # Of the ten that confirm it, two begin without a name and with the cursor on the first row, where it types none.
    code = """
def run(state):
    menu = state["game"]["menu"]
    if menu is None or menu["name"] != "name_grid":
        return "a"
    if not state["player"]["name"]:
        return "a" if menu["cursor"] > 7 else "select"
    return move_cursor(state, 27, 7)
"""
    with PokemonEnv(rom_path, target_milestone="PLAYER_NAME_SET", start_milestone="PLAYER_NAME_SET", tier="T1", worlds="0") as env:
        kit = kit([written(code)], env)
        writer = kit.writer(1, milestone="PLAYER_NAME_SET", trial_episodes=1, confirm_episodes=10, min_success_rate=wanted)
        result = writer.write()
    assert result.best.confirmed.successes == 8 and result.status == status


def test_what_is_finished_is_not_asked_or_played_again(kit):
    kit = kit([written(WRONG.format(1)), written(RIGHT)])
    with pytest.raises(Stopped):
        kit.writer(should_stop=lambda: len(kit.prompts) == 2).write()
    folder = folder_of(kit.tmp_path / "out", "GAME_RUNNING", 1)
    before = (folder / "trial.json").stat().st_mtime_ns
    assert load_attempt(folder) is not None and load_attempt(folder.with_name("02")) is None
    kit.again()
    result = kit.writer().write()
    assert result.status == "won" and len(kit.server.seen) == 2 and (folder / "trial.json").stat().st_mtime_ns == before
    again = kit.writer().write()
    assert again.status == "won" and len(kit.server.seen) == 2
    assert [attempt.in_a_line() for attempt in again.attempts] == [attempt.in_a_line() for attempt in result.attempts]


def test_an_attempt_read_back_is_told_as_the_one_that_was_played(kit):
    kit = kit([written('def run(state):\n    log("here")\n    return "b"'), written(RIGHT)])
    with pytest.raises(Stopped):
        kit.writer(should_stop=lambda: len(kit.prompts) == 2).write()
    asked = {seen.hash for seen in kit.server.seen}
    kit.again()
    kit.writer().write()
    assert {seen.hash for seen in kit.server.seen} == asked and max(kit.server.times.values()) == 1


def test_winners_are_shown_the_nearest_three(kit):
    kit = kit([written(RIGHT)])
    kit.writer(winners=[(name, f"# won {name}") for name in ("LAB_ENTERED", "RIVAL_HOUSE", "LEAVE_HOUSE", "CLOCK_SET")]).write()
    assert kit.prompts[0].count("# A policy of yours that reaches") == 3 and "# won CLOCK_SET" not in kit.prompts[0]


def test_a_prompt_has_a_length_with_all_that_stands_in_it(kit):
    fixed = []
    kit = kit(lambda asked: fixed.append(asked.fixed) or written(RIGHT))
    names = ("LAB_ENTERED", "RIVAL_HOUSE", "LEAVE_HOUSE")
    kit.writer(winners=[(name, "# won\n" * 2000) for name in names]).write()
    assert estimated_tokens(fixed[0] + kit.prompts[0]) + SHOWN_STARTS * PICTURE_TOKENS <= MOST_TOKENS
    assert kit.prompts[0].endswith("(Left out for length: the policy of LEAVE_HOUSE.)") and "reaches LAB_ENTERED" in kit.prompts[0]


def test_a_model_that_cannot_be_asked_ends_it_with_nothing_lost(kit):
    kit = kit([written(WRONG.format(1)), written(RIGHT)], plan=dict.fromkeys(range(2, 7), "529"))
    with pytest.raises(CannotAsk, match=r"could not be asked for GAME_RUNNING \(overloaded: .*the same command goes on"):
        kit.writer().write()
    assert kit.writer().write().status == "won"


def test_money_that_is_used_up_ends_it(kit):
    kit = kit([written(WRONG.format(1))])
    with pytest.raises(OutOfMoney):
        kit.writer(max_cost=0.06).write()
    assert len(kit.server.seen) < 4


def test_all_questions_begin_with_the_same_bytes(kit):
    fixed = set()
    kit = kit(lambda asked: fixed.add(asked.fixed) or written(WRONG.format(len(fixed))))
    kit.writer(2).write()
    assert len(fixed) == 1
