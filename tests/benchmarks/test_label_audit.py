"""benchmarks/label_audit.py: models as experts, asked over loopback at real states of the game."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.llm import client as client_module
from agent.llm.client import ModelError
from agent.llm.prices import PriceError
from agent.llm.prompts import format_state_for_llm
from agent.oracle import Answer, PolicyError
from benchmarks import label_audit
from benchmarks.label_audit import CHANCE, SCRIPTED, Args, check_flags, find_cases, main
from benchmarks.label_cases import Case, digest_of
from benchmarks.label_page import wrong_ones
from benchmarks.label_table import described, tally
from common.runtime.flag_types import FlagError
from dagger.data import DaggerData, DaggerDataError, Row
from pokemon_env.games.tallgrass import GAME
from tools.model_server import Asked, ModelServer

pytest.importorskip("anthropic")
pytest.importorskip("openai")
BUTTONS = [name.lower() for name in GAME.buttons]
MILESTONES = ("CLOCK_SET", "RIVAL_HOUSE", "RIVAL_BATTLE_WON")
PLAYED = {"milestones": MILESTONES, "states": 120}
MODEL, OTHER = "claude-haiku-5-5", "claude-sonnet-5-5"


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return find_cases(Args(**PLAYED), MILESTONES)


@pytest.fixture
def audit(tmp_path, monkeypatch, cases):
    """Audit in a folder of its own, and return what the JSON file holds, experts by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client_module, "BACK_OFF_SECONDS", 0.005)
    for name in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def audit(server: ModelServer | None = None, *, play=False, at: list[Case] = cases, code: int = 0, **flags) -> dict[str, dict]:
        if server is not None:
            flags = {"expert_base_url": server.url, "expert_backend": "anthropic"} | flags
        with monkeypatch.context() as patch:
            if not play:  # the same states, which take a while to be played
                patch.setattr(label_audit, "find_cases", lambda args, milestones: at)
            assert main(Args(**(PLAYED | {"model_calls": "calls.sqlite"} | flags))) == code
        return {one["name"]: one for one in json.loads(Path("results/label_audit/label_audit.json").read_text())["experts"]}

    return audit


def looks(milestone: str, text: str) -> tuple[str, str]:
    return f"The next milestone is {milestone}:", text


class Teacher:
    """Answers as the scripted expert would, and wrongly in a share of the answers. It knows the state by its text in the prompt."""

    def __init__(self, cases: list[Case], wrong: float = 0.0, reason: str = "on the way"):
        self.cases = {looks(case.milestone, format_state_for_llm(case.state)): case for case in cases}
        assert len(self.cases) > 0.9 * len(cases)
        self.wrong, self.reason, self.erred = wrong, reason, 0

    def case(self, asked: Asked) -> Case:
        milestone, text = (part for part in asked.parts if isinstance(part, str))
        return self.cases[milestone[: milestone.index(":") + 1], text]

    def __call__(self, asked: Asked) -> str:
        case = self.case(asked)
        rng = random.Random(case.snapshot)
        button = case.action
        if rng.random() < self.wrong:
            button = rng.choice([one for one in range(len(BUTTONS)) if one not in case.right])
            self.erred += 1
        return json.dumps({"reason": self.reason, "answer": {"button": BUTTONS[button]}})


def holds(interval: list[float], value: float) -> bool:
    return interval[0] <= value <= interval[1]


def test_states_are_of_all_visitors_and_scenes(cases):
    assert len(cases) == PLAYED["states"]
    counts = Counter((case.milestone, case.visitor) for case in cases)
    assert len(counts) == 6 and max(counts.values()) - min(counts.values()) <= 1
    assert {case.scene for case in cases} == {"overworld", "dialog", "menu", "battle"}
    assert len({(case.milestone, format_state_for_llm(case.state), case.picture) for case in cases}) == len(cases)
    assert all(case.action in case.right and case.frame.shape == (144, 160, 3) for case in cases)


def test_too_few_states_of_a_milestone_are_made_up_for_by_others():
    args = Args(milestones=("GAME_RUNNING", "RIVAL_HOUSE"), states=40, tier="T0", noise=0.0)
    counts = Counter(case.milestone for case in find_cases(args, args.milestones))
    assert sum(counts.values()) == 40 and 0 < counts["GAME_RUNNING"] < 15


