"""A language model as the expert: what it is shown, and how its answers become labels. It is asked over loopback."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest

from agent import code_agent
from agent.answer_cache import AnswerCache
from agent.code_agent import CodeAgent
from agent.labelling import Labeller
from agent.llm import client as client_module
from agent.llm.calls import CallFile
from agent.llm.client import ModelClient, ModelSettings
from agent.llm.prices import Prices
from agent.llm.prompts import format_state_for_llm, label_of, label_rules, label_schema, tools_of
from agent.llm.replies import complaint_of
from agent.oracle import Situation
from agent.policy_expert import InProcessOracle
from common.runtime.main import Stopped
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from tools.model_server import Asked, ModelServer

pytest.importorskip("anthropic")
pytest.importorskip("openai")
MILESTONE = "RIVAL_HOUSE"
BUTTONS = [name.lower() for name in GAME.buttons]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(client_module, "BACK_OFF_SECONDS", 0.005)
    monkeypatch.setattr(client_module, "LONGEST_WAIT_SECONDS", 0.25)


@pytest.fixture(scope="module")
def visited() -> list[Situation]:
    """Different situations of a random player, with their screens."""
    rng, situations = np.random.default_rng(1), {}
    with PokemonEnv(target_milestone=MILESTONE, start_milestone=MILESTONE, tier="T1", worlds="0") as env:
        screen, info = env.reset(seed=3)
        for _ in range(80):
            situations[env.snapshot(), info["prev_action"]] = Situation(env.snapshot(), info["prev_action"], screen)
            screen, _, _, _, info = env.step(int(rng.choice([0, 4, 5, 6, 7])))
    return list(situations.values())[:60]


def state_of(situation: Situation) -> dict:
    return GAME.decode_state(situation.snapshot, situation.prev_action)


class Teacher:
    """Answers as the scripted expert would: it knows the state by its text in the prompt."""

    def __init__(self, situations):
        with InProcessOracle((None, MILESTONE), GAME) as oracle:
            answers = oracle.label_batch(situations)
        self.right = {format_state_for_llm(state_of(one)): answer.action for one, answer in zip(situations, answers, strict=True)}
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked) -> str:
        self.asked.append(asked)
        text = next(part for part in asked.parts if isinstance(part, str) and part.startswith("Scene: "))
        return json.dumps({"reason": "on the way", "answer": {"button": BUTTONS[self.right[text]]}})


def opened(stack: ExitStack, tmp_path, server: ModelServer, backend="anthropic", max_cost=None, **more) -> CodeAgent:
    url = server.url + ("/v1" if backend == "openai" else "")
    changes = {name: more.pop(name) for name in ("concurrency", "tries", "timeout", "max_tokens") if name in more}
    settings = ModelSettings("claude-haiku-5-5", backend, url, None, "NO_KEY", **({"timeout": 5.0, "effort": "low"} | changes))
    calls = stack.enter_context(CallFile(tmp_path / "calls.sqlite"))
    client = stack.enter_context(
        ModelClient(settings, calls, Prices(), "a run", max_cost=max_cost, say=lambda text: None)
    )
    return CodeAgent(client, GAME, MILESTONE, **more)


@pytest.mark.parametrize("backend", ["anthropic", "openai"])
def test_a_models_buttons_are_labels_and_are_paid_once(tmp_path, visited, backend):
    teacher = Teacher(visited)
    with ModelServer(answer=teacher) as server, ExitStack() as stack:
        agent = opened(stack, tmp_path, server, backend)
        cache = stack.enter_context(AnswerCache(tmp_path / "answers.sqlite", len(BUTTONS)))
        labeller = Labeller(agent, cache)
        labels = labeller.label([*visited, *visited[:5]])
        assert [label.action for label in labels[: len(visited)]] == list(teacher.right.values())
        assert {label.reason for label in labels} == {"on the way"} and {label.expert for label in labels} == {agent.identity}
        counts = labeller.counts
        assert (counts.labels, counts.asked, counts.answered) == (len(visited) + 5, len(visited), len(visited) + 5)
        assert counts.tokens > 1000 * len(visited) and counts.dollars > 0 and "per 1,000 labels" in str(counts)
        assert len(server.seen) == len(visited)
        again = Labeller(agent, cache)
        assert [label.action for label in again.label(visited)] == list(teacher.right.values())
        assert again.counts.cached == len(visited) and again.counts.dollars == 0
        other = Labeller(agent, None)  # without that cache the file of calls has them
        other.label(visited)
        assert other.counts.asked == len(visited) and other.counts.tokens == 0 and len(server.seen) == len(visited)


def test_a_rollouts_labels_may_be_asked_as_batches(tmp_path, visited, monkeypatch):
    teacher = Teacher(visited)
    monkeypatch.setattr(code_agent, "MOST_IN_A_BATCH", 25)
    with ModelServer(answer=teacher) as server, ExitStack() as stack:
        agent = opened(stack, tmp_path, server, batch=True)
        labeller = Labeller(agent)
        labelled = {}
        for group in labeller.label_each(iter(visited)):
            labelled |= group
        assert [labelled[number].action for number in range(len(visited))] == list(teacher.right.values())
        assert [len(batch[0]) for batch in server.batches.values()] == [25, 25, len(visited) - 50]
        plain = Labeller(opened(stack, tmp_path / "plain", server))
        plain.label(visited)
        assert labeller.counts.dollars < 0.6 * plain.counts.dollars


def test_it_is_shown_what_the_flag_says(tmp_path, visited):
    seen = {}
    for sees in ("both", "state", "picture"):
        asked: list[Asked] = []
        with ModelServer(answer=lambda one, asked=asked: asked.append(one) or '{"reason": "", "button": "a"}') as server:
            with ExitStack() as stack:
                agent = opened(stack, tmp_path, server, sees=sees, form="button")
                (answer,) = agent.label_batch(visited[:1])
        assert answer.action == 0 and agent.needs_frame == (sees != "state")
        seen[sees] = asked[0]
    texts = {sees: [part for part in one.parts if isinstance(part, str)] for sees, one in seen.items()}
    assert len(texts["both"]) == len(texts["state"]) == 2 and len(texts["picture"]) == 1
    assert texts["both"][0] == "The next milestone is RIVAL_HOUSE: Enter the house of Bram, the rival."
    pictures = [part for part in seen["both"].parts if isinstance(part, bytes)]
    assert len(pictures) == 1 and pictures[0][16:24] == (320).to_bytes(4, "big") + (288).to_bytes(4, "big")  # PNG's size
    assert len({CodeAgent.__name__, *(one.fixed for one in seen.values())}) == 4  # the rules say what is shown


def test_a_state_is_told_in_a_kilobyte_without_what_the_screen_cannot_show(visited):
    for situation in visited:
        text = format_state_for_llm(state_of(situation))
        assert 100 < len(text) < 2200
        for hidden in ("tiles\"", "home", "sight", "opened_by", "tier_flags", "events"):
            assert hidden not in text
        assert f"Last press: {situation.prev_action}." in text
    state = state_of(visited[0])
    x, y = state["map"]["player_coords"]
    text = format_state_for_llm(state)
    assert f"You stand at ({x}, {y}), facing {state['player']['facing']}." in text
    row = next(line for line in text.splitlines() if line.startswith(f"{y:2d} "))
    assert row[3 + x] == "@"


def test_of_a_large_map_the_part_around_the_player_is_shown(visited):
    state = state_of(visited[0])
    rows = ["." * 100 for _ in range(90)]
    rows[70] = "." * 60 + "@" + "." * 39
    state["map"] |= {"ascii_map": rows, "width": 100, "height": 90, "player_coords": [60, 70]}
    text = format_state_for_llm(state)
    assert "Map (columns 44 to 75, rows 56 to 83)" in text and "You stand at (60, 70)" in text
    row = next(line for line in text.splitlines() if line.startswith("70 "))
    assert row[3 + 60 - 44] == "@" and len(text) < 2500


def test_tools_are_called_here_and_nothing_is_guessed(visited):
    state = state_of(visited[0])

    def label(**answer):
        value = {"reason": "  to  the \n house ", "answer": answer}
        assert complaint_of(value, label_schema(GAME, "tool")) is None or answer.get("tool") in ("eval", None)
        return label_of(value, state_of(visited[0]), GAME)

    door = next(warp for warp in state["map"]["warps"] if warp["to"] == "RIVAL_1F")
    walked = label(tool="find_path_action", x=door["x"], y=door["y"])
    assert BUTTONS[walked.action] in ("up", "down", "left", "right")
    assert walked.reason == f"to the house [find_path_action({door['x']}, {door['y']})]"
    assert label(tool="go_to_map", name="RIVAL_1F").action == walked.action
    x, y = state["map"]["player_coords"]
    assert label(tool="find_path_action", x=x, y=y).kind == "none"
    assert label(tool="find_path_action", x=10**9, y=0).kind == "exception"
    assert label(tool="talk_to", who="NOBODY", map_name="TOWN").kind == "none"
    assert label(tool="go_to_map", name="../../etc").kind in ("none", "exception")
    assert label(button="unsure").kind == "unsure" and label(button="unsure").action is None
    assert label(button="left").action == BUTTONS.index("left")


def test_the_schema_is_made_of_the_games_tools_with_plain_arguments():
    names = {"find_path_action", "talk_to", "answer", "battle_action", "close_what_is_open"}
    assert names <= set(tools_of(GAME)) and not {"shortest_path_actions", "find_tiles", "nearest", "in_view"} & set(tools_of(GAME))
    schema = label_schema(GAME, "tool")
    assert complaint_of({"reason": "", "answer": {"tool": "answer", "yes": True}}, schema) is None
    for wrong in ({"tool": "answer", "yes": "True"}, {"tool": "eval"}, {"button": "A"}, {"tool": "find_path_action", "x": 1}):
        assert complaint_of({"reason": "", "answer": wrong}, schema) is not None
    for form in ("tool", "button"):
        assert ("find_path_action" in label_rules(GAME, "both", form)) == (form == "tool")


def test_another_prompt_model_or_milestone_is_another_expert(tmp_path, visited):
    with ModelServer() as server, ExitStack() as stack:
        first = opened(stack, tmp_path, server)
        others = [
            opened(stack, tmp_path, server, "openai"), opened(stack, tmp_path, server, sees="state"),
            opened(stack, tmp_path, server, form="button"), opened(stack, tmp_path, server, max_tokens=99),
            CodeAgent(first.client, GAME, "LAB_ENTERED"),
        ]  # fmt: skip
        assert len({first.identity, *(one.identity for one in others)}) == 6
        assert first.identity == opened(stack, tmp_path, server).identity
        assert first.identity.startswith("model:claude-haiku-5-5:") and len(first.identity.split(":")[2]) == 16


@pytest.mark.parametrize(
    ("fault", "kind", "kept"),
    [
        ("refusal", "refusal", True), ("max-tokens", "cut off", True), ("schema-ignored", "malformed", True),
        ("500", "server error", False),
    ],  # fmt: skip
)
def test_a_failed_answer_abstains_and_only_the_models_own_is_kept(tmp_path, visited, fault, kind, kept):
    with ModelServer(plan={1: fault, 2: fault, 3: fault}) as server, ExitStack() as stack:
        agent = opened(stack, tmp_path, server, tries=2)
        cache = stack.enter_context(AnswerCache(tmp_path / "answers.sqlite", len(BUTTONS)))
        (label,) = Labeller(agent, cache).label(visited[:1])
        assert (label.action, label.kind) == (None, kind) and len(cache) == kept


def test_without_money_the_rest_stays_unasked(tmp_path, visited):
    with ModelServer() as server, ExitStack() as stack:
        agent = opened(stack, tmp_path, server, max_cost=0.006, concurrency=2)
        labeller = Labeller(agent)
        labels = labeller.label(visited)
        asked = [label for label in labels if label is not None]
        assert 0 < len(asked) == labeller.counts.labels < len(visited) and labels[-1] is None
        assert labeller.left == 0 and labeller.label(visited[-2:]) == [None, None]
        assert agent.client.summary()[-1].startswith("--max-cost 0.006: ")


def test_ctrl_c_is_heeded_within_a_second_and_nothing_under_way_is_lost(tmp_path, visited):
    stop = threading.Event()
    with ModelServer(seconds=0.3) as server, ExitStack() as stack:
        agent = opened(stack, tmp_path, server, concurrency=4)
        cache = stack.enter_context(AnswerCache(tmp_path / "answers.sqlite", len(BUTTONS)))
        labeller = Labeller(agent, cache)
        timer = threading.Timer(1.0, stop.set)
        timer.start()
        labelled, began = 0, time.monotonic()
        with pytest.raises(Stopped):
            for group in labeller.label_each(iter(visited), stop.is_set):
                labelled += len(group)
        assert time.monotonic() - began < 3.5
        assert 0 < labelled < len(visited) and len(cache) == labelled == len(server.seen)


def test_situations_are_taken_as_they_can_be_asked(tmp_path, visited):
    taken = []
    with ModelServer(seconds=0.01) as server, ExitStack() as stack:
        agent = opened(stack, tmp_path, server, concurrency=2)
        ahead = []

        def situations():
            for number, one in enumerate(visited):
                taken.append(number)
                yield one

        done = 0
        for group in agent.label_each(situations()):
            done += len(group)
            ahead.append(len(taken) - done)
        assert done == len(visited) and max(ahead) <= 5
