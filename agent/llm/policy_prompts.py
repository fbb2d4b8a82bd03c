"""What a model that writes policies is told, and how the file is taken from its answer. Pure functions, as in `prompts.py`."""

from __future__ import annotations

import inspect
import json
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.llm.prompts import enlarged, estimated_tokens, format_state_for_llm
from pokemon_env.games.base import Game
from pokemon_env.milestones import Milestone

MOST_TOKENS = 12_000
"""Of a prompt. What is cut is said in it."""
PICTURE_TOKENS = 140
"""Of one enlarged screen, roughly."""
_RULES = Path(__file__).with_name("policy_rules.md")
_LANGUAGES = ("", "python", "py", "python3")
_DEFINES_RUN = re.compile(r"^(?:async )?def run\b|^run\s*=", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """A part of a prompt."""

    content: str | np.ndarray
    """Text, or a screen, (H, W, 3) uint8 RGB."""
    name: str = ""
    """What it is, for the line that says what was cut; "" for what is never cut."""
    rank: int = 0
    """Of those with names, the highest is cut first."""

    @property
    def tokens(self) -> int:
        return estimated_tokens(self.content) if isinstance(self.content, str) else PICTURE_TOKENS


def policy_rules(game: Game, imports: Sequence[str], call_seconds: float) -> str:
    """Return what comes first in all questions for policies of a game: the same bytes for all milestones.

    imports: names of the modules that a policy may import. call_seconds: how long it may take for one answer.
    """
    tools = "\n".join(_documented(name, tool) for name, tool in game.tools().items())
    buttons = ", ".join(repr(name.lower()) for name in game.buttons)
    return string.Template(_RULES.read_text()).substitute(
        game=game.name, buttons=buttons, imports=", ".join(sorted(imports)), seconds=f"{call_seconds:g}", tools=tools
    )


def _documented(name: str, tool: Any) -> str:
    signature = str(inspect.signature(tool)).replace("'", "")
    return f"- {name}{signature}: {' '.join((inspect.getdoc(tool) or '').split())}"


def milestone_parts(
    game: Game, milestone: str, starts: Sequence[tuple[Mapping[str, Any], np.ndarray]], winners: Sequence[tuple[str, str]]
) -> list[Part]:
    """Return what a question says of its milestone.

    Args:
        game, milestone: what is played.
        starts: states that episodes begin at, with their screens.
        winners: milestones whose policies have won in this run, with their text; the nearest first.
    """
    story = [one.id for one in game.milestones]
    place = story.index(milestone)
    before, after = (story[place - 1] if place else None), (story[place + 1] if place + 1 < len(story) else None)
    about = f"# The milestone {milestone}\n{described(game.milestones[place])}"
    about += f"\nBefore it: {described(game.milestones[place - 1])} ({before})" if before else "\nIt is the first: the game begins."
    about += f"\nAfter it: {described(game.milestones[place + 1])} ({after})" if after else ""
    parts = [Part(about)]
    if starts:
        raw = dict(starts[0][0])
        raw["map"] = {key: value for key, value in raw["map"].items() if key not in ("tiles", "ascii_map")} | {"ascii_map": ["..."]}
        raw["game"] = {key: value for key, value in raw["game"].items() if key not in ("events", "tier_flags", "world")}
        raw["milestones"] = {"...": {"completed": False}}
        parts.append(Part("A state as the policy gets it, shortened:\n" + json.dumps(raw), "a raw state", 2))
    for number, (state, picture) in enumerate(starts, 1):
        parts.append(Part(f"\n# Start {number}\n{format_state_for_llm(state)}", f"start {number}", 3 if number > 1 else 1))
        parts.append(Part(enlarged(picture), f"the screen of start {number}", 3))
    for name, code in winners:
        parts.append(Part(f"\n# A policy of yours that reaches {name}\n```python\n{code.strip()}\n```", f"the policy of {name}", 4))
    return parts


def described(milestone: Milestone) -> str:
    """Return a milestone's description."""
    return milestone.description


def shortened(parts: Sequence[Part], most: int = MOST_TOKENS) -> list[str | np.ndarray]:
    """Return the parts' contents, without as many of those that may be cut as are too much, and with a line that says so.

    Parts of one name are cut together: first those of the highest rank, of equal ones the longest, of equal ones the last.
    """
    kept = list(parts)
    cut: list[str] = []
    while sum(part.tokens for part in kept) > most:
        groups: dict[str, tuple[int, int, int]] = {}  # rank, tokens, and the place of its last part: a screen goes with its caption
        for place, part in enumerate(kept):
            if part.name:
                groups[part.name] = (part.rank, groups.get(part.name, (0, 0, 0))[1] + part.tokens, place)
        if not groups:
            break
        worst = max(groups, key=groups.__getitem__)
        kept = [part for part in kept if part.name != worst]
        cut.append(worst)
    contents = [part.content for part in kept]
    return [*contents, f"\n(Left out for length: {', '.join(cut)}.)"] if cut else contents


def code_of(text: str) -> tuple[str, str] | None:
    """Return the policy in an answer, and what the model wrote before it; None if no fenced block defines `run`.

    The last such block counts. Its end may be missing only if the answer has no other: then it was cut off, and is none.
    """
    text = text.replace("\r\n", "\n")
    found = [(start, code) for start, language, code in _blocks(text) if language in _LANGUAGES and _DEFINES_RUN.search(code)]
    if not found:
        return None
    start, code = found[-1]
    return code.rstrip() + "\n", text[:start].strip()


def _blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield where each fenced block of a text begins, its language, and its content. One without an end is none.

    Line by line, as a pattern looks at each of thousands of fences again from every other.
    """
    place, start, language = 0, -1, ""
    lines: list[str] = []
    for line in text.split("\n"):
        word = line[3:].strip() if line.startswith("```") else "`"
        if start < 0 and "`" not in word:
            start, language, lines = place, word.lower(), []
        elif start >= 0 and not word:
            yield start, language, "\n".join(lines)
            start = -1
        elif start >= 0:
            lines.append(line)
        place += len(line) + 1