def test_the_scripted_expert_is_always_right_and_chance_at_an_eighth(audit, cases):
    experts = audit(play=True)
    assert list(experts) == [SCRIPTED, CHANCE]
    whole = experts[SCRIPTED]["all"]
    assert whole["asked"] == whole["agree"] == whole["right"] == len(cases) and whole["abstained"] == {}
    chance = experts[CHANCE]["all"]
    assert holds(chance["agree_interval"], 1 / 8) and 0 < chance["agree"] < chance["right"] < len(cases) / 2
    text = Path("results/label_audit/label_audit.md").read_text()
    assert f"| {SCRIPTED} | 120/120 = 100 % [97, 100] | 120/120 = 100 % [97, 100] | 0 % | - | - | - |" in text
    played = json.loads(Path("results/label_audit/label_audit.json").read_text())["states"]
    assert played == [described(case) for case in cases]  # the same each time
    others = [replace(case, prev_action="start") for case in cases]
    assert digest_of(cases) == digest_of(list(cases)) != digest_of(others) and digest_of(cases) != digest_of(cases[::-1])
    assert "`python -m benchmarks.label_audit --states 120 --milestones CLOCK_SET RIVAL_HOUSE RIVAL_BATTLE_WON`" in text


def test_an_expert_that_differs_from_itself_is_told(audit, cases, monkeypatch, capsys):
    monkeypatch.setattr(label_audit, "ask_scripted", lambda cases: [Answer(case.action ^ (case is cases[3])) for case in cases])
    audit(code=1)
    assert "the scripted expert answers 1 states otherwise when it is asked again" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["anthropic", "openai"])
def test_two_models_are_found_as_good_as_they_are(audit, cases, backend, capsys):
    good, bad = Teacher(cases), Teacher(cases, wrong=0.2)
    url = {"expert_backend": backend}
    with ModelServer(answer=lambda asked: (good if asked.model == MODEL else bad)(asked)) as server:
        if backend == "openai":
            url["expert_base_url"] = f"{server.url}/v1"
        experts = audit(server, models=(MODEL, OTHER), **url)
        assert list(experts) == [SCRIPTED, CHANCE, MODEL, OTHER] and len(server.seen) == 2 * len(cases)
    assert experts[MODEL]["all"]["agree"] == experts[MODEL]["all"]["right"] == len(cases)
    found = experts[OTHER]["all"]
    assert found["agree"] == found["right"] == len(cases) - bad.erred and holds(found["agree_interval"], 0.8)
    assert sum(one["right"] for one in experts[OTHER]["by_scene"].values()) == found["right"]
    for name in (MODEL, OTHER):
        cost = experts[name]["cost"]
        assert cost["answers"] == len(cases) and cost["dollars"] > 0 and cost["tokens_in"] > 1000
        assert 0 < cost["median_seconds"] <= cost["slow_seconds"] < 10
    assert experts[OTHER]["cost"]["dollars"] > experts[MODEL]["cost"]["dollars"]
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith(f"| {MODEL} |"))
    assert float(row.split("|")[5]) == pytest.approx(1000 * experts[MODEL]["cost"]["dollars"], abs=0.01)


def test_an_answer_is_paid_once_and_what_it_cost_is_known_later(audit, cases):
    with ModelServer(answer=Teacher(cases, wrong=0.2)) as server:
        first = audit(server, models=(MODEL,))
        assert audit(server, models=(MODEL,)) == first and len(server.seen) == len(cases)
        fewer = audit(server, at=cases[:50], models=(MODEL,))[MODEL]  # another audit, which finds its answers in the file
        assert fewer["all"]["asked"] == 50 and len(server.seen) == len(cases)
    assert fewer["cost"]["answers"] == 50 and 0 < fewer["cost"]["dollars"] < 2 * first[MODEL]["cost"]["dollars"]
    assert audit(models=(MODEL,), replay=True, expert_backend="anthropic") == first


