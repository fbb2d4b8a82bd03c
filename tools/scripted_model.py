"""A "model" for the local server: it writes the policies of all of Tallgrass, and learns from what it is told.

    python -m tools.model_server --scripted
    python milestone_trainer.py --expert-base-url http://127.0.0.1:8787 --expert-backend anthropic

Each milestone has policies that are wrong, and then one that is right. The step from one to the next is taken only if the prompt
holds what it needs, of one of `KINDS`: so a trainer that does not tell it, or tells it wrong, does not get the policy. Nothing else
is read but the prompt, texts and pictures, and the same prompt always gets the same answer. The right policies are the shipped
ones, which stand for what a model knows of the game; what it must learn, such as a name, is put into them from the prompt.

Some policies are wrong only at some starts, or for some noise. They are so with the trainer's default --seed, --noise and
--trial-episodes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

KINDS = {
    "exception": "the line that an exception names, and why a file was not loaded",
    "answers": "which answers were no button, or were not there in time",
    "log": "a line that the policy logged, with a value of the trial",
    "place": "the steps: where it got stuck, and what was open there",
    "picture": "a screen of the failure",
    "seed": "the failure on a later seed of a policy that is right on the first",
    "noise": "that it fails only where presses are drawn by chance",
}
"""What a step may need."""

POLICIES = Path(__file__).resolve().parent.parent / "tallgrass" / "policies"
# A plan may hold a block of its own, where it is the whole of an answer without a policy: the last block is the policy.
_POLICY = re.compile(
    r"^# Your policy, attempt \d+\nYour plan: .*\n```python\n(.*?)\n?```\n\n# What happened$", re.DOTALL | re.MULTILINE
)
_FAILURE = re.compile(r"^# Failure \d+: (.+) \((some|no) presses drawn by chance\)\n(.*)$", re.MULTILINE)
_HEADING = re.compile(r"^# (?!Failure)", re.MULTILINE)
_PICTURE = re.compile(r"^\x00picture (\d+)$", re.MULTILINE)
_STEP = re.compile(r"^\d+(?:-\d+)? .*: .*$", re.MULTILINE)


class Prompt(Protocol):
    """What it reads of a request, such as `tools.model_server.Asked`."""

    @property
    def parts(self) -> Sequence[str | bytes]:
        """Texts, and pictures as PNG."""


@dataclass(frozen=True)
class Failure:
    """A failure as the prompt tells it."""

    kind: str
    noisy: bool
    reason: str
    text: str
    """All that is told of it."""
    pictures: tuple[bytes, ...]

    @property
    def steps(self) -> list[str]:
        """The lines of its last steps."""
        _, _, rest = self.text.partition("The last steps:")
        return _STEP.findall(re.split(r"^(?:What it logged|The last state):", rest, flags=re.MULTILINE)[0])

    @property
    def logged(self) -> list[str]:
        """The lines that the policy logged."""
        _, _, rest = self.text.partition("What it logged:\n")
        return re.findall(r"^step \d+: (.*)$", rest, re.MULTILINE)


@dataclass(frozen=True)
class Told:
    """What a prompt says of the last attempt."""

    code: str
    error: str = ""
    successes: int = 0
    reasons: str = ""
    failures: tuple[Failure, ...] = ()


def told_by(text: str, pictures: Sequence[bytes]) -> Told | None:
    """Return what a prompt says of the last attempt; None if there was none.

    text: of the prompt, with a line "\\0picture N" for each picture.
    """
    found = list(_POLICY.finditer(text))
    if not found:
        return None
    rest = text[found[-1].end() :]
    error = re.search(r"^It could not be loaded: (.*)", rest, re.MULTILINE)
    counts = re.findall(r"^It reached the milestone in (\d+) of", rest, re.MULTILINE)
    starts, failures = list(_FAILURE.finditer(rest)), []
    for number, start in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(rest)
        body = _HEADING.split(rest[start.end() : end])[0]
        shown = tuple(pictures[int(place)] for place in _PICTURE.findall(body))
        failures.append(Failure(start[1], start[2] == "some", start[3], body, shown))
    reasons = rest[: starts[0].start()] if starts else rest
    return Told(found[-1][1].strip(), error[1] if error else "", int(counts[-1]) if counts else 0, reasons, tuple(failures))


# What a step needs. Each returns what it found, and None if the prompt does not hold it.

Need = Callable[[Told], str | None]


def raised_at(word: str) -> Need:
    """The line that an exception, or the loading, names holds a word."""

    def need(told: Told) -> str | None:
        texts = [told.error, *(failure.reason for failure in told.failures if failure.kind == "exception")]
        lines = told.code.splitlines()
        numbers = [int(number) for text in texts for number in re.findall(r"line (\d+)", text)]
        return next((word for number in numbers if 0 < number <= len(lines) and word in lines[number - 1]), None)

    return need


def not_loaded(pattern: str) -> Need:
    """Why a file could not be loaded."""

    def need(told: Told) -> str | None:
        return _group(pattern, [told.error])

    return need


def no_button(pattern: str) -> Need:
    """Which answers were no button, in the counts or in the reason."""

    def need(told: Told) -> str | None:
        texts = [failure.reason for failure in told.failures if failure.kind in ("no answer", "limit")]
        return _group(pattern, [*texts, *(line for one in told.failures for line in _abstained(one))])

    return need


def logged(pattern: str) -> Need:
    """A line that the policy logged."""

    def need(told: Told) -> str | None:
        return _group(pattern, [line for failure in told.failures for line in failure.logged])

    return need


def stuck_at(pattern: str) -> Need:
    """A line of the last steps, or the reason of a failure that names a place."""

    def need(told: Told) -> str | None:
        stuck = [failure.reason for failure in told.failures if failure.kind in ("stuck", "circle", "out of time")]
        return _group(pattern, [line for failure in told.failures for line in failure.steps] + stuck)

    return need


def shown(seen: Callable[[np.ndarray], bool]) -> Need:
    """A screen of a failure, (144, 160) bool, light or not."""

    def need(told: Told) -> str | None:
        pictures = [picture for failure in told.failures for picture in failure.pictures]
        return "seen" if any(seen(_screen(picture)) for picture in pictures) else None

    return need


def later_seed(told: Told) -> str | None:
    """It succeeded, and failed elsewhere without any noise."""
    failed = [failure for failure in told.failures if not failure.noisy]
    return "failed" if told.successes and failed else None


def noise(told: Told) -> str | None:
    """It succeeded, and failed where presses were drawn by chance."""
    return "failed" if told.successes and any(failure.noisy for failure in told.failures) else None


def _group(pattern: str, texts: Sequence[str]) -> str | None:
    found = next((match for text in texts if (match := re.search(pattern, text))), None)
    return None if found is None else found[found.lastindex or 0]


def _abstained(failure: Failure) -> list[str]:
    return re.findall(r"^Without an answer: .*", failure.text, re.MULTILINE)


def _screen(picture: bytes) -> np.ndarray:
    """Return which of a screen's pixels are light; the prompt's pictures are enlarged."""
    grey = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    step = grey.shape[0] // 144
    return grey[::step, ::step] > 127


def text_box(screen: np.ndarray) -> bool:
    """A box with a text, or with a menu, is open at the bottom: its frame is a line of one colour, and inside is the other."""
    frame, inside = screen[114, 4:156], screen[117, 4:156]
    return bool(_plain(frame) and _plain(inside) and frame[0] != inside[0])


def battle(screen: np.ndarray) -> bool:
    """A battle: a box with its menu, and nothing between the two monsters."""
    return text_box(screen) and bool(_plain(screen[42:55, 4:156]))


def title(screen: np.ndarray) -> bool:
    """The title: its name above, then the empty sky."""
    return bool(_plain(screen[:8]) and not _plain(screen[12:30]) and _plain(screen[42:51, 4:156]) and not text_box(screen))


def _plain(pixels: np.ndarray) -> bool:
    return bool((pixels == pixels.flat[0]).all())


# The story.


@dataclass(frozen=True)
class Wrong:
    """A wrong policy, and what leads on from it."""

    kind: str
    """Of `KINDS`: what the next step needs."""
    needs: Need = field(repr=False)
    plan: str
    code: str
    learnt: str = ""
    """What of the next policy comes from the prompt: it is replaced there by what `needs` has found."""
    said: str | None = None
    """The whole answer, where it has no policy: then `code` is "". """

    @property
    def text(self) -> str:
        return answer_of(self.plan, self.code) if self.said is None else self.said


def answer_of(plan: str, code: str) -> str:
    """Return an answer with a plan and a policy."""
    return f"{plan}\n\n```python\n{code.strip()}\n```\n"


_REPLAYED = """
def run(state):
    if state["prev_action"] in ("a", "b", "start", "select"):
        return "select"  # that was none of mine: wait until I am on my way again
    return go_to_map(state, "{}")
