"""The page of `benchmarks.label_audit`: what experts answered wrongly, with the screen, their reasons, and the right buttons.

What a model wrote is a stranger's text: it is escaped, unprintable characters as well. The page runs no script and loads nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agent.llm.prompts import format_state_for_llm
from agent.oracle import Answer
from benchmarks.label_cases import SCENES, Case
from benchmarks.label_table import Answers, Result, tally, word_of
from common.runtime.files import save_text
from common.runtime.plain_text import printable
from common.statistics import rate_text
from pokemon_env.games.tallgrass import GAME

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(path: Path, cases: Sequence[Case], results: Sequence[Result], most: int) -> Path:
    """Write the page atomically, and return its path. most: wrong answers of each expert that are shown."""
    experts = []
    for result in results:
        whole, numbers = tally(cases, result.answers), wrong_ones(cases, result.answers, most)
        shown = [_shown(cases[number], answer) for number in numbers if (answer := result.answers[number]) is not None]
        wrong = whole["asked"] - whole["right"]
        experts.append({"name": result.name, "right": rate_text(whole["right"], whole["asked"]), "wrong": wrong, "shown": shown})
    save_text(path, _ENVIRONMENT.get_template("label_page.html").render(experts=experts, n_states=len(cases)))
    return path


def wrong_ones(cases: Sequence[Case], answers: Answers, most: int) -> list[int]:
    """Return the numbers of states with a wrong answer, at most so many: as many of each kind of scene, as far as there are.

    Wrong buttons come before abstentions. They stand in the order of the scenes.
    """
    pools: dict[str, list[int]] = {scene: [] for scene in SCENES}
    for is_abstention in (False, True):
        for number, (case, answer) in enumerate(zip(cases, answers, strict=True)):
            if answer is not None and answer.action not in case.right and (answer.action is None) == is_abstention:
                pools.setdefault(case.scene, []).append(number)
    share = dict.fromkeys(pools, 0)
    left = most
    while left and (hungry := [scene for scene, pool in pools.items() if share[scene] < len(pool)]):
        for scene in hungry[:left]:
            share[scene] += 1
            left -= 1
    return [number for scene, pool in pools.items() for number in pool[: share[scene]]]


def _shown(case: Case, answer: Answer) -> dict[str, Any]:
    expert, right = GAME.buttons[case.action].lower(), [GAME.buttons[one].lower() for one in case.right if one != case.action]
    return {
        "picture": _png(case.frame), "scene": case.scene, "milestone": case.milestone, "visitor": case.visitor,
        "answer": word_of(answer), "abstained": answer.action is None, "expert": expert, "right": right,
        "reason": printable(answer.reason or ""), "state": list(map(printable, format_state_for_llm(case.state).splitlines())),
    }  # fmt: skip


def _png(frame: np.ndarray) -> str:
    """Return a screen as a data URI."""
    right, png = cv2.imencode(".png", np.ascontiguousarray(frame[:, :, ::-1]))
    assert right
    return f"data:image/png;base64,{base64.b64encode(png.tobytes()).decode()}"