def test_abstentions_are_counted_by_kind_and_are_not_right(audit, cases):
    teacher, told = Teacher(cases), Counter()

    def answer(asked: Asked) -> str:
        which = int(asked.hash, 16) % 5
        told[which, teacher.case(asked).scene] += 1
        if which == 0:
            return json.dumps({"reason": "I see nothing", "answer": {"button": "unsure"}})
        if which == 1:
            return json.dumps({"reason": "up", "answer": {"tool": "find_path_action", "x": 10**9, "y": 0}})
        return "I would go up." if which == 2 else teacher(asked)

    with ModelServer(answer=answer, plan={5: "refusal", 6: "413"}) as server:
        model = audit(server, models=(MODEL,), shown=40)[MODEL]
    whole = model["all"]
    malformed = whole["abstained"].pop("malformed")  # asked twice, and paid twice
    assert malformed > 5 and len(server.seen) >= len(cases) + malformed and model["cost"]["answers"] == len(cases) - 1
    assert whole["abstained"].pop("refusal") == whole["abstained"].pop("rejected") == 1
    unsure, failed = (sum(count for (which, _), count in told.items() if which == one) for one in (0, 1))
    assert unsure - whole["abstained"]["unsure"] in (0, 1) and failed - whole["abstained"]["exception"] in (0, 1)
    assert set(whole["abstained"]) == {"unsure", "exception"}
    assert whole["asked"] == len(cases) and whole["right"] == len(cases) - 2 - malformed - sum(whole["abstained"].values())
    scenes = [one["abstained"].get("unsure", 0) for one in model["by_scene"].values()]
    assert sum(scenes) == whole["abstained"]["unsure"] and sum(count > 0 for count in scenes) > 1
    assert model["answers"].count("none: unsure") == whole["abstained"]["unsure"]
    text = Path("results/label_audit/label_audit.md").read_text()
    assert f"unsure {whole['abstained']['unsure']}" in text and "refusal 1" in text
    page = Path("results/label_audit/label_audit.html").read_text()
    assert page.count('<tr class="case">') == 40 and "none: unsure" in page and "I see nothing" in page