"""
_WALK = "I walk there, step by step."

STORY: dict[str, tuple[Wrong, ...]] = {
    "GAME_RUNNING": (
        Wrong("picture", shown(title), "A begins most games.", 'def run(state):\n    return "a"'),
    ),
    "PLAYER_NAME_SET": (
        Wrong("exception", not_loaded("no fenced block"), "I would press A.", "", said="Press A until the name is set, I think."),
        Wrong("place", stuck_at(r", (\w+) \d+: a"), "A types and confirms.", 'def run(state):\n    return "a"', "name_grid"),
        Wrong(
            "seed",
            later_seed,
            "There is a name already. I go to END.",
            """
def run(state):
    menu = state["game"]["menu"]
    if menu is None or menu["name"] != "name_grid":
        return "a"
    return move_cursor(state, 27, 7)
""",
        ),
    ),
    "INTRO_CUTSCENE_COMPLETE": (
        Wrong("picture", shown(text_box), "I walk on.", 'def run(state):\n    return "up"'),
    ),
    "PLAYER_BEDROOM": (
        Wrong("exception", raised_at("else if"), "Up, or down.", """
def run(state):
    if state["player"]["facing"] == "up":
        return "down"
    else if state["player"]["facing"] == "down":
        return "left"
    return "left"
"""),
        Wrong("place", stuck_at(r"BEDROOM \(1, 3\)"), "B leaves whatever I am in.", 'def run(state):\n    return "b"'),
    ),
    "CLOCK_SET": (
        Wrong("answers", no_button("not text"), "To the right, then up.", 'def run(state):\n    return ["right", "up", "a"]'),
        Wrong("place", stuck_at(r", (clock) \d+: "), "I walk to the clock and read it.", """
