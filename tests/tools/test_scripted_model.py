"""The model that writes policies by script: a step is taken only where the prompt holds what it needs."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from agent.llm.policy_prompts import code_of
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from tasks.milestone_config import load_milestone_config
from tools import scripted_model
from tools.model_server import Asked, scripted_answer
from tools.scripted_model import KINDS, STORY, Wrong, answer, right, shown
from trainer.feedback import Attempt, feedback_parts
from trainer.trial import Episode, Picture, Step, Trial


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def asked(milestone: str, attempt: Attempt | None = None, schema=None) -> Asked:
    parts: list[str | bytes] = [
        f"# The milestone {milestone}\nDo it.",
        "\n# A policy of yours that reaches X\n```python\npass\n```",
    ]
    for part in [] if attempt is None else feedback_parts(attempt, [], 9):
        parts.append(part.content if isinstance(part.content, str) else png(part.content))
    return Asked("anthropic", "m", "rules", tuple(parts), schema, "hash", 1)


def after(wrong: Wrong, *episodes: Episode, error: str = "", successes: int = 0) -> Attempt:
    """What came of a wrong policy."""
    won = [Episode(0, False, True, 5)] * successes
    trial = None if error else Trial([*won, *episodes], 8)
    return Attempt(1, wrong.plan if wrong.code else wrong.text, wrong.code.strip(), error, trial)


def failure(kind="stuck", reason="nothing changed", noisy=False, line="HERE", log=(), **further) -> Episode:
    steps = [Step(1, line, (1, 1), "up", "", further.pop("menu", ""), further.pop("button", "b"), False, "", tuple(log))]
    return Episode(1, noisy, False, 20, kind, reason, last=steps, **further)


def test_there_is_a_script_for_each_milestone_that_the_config_has_room_for():
    assert list(STORY) == [milestone.id for milestone in GAME.milestones]
    config = load_milestone_config()
    assert all(scripted_model.attempts_of(name) <= 1 + config[name].max_retries for name in STORY)
    for kind in KINDS:
        assert len(scripted_model.needing(kind)) >= 3, kind
    assert {wrong.kind for wrongs in STORY.values() for wrong in wrongs} == set(KINDS)
    for name, wrongs in STORY.items():
        texts = [wrong.text for wrong in wrongs]
        assert len({wrong.code.strip() for wrong in wrongs}) == len(wrongs) and right(name) not in texts
        for wrong in wrongs:
            found = code_of(wrong.text)
            assert (found[0].strip() if found else "") == wrong.code.strip()


@pytest.mark.parametrize("milestone", STORY)
def test_it_begins_with_the_first_and_is_not_told_the_right_one(milestone):
    first = answer(asked(milestone))
    assert first == answer(asked(milestone)) == (STORY[milestone][0].text if STORY[milestone] else first)
    assert (right(milestone).strip() in first) == (not STORY[milestone])


@pytest.mark.parametrize("milestone, place", [(name, place) for name, wrongs in STORY.items() for place in range(len(wrongs))])
def test_where_nothing_is_told_the_same_is_written_again(milestone, place):
    wrong = STORY[milestone][place]
    assert answer(asked(milestone, after(wrong, error="left out"))) == wrong.text
    assert answer(asked(milestone, after(wrong, failure("other", "left out", noisy=False)))) == wrong.text
    assert answer(asked(milestone, after(wrong, successes=3))) == wrong.text


def last_of(milestone: str) -> Wrong:
    return STORY[milestone][-1]


def is_right(milestone: str, attempt: Attempt) -> bool:
    return code_of(answer(asked(milestone, attempt)))[0].strip() == right(milestone).strip()


def test_an_exception_is_found_by_its_line():
    wrong = last_of("LEADER_BEATEN")
    assert is_right("LEADER_BEATEN", after(wrong, failure("exception", "policy.py: TypeError: no (line 4)")))
    assert not is_right("LEADER_BEATEN", after(wrong, failure("exception", "policy.py: TypeError: no (line 2)")))
    assert not is_right("LEADER_BEATEN", after(wrong, failure("exception", "policy.py: TypeError: no")))


def test_what_was_logged_goes_into_the_next_policy():
    wrong = last_of("CLOCK_SET")
    log = ["keys: badges, clock_hour, wish"]
    code = code_of(answer(asked("CLOCK_SET", after(wrong, failure(log=log)))))[0]
    assert code.strip() == right("CLOCK_SET").replace("clock_target", "clock_hour").strip() != right("CLOCK_SET").strip()


def test_the_place_is_read_from_the_steps():
    wrong = STORY["PLAYER_NAME_SET"][1]
    code = code_of(answer(asked("PLAYER_NAME_SET", after(wrong, failure("circle", "x", menu="grid 5", button="a")))))[0]
    assert 'menu["name"] != "grid"' in code and code.count("grid") == 1
    assert is_right("PLAYER_BEDROOM", after(last_of("PLAYER_BEDROOM"), failure("stuck", "nothing changed, at BEDROOM (1, 3)")))


def test_answers_that_were_no_button_are_read_from_their_counts():
    wrong = last_of("EXIT_LAB")
    assert is_right("EXIT_LAB", after(wrong, failure("no answer", "no button", abstentions={"no_op": 20})))
    assert not is_right("EXIT_LAB", after(wrong, failure("no answer", "no button", abstentions={"none": 20})))


def test_a_later_seed_and_noise_are_told_apart():
    for name, noisy in (("STARTER_CHOSEN", False), ("ROUTE_1", True)):
        wrong = last_of(name)
        assert is_right(name, after(wrong, failure(noisy=noisy), successes=3))
        assert not is_right(name, after(wrong, failure(noisy=not noisy), successes=3))
        assert not is_right(name, after(wrong, failure(noisy=noisy), successes=0))


def test_pictures_are_looked_at(rom_path):
    screens = {}
    for name in ("GAME_RUNNING", "INTRO_CUTSCENE_COMPLETE", "EXIT_LAB", "ROUTE_1"):
        with PokemonEnv(rom_path, target_milestone=name, start_milestone=name, tier="T1", worlds="0") as env:
            screens[name] = env.reset(seed=1)[0].copy()
    for seen, only in ((scripted_model.title, "GAME_RUNNING"), (scripted_model.text_box, "INTRO_CUTSCENE_COMPLETE")):
        for name, screen in screens.items():
            told = scripted_model.Told("", failures=(scripted_model.Failure("", False, "", "", (png(screen),)),))
            assert (shown(seen)(told) is not None) == (name == only), (seen, name)
            assert not scripted_model.battle(screen[:, :, 0] > 127)
    pictures = [Picture(1, "a", screens["GAME_RUNNING"])]
    assert is_right("GAME_RUNNING", after(last_of("GAME_RUNNING"), failure(pictures=pictures)))
    assert not is_right("GAME_RUNNING", after(last_of("GAME_RUNNING"), failure(pictures=[Picture(1, "a", screens["ROUTE_1"])])))


def test_other_questions_are_answered_by_their_schema():
    schema = {"type": "object", "properties": {"button": {"enum": ["a"]}}, "required": ["button"], "additionalProperties": False}
    assert json.loads(scripted_answer(asked("LAB_ENTERED", schema=schema))) == {"button": "a"}
    assert scripted_answer(asked("LAB_ENTERED")) == STORY["LAB_ENTERED"][0].text
    assert code_of(answer(asked("NOWHERE"))) is None