def test_a_hostile_reason_stays_text(audit, cases):
    reason = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\u202e{{ 7 * 7 }}\u0000\ud800'\""
    with ModelServer(answer=Teacher(cases, wrong=1.0, reason=reason)) as server:
        audit(server, models=(MODEL,))
    page = Path("results/label_audit/label_audit.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt;\\u202e{{ 7 * 7 }}" in page
    assert "<script" not in page and "onerror=alert(2)>" not in page and not {"\u202e", "\x00"} & set(page)
    assert page.count("<img ") == page.count('<img src="data:image/png;base64,') == len(cases)
    assert "default-src 'none'" in page


def test_the_page_shows_wrong_buttons_of_every_scene_before_abstentions(cases):
    answers = [Answer(None, "unsure", "") if number % 3 else Answer(2, None, "") for number in range(len(cases))]
    shown = wrong_ones(cases, answers, 20)
    scenes = Counter(cases[number].scene for number in shown)
    there = Counter(case.scene for case, answer in zip(cases, answers, strict=True) if answer.action not in case.right)
    assert len(shown) == len(set(shown)) == 20 and all(scenes[scene] >= min(5, count) for scene, count in there.items())
    assert all(answers[number].action not in cases[number].right for number in wrong_ones(cases, answers, 10**6))
    for scene in scenes:
        kinds = [answers[number].action is None for number in shown if cases[number].scene == scene]
        assert kinds == sorted(kinds)
    assert not all(answers[number].action is None for number in shown)
    assert wrong_ones(cases, answers, 0) == [] and wrong_ones(cases, [None] * len(cases), 20) == []
    assert tally(cases, [None] * len(cases))["asked"] == 0


def test_policies_of_a_folder_answer_in_a_sandbox_at_their_milestones(audit, cases, tmp_path):
    folder = tmp_path / "policies"
    folder.mkdir()
    assert GAME.policy_dir is not None
    (folder / "RIVAL_HOUSE.py").write_text((GAME.policy_dir / "RIVAL_HOUSE.py").read_text())
    spy = tmp_path / "spied"
    (folder / "CLOCK_SET.py").write_text(f"def run(state):\n    open({str(spy)!r}, 'w')\n    return 'a'\n")
    row = audit(policy_dir=str(folder))[f"policies of {folder}"]
    by = row["by_milestone"]
    n = {name: sum(case.milestone == name for case in cases) for name in MILESTONES}
    assert by["RIVAL_HOUSE"]["agree"] == by["RIVAL_HOUSE"]["asked"] == n["RIVAL_HOUSE"]
    assert by["CLOCK_SET"]["abstained"] == {"exception": n["CLOCK_SET"]} and not spy.exists()
    assert by["RIVAL_BATTLE_WON"]["asked"] == 0 and row["all"]["asked"] == n["RIVAL_HOUSE"] + n["CLOCK_SET"]
    counting = "import random\n\n\ndef run(state):\n    random.n = getattr(random, 'n', 0) + 1\n    return 'ab'[random.n % 2]\n"
    (folder / "CLOCK_SET.py").write_text(counting)
    found = audit(policy_dir=str(folder))[f"policies of {folder}"]["by_milestone"]
    assert found["CLOCK_SET"]["abstained"] == {"withdrawn": n["CLOCK_SET"]} and found["RIVAL_HOUSE"] == by["RIVAL_HOUSE"]
    (folder / "CLOCK_SET.py").write_text("def run(state:\n")
    with ModelServer() as server, pytest.raises(PolicyError, match="CLOCK_SET.py: is not Python"):
        audit(server, models=(MODEL,), policy_dir=str(folder))
    assert not server.seen


def visited(path: Path, cases: list[Case], **about) -> Path:
    """Write a data set of DAgger whose student visited these states."""
    about = {"milestone": "RIVAL_HOUSE", "buttons": list(GAME.buttons), "facts": {"game": GAME.id}} | about
    with DaggerData(path, "create", **about) as data:
        for step, case in enumerate(cases):
            pressed = BUTTONS.index(case.prev_action) if case.prev_action in BUTTONS else -1
            data.append([Row(case.frame, 0, 1, 1, step, prev_action=pressed, snapshot=case.snapshot)])
        if cases:
            data.commit(1)
    return path


def test_a_students_states_are_taken_from_its_data_set(audit, cases, tmp_path):
    wanted = [case for case in cases if case.milestone == "RIVAL_HOUSE"][:30]
    path = str(visited(tmp_path / "data.sqlite", wanted + wanted[:5]))
    found = find_cases(Args(states=0, data=path), MILESTONES)
    assert {(case.snapshot, case.prev_action) for case in found} == {(case.snapshot, case.prev_action) for case in wanted}
    assert {case.visitor for case in found} == {"student"}
    known = {case.snapshot: case for case in wanted}
    for case in found:
        like = known[case.snapshot]
        assert (case.action, case.right, case.scene) == (like.action, like.right, like.scene)
        assert np.array_equal(case.frame, like.frame)
    assert len(find_cases(Args(states=0, data=path, data_states=7), MILESTONES)) == 7
    both = find_cases(Args(states=10, milestones=("RIVAL_HOUSE",), data=path, data_states=7), ["RIVAL_HOUSE"])
    assert Counter(case.visitor for case in both) == {"student": 7, "noisy expert": 5, "random play": 5}
    assert {case.visitor for case in both[-7:]} != {"student"}  # the first are a fair sample, should the money not last
    for name, about, match in (
        ("other", {"facts": {"game": "other"}}, "of another game than Tallgrass"),
        ("whole", {"milestone": None}, "is of the whole game"),
        ("none", {}, "has no states of rollouts"),
    ):
        with pytest.raises(DaggerDataError, match=match):
            find_cases(Args(states=0, data=str(visited(tmp_path / name, [], **about))), MILESTONES)
    with pytest.raises(DaggerDataError, match="no such data set"):
        find_cases(Args(states=0, data="nowhere"), MILESTONES)


def test_money_is_not_passed_and_the_rest_is_not_counted(audit, cases, capsys):
    with ModelServer(answer=Teacher(cases)) as server:
        flags = {"models": (MODEL,), "expert_concurrency": 2, "expert_max_tokens": 512}
        few = audit(server, max_cost=0.004, **flags)[MODEL]
        assert 0 < few["all"]["asked"] == few["all"]["right"] < len(cases) and None in few["answers"]
        assert "--max-cost 0.004: $" in capsys.readouterr().out
        assert few["cost"]["dollars"] * few["cost"]["answers"] <= 0.004
        before = len(server.seen)
        whole = audit(server, max_cost=1.0, **flags)[MODEL]
        assert whole["all"]["asked"] == len(cases) == len(server.seen) and before == few["all"]["asked"]


def test_ctrl_c_loses_no_answer_that_is_paid(audit, cases):
    count, teacher = itertools.count(1), Teacher(cases)

    def interrupting(asked: Asked) -> str:
        if next(count) == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return teacher(asked)

    flags = {"models": (MODEL,), "expert_concurrency": 4, "at": cases[:60]}
    with ModelServer(answer=interrupting, seconds=0.1) as server:
        with pytest.raises(KeyboardInterrupt):
            audit(server, **flags)
        assert len(server.seen) < 30 and not Path("results").exists()
        assert audit(server, **flags)[MODEL]["all"]["right"] == 60 and len(server.seen) == 60


def test_an_answer_that_was_lost_is_told_and_asked_for_again(audit, cases, capsys):
    with ModelServer(answer=Teacher(cases), plan={7: "close", 8: "500"}) as server:
        lost = audit(server, at=cases[:20], models=(MODEL,), expert_tries=1)[MODEL]["all"]
        assert lost["abstained"] == {"connection": 1, "server error": 1} and lost["right"] == 18
        assert "2 answers were lost by accident (connection 1, server error 1)" in capsys.readouterr().out
        assert audit(server, at=cases[:20], models=(MODEL,))[MODEL]["all"]["right"] == 20 and len(server.seen) == 22
        assert "by accident" not in capsys.readouterr().out


def test_a_preview_asks_nothing(audit, cases, capsys):
    with ModelServer(answer=Teacher(cases)) as server:
        with pytest.raises(FileNotFoundError):
            audit(server, models=(MODEL, OTHER), preview=True)
        assert not server.seen and not Path("results").exists()
    said = capsys.readouterr().out
    assert MODEL in said and OTHER in said and "120" in said and "counted by the server" in said


def test_what_cannot_be_asked_is_one_line_before_anything_is(audit, cases, monkeypatch):
    with ModelServer() as server:
        for flags, error, match in (
            ({"models": ("nobody",)}, ModelError, "--expert-model nobody: the server has no such model.*it has claude-haiku"),
            ({"models": (MODEL, "text-only")}, ModelError, "takes no pictures"),
            ({"models": (MODEL, "nobody"), "max_cost": 1.0}, PriceError, "the price of nobody is not known"),
            ({"models": (MODEL, MODEL)}, FlagError, "named twice"),
            ({"models": (MODEL,), "milestones": ("NOWHERE",)}, FlagError, "Tallgrass has no NOWHERE; it has GAME_RUNNING"),
            ({"models": (MODEL,), "noise": 2.0}, FlagError, "--noise is 2.0"),
            ({"replay": True}, FlagError, "--replay is only for a language model"),
            ({"models": (MODEL,), "policy_dir": "nowhere"}, ValueError, "--policy-dir nowhere: has no policy"),
        ):
            with pytest.raises(error, match=match):
                audit(server, **flags)
        assert not server.seen and not Path("results").exists()
    with pytest.raises(FlagError, match="there are no states"):
        check_flags(Args(states=0))
    with pytest.raises(ValueError, match="calls.sqlite: has no answer of claude-haiku-5-5 to any of these states"):
        audit(models=(MODEL,), replay=True)
    with pytest.raises(ModelError, match="ANTHROPIC_API_KEY: the environment variable with the key is not set"):
        audit(models=(MODEL,))


def test_a_state_only_model_is_asked_without_pictures(audit, cases):
    teacher = Teacher(cases)

    def answer(asked: Asked) -> str:
        assert not any(isinstance(part, bytes) for part in asked.parts)
        return teacher(asked)

    with ModelServer(answer=answer) as server:
        row = audit(server, models=("text-only",), expert_sees="state")["text-only"]
    assert row["all"]["agree"] >= 0.95 * len(cases) and row["cost"]["dollars"] is None
    assert "| unknown |" in Path("results/label_audit/label_audit.md").read_text()