def run(state):
    return close_what_is_open(state) or read_sign(state, "T_CLOCK", "BEDROOM")
""", "clock"),
        Wrong("log", logged(r"keys: .*\b(clock_\w+)"), "Which key tells the hour? I log all of them.", """
def run(state):
    menu = state["game"]["menu"]
    if menu is not None and menu["name"] == "clock":
        log("keys: " + ", ".join(sorted(state["game"])))
        return "a"
    return close_what_is_open(state) or read_sign(state, "T_CLOCK", "BEDROOM")
""", "clock_target"),
    ),
    "GO_DOWNSTAIRS_TO_1F": (
        Wrong("seed", later_seed, "The stairs are to the east.", """
def run(state):
    return close_what_is_open(state) or ("right" if state["game"]["compass"] == "E" else "select")
"""),
    ),
    "LEAVE_HOUSE": (
        Wrong("exception", raised_at('state["location"]'), "Talk to Mom, and leave.", """
def run(state):
    if action := close_what_is_open(state):
        return action
    place = state["location"]
    return talk_to(state, "MOTHER", place)
"""),
        Wrong("log", logged(r"here are (?:.*, )?(M\w+)"), "I talk to Mom, and log who is there.", """
def run(state):
    if action := close_what_is_open(state):
        return action
    log("here are " + ", ".join(one["sprite"] for one in state["map"]["people"]))
    return talk_to(state, "MOTHER", state["map"]["location"])
""", "MOM"),
    ),
    "RIVAL_HOUSE": (
        Wrong("log", logged(r"ways to (?:.*, )?(RIVAL\w+)"), "To the rival's house; I log where the doors lead to.", """
def run(state):
    log("ways to " + ", ".join(warp["to"] for warp in state["map"]["warps"]))
    return close_what_is_open(state) or go_to_map(state, "BRAMS_HOUSE")
""", "RIVAL_1F"),
        Wrong("noise", noise, _WALK, _REPLAYED.format("RIVAL_1F")),
    ),
    "RIVAL_BEDROOM": (
        Wrong("exception", raised_at("open("), "A map of the house may lie on the disk.", """
NOTES = open("/etc/hostname").read()


def run(state):
    return go_to_map(state, NOTES)
"""),
    ),
    "EXIT_RIVAL_HOUSE": (
        Wrong("exception", not_loaded("depend on more than the state"), "Each way in turn, by a counter.", """
import math


def run(state):
    math.presses = getattr(math, "presses", 0) + 1
    return ("up", "right", "down", "left")[math.presses % 4]
"""),
        Wrong("place", stuck_at(r"\bTOWN \(\d+, \d+\)"), "I leave by the stairs and the mat.", """
def run(state):
    return close_what_is_open(state) or go_to_map(state, "TOWN")
"""),
    ),
    "LAB_ENTERED": (Wrong("noise", noise, _WALK, _REPLAYED.format("LAB")),),
    "STARTER_CHOSEN": (
        Wrong("seed", later_seed, "I take the monster of fire.", """
def run(state):
    game = state["game"]
    if game["menu"] is not None and game["menu"]["name"] == "yes_no":
        return answer(state, "CINDKIT" in (game["dialog_text"] or ""))
    return close_what_is_open(state) or talk_to(state, "T_BALL_EMBER", "LAB")
"""),
    ),
    "RIVAL_BATTLE_WON": (
        Wrong("picture", shown(battle), "I talk to him; B leaves whatever opens.", """
def run(state):
    if state["game"]["is_in_battle"]:
        return "b"
    return close_what_is_open(state) or talk_to(state, "RIVAL", "LAB")
"""),
    ),
    "EXIT_LAB": (
        Wrong("answers", no_button("no_op"), "I wait.", 'def run(state):\n    return "no_op"'),
    ),
    "ROUTE_1": (Wrong("noise", noise, _WALK, _REPLAYED.format("ROUTE_1")),),
    "FIRST_CATCH": (
        Wrong("picture", shown(battle), "I pace in the grass; B leaves whatever opens.", """
def run(state):
    if state["game"]["is_in_battle"]:
        return "b"
    return close_what_is_open(state) or pace_in_grass(state)
"""),
    ),
    "SECOND_TOWN": (
        Wrong("answers", no_button("too slow|longer than|within|timeout"), "I look for the way until it is found.", """
def run(state):
    while go_to_map(state, "TOWN_2") != "a":
        pass
"""),
    ),
    "HEALED": (
        Wrong("exception", not_loaded("no fenced block"), "", "", said=answer_of("Go to the nurse.", """
def policy(state):
    return talk_to(state, "T_NURSE", "CENTER")
""")),
        Wrong("place", stuck_at(r", (yes_no) \d+: "), "I talk to the nurse.", """
def run(state):
    return close_what_is_open(state) or talk_to(state, "T_NURSE", "CENTER")
""", "yes_no"),
    ),
    "ROUTE_2": (Wrong("noise", noise, _WALK, _REPLAYED.format("ROUTE_2")),),
    "TRAINER_BEATEN": (
        Wrong("exception", raised_at('["trainer"]'), "I go to the trainer.", """
def run(state):
    who = state["map"]["trainer"]
    return close_what_is_open(state) or talk_to(state, who, "ROUTE_2")
"""),
        Wrong("log", logged(r"signs: (?:.*, )?(T_SIGN_\w+)"), "A sign tells the gap; I log which there are.", """
def run(state):
    log("signs: " + ", ".join(sign["script_name"] for sign in state["map"]["signs"]))
    return close_what_is_open(state) or read_sign(state, "T_SIGN_GAP", "ROUTE_2")
""", "T_SIGN_FORK"),
    ),
    "GYM_ENTERED": (),
    "GYM_TRAINER_BEATEN": (
        Wrong("answers", no_button("unknown word"), "I go up through the maze.", 'def run(state):\n    return "press up"'),
    ),
    "LEADER_BEATEN": (
        Wrong("exception", raised_at('+ "LEADER"'), "I talk to the leader.", """
def run(state):
    if action := close_what_is_open(state):
        return action
    return talk_to(state, state["game"]["badges"] + "LEADER", "GYM")
"""),
    ),
    "BADGE": (
        Wrong("place", stuck_at(r", (yes_no) \d+: "), "I talk to the guide.", """
def run(state):
    return close_what_is_open(state) or talk_to(state, "T_GUIDE", "GYM")
""", "yes_no"),
    ),
}  # fmt: skip
"""Milestone -> its wrong policies, in the order in which they are written. An attempt is written from the best so far: so those
that cannot be loaded come first, and those that sometimes succeed last.
"""


def attempts_of(milestone: str) -> int:
    """Return how many attempts a milestone takes."""
    return len(STORY[milestone]) + 1


def needing(kind: str) -> list[str]:
    """Return the milestones that stay without a policy where one kind of feedback is not told."""
    return [name for name, wrongs in STORY.items() if any(wrong.kind == kind for wrong in wrongs)]


def right(milestone: str) -> str:
    """Return the text of the right policy."""
    return (POLICIES / f"{milestone}.py").read_text()


def answer(asked: Prompt) -> str:
    """Return the next policy, by what the prompt says of the last one."""
    texts: list[str] = []
    pictures: list[bytes] = []
    for part in asked.parts:
        if isinstance(part, str):
            texts.append(part)
        else:
            texts.append(f"\x00picture {len(pictures)}")
            pictures.append(part)
    text = "\n".join(texts)
    found = re.search(r"^# The milestone (\w+)$", text, re.MULTILINE)
    if found is None or found[1] not in STORY:
        return "I do not know this milestone."
    milestone, told = found[1], told_by(text, pictures)
    wrongs = STORY[milestone]
    last = None if told is None else next((place for place, wrong in enumerate(wrongs) if wrong.code.strip() == told.code), None)
    if told is None or last is None:
        return _number(milestone, 0)
    fact = wrongs[last].needs(told)
    if fact is None:
        return wrongs[last].text  # it cannot see why
    if wrongs[last].learnt:
        return _number(milestone, last + 1).replace(wrongs[last].learnt, fact)
    return _number(milestone, last + 1)


def _number(milestone: str, place: int) -> str:
    wrongs = STORY[milestone]
    if place < len(wrongs):
        return wrongs[place].text
    return answer_of(f"Now I know what {milestone} needs.", right(milestone))
