"""What a model is told about a state, and how its answer becomes a button. Pure functions: equal arguments make equal texts.

Nothing of a text differs between equal runs: no time, no path, no name of the machine. So equal questions are found again in the
file of calls.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from agent.oracle import Answer
from common.runtime.plain_text import printable
from pokemon_env.games.base import Game

Sees = Literal["both", "state", "picture"]
"""What a model sees of a situation."""
Form = Literal["tool", "button"]
"""How it answers: with a button or a tool of the game, or with a button alone."""

MAP_ROWS, MAP_COLUMNS = 28, 32
"""The most of a map that is shown. Of a larger one it is the part around the player."""
ENLARGED = 2
"""Models see badly below 200 pixels, and the Game Boy's screen has 160 x 144."""
UNSURE = "unsure"
MOST_REASON = 200
"""Characters of a model's reason that are kept, and of the tool that it names."""
_MOST_LOOKED_AT = 2000

_PLAIN = {"int": "integer", "str": "string", "bool": "boolean"}
_SCALARS = ("objective", "compass", "clock_target", "wish", "badges")
_BATTLE = ("kind", "trainer_name")


def format_state_for_llm(state: Mapping[str, Any]) -> str:
    """Return a decoded state as text, about 1 kB. What the screen cannot show, and numbers of tiles and flags, are left out."""
    game, player = state["game"], state["player"]
    lines = [f"Scene: {game['game_state']}. Last press: {state['prev_action']}."]
    told = [f"{key.replace('_', ' ')} {game[key]}" for key in _SCALARS if game.get(key) is not None]
    lines += [f"Objective and signs: {', '.join(told)}."] if told else []
    if (text := game.get("dialog_text")) is not None:
        lines.append(f"Text on the screen: {' / '.join(str(text).splitlines())}")
    if (menu := game.get("menu")) is not None:
        lines.append(f"Menu: {', '.join(f'{key} {value}' for key, value in menu.items())}. The cursor's first place is 0.")
    if (battle := game.get("battle_info")) is not None:
        about = " ".join(str(battle[key]) for key in _BATTLE if battle.get(key) is not None)
        lines.append(f"Battle: {about}. Enemy: {_monster(battle['enemy'])}" if battle.get("enemy") else f"Battle: {about}.")
    lines += [f"Own monster {number}: {_monster(one)}" for number, one in enumerate(player.get("party") or [], 1)]
    if items := game.get("items"):
        counts = items.items() if isinstance(items, Mapping) else [(one, "") for one in items]
        lines.append(f"Bag: {', '.join(f'{name} {count}'.strip() for name, count in counts)}; money {player.get('money')}.")
    return "\n".join(lines + _map(state))


def _monster(one: Mapping[str, Any]) -> str:
    moves = ", ".join(
        f"{move} {left}/{most}" for move, left, most in zip(one["moves"], one["move_pp"], one["move_max_pp"], strict=False)
    )
    kinds = "/".join(one.get("types", ()))
    return f"{one['species_name']} {kinds} level {one['level']}, HP {one['current_hp']}/{one['max_hp']}, {one['status']}; {moves}"


def _map(state: Mapping[str, Any]) -> list[str]:
    """Return the map's lines; none where the player is on none."""
    map_ = state["map"]
    rows, coords = map_.get("ascii_map") or [], map_.get("player_coords")
    if not rows or coords is None:
        return []
    x, y = coords
    facing = state["player"]["facing"]
    lines = [f"Place: {map_['location']}, {map_['width']} x {map_['height']} tiles. You stand at ({x}, {y}), facing {facing}."]
    left, top = _first(x, len(rows[0]), MAP_COLUMNS), _first(y, len(rows), MAP_ROWS)
    shown = [row[left : left + MAP_COLUMNS] for row in rows[top : top + MAP_ROWS]]
    part = f"columns {left} to {left + len(shown[0]) - 1}, rows {top} to {top + len(shown) - 1}"
    used = set("".join(shown))
    lines.append("Map (" + part + "): " + ", ".join(f"{key} {text}" for key, text in map_["legend"].items() if key in used))
    lines += [f"{top + number:2d} {row}" for number, row in enumerate(shown)]
    for title, name, say in (
        ("Ways out", "warps", lambda one: f"({one['x']}, {one['y']}) to {one.get('to') or 'elsewhere'}"),
        ("People", "people", lambda one: f"{one.get('sprite', 'person')} ({one['x']}, {one['y']}) facing {one.get('facing')}"),
        ("Signs", "signs", lambda one: f"{one.get('script_name', 'sign')} ({one['x']}, {one['y']})"),
    ):
        if found := map_.get(name):
            lines.append(f"{title}: {'; '.join(map(say, found))}.")
    return lines


def _first(place: int, size: int, most: int) -> int:
    """Return the first row or column of the part of a map that is shown."""
    return max(0, min(place - most // 2, size - most))


def enlarged(picture: np.ndarray) -> np.ndarray:
    """Return a screen, (H, W, 3) uint8, with each pixel `ENLARGED` times as large on both sides."""
    return picture.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


# Labels.


def label_rules(game: Game, sees: Sees, form: Form) -> str:
    """Return what a model that labels is told first: the same bytes for all milestones and states of a game."""
    seen = {
        "both": "the screen as a picture, and the game's state as text",
        "state": "the game's state as text",
        "picture": "the screen as a picture",
    }[sees]
    buttons = ", ".join(name.lower() for name in game.buttons)
    console = "Game Boy Advance" if game.system == "gba" else "Game Boy"
    lines = [
        f"You teach a program to play the game {game.name} on a {console}. You are shown one moment of it: {seen}. Say what a good "
        "player does now to reach the milestone that is named, in as few presses as possible. The moment may be a bad one: the "
        "program has gone astray, and you say how it gets back.",
        "",
        f"The buttons are {buttons}. One press of a direction walks one step, or only turns the player who faces another way. A "
        "confirms, talks and reads, B goes back. A text is advanced with A.",
        "Coordinates are (x, y): x grows to the right, y downwards, both from 0. A tile that is solid cannot be walked on.",
        "Judge what there is to do, and not by habit: read the objective, the text and the menu first.",
        "",
    ]
    if form == "tool":
        lines += [
            "Answer with a tool wherever one fits: the button is computed from it, which is surer than counting tiles. Where none "
            "fits, for example in menus and texts, answer with a button.",
            "",
            "The tools:",
            *(line for name, tool in tools_of(game).items() for line in _described(name, tool)),
            "",
        ]
    lines.append(
        f'"reason" is one short sentence: what is to be done. Answer "{UNSURE}" where you cannot tell: no answer is better than a '
        "wrong one."
    )
    return "\n".join(lines)


def label_parts(
    game: Game, milestone: str, sees: Sees, state: Mapping[str, Any], picture: np.ndarray | None
) -> tuple[str | np.ndarray, ...]:
    """Return what a model is asked of one situation, after the rules: texts, and the picture where it sees it.

    Args:
        game, milestone: what is played.
        sees: what is shown.
        state: decoded.
        picture: the screen, (H, W, 3) uint8 RGB; not needed if it is not shown.
    """
    described = next((one.description for one in game.milestones if one.id == milestone), "")
    parts: list[str | np.ndarray] = [f"The next milestone is {milestone}: {described}"]
    if sees != "picture":
        parts.append(format_state_for_llm(state))
    if sees != "state":
        assert picture is not None
        parts.append(enlarged(picture))
    return tuple(parts)


def label_schema(game: Game, form: Form) -> dict[str, Any]:
    """Return the form of a label: a reason, and a button or a tool with its arguments."""
    button = {"type": "string", "enum": [*(name.lower() for name in game.buttons), UNSURE]}
    if form == "button":
        return _object(reason={"type": "string"}, button=button)
    choices = [_object(button=button)]
    for name, tool in tools_of(game).items():
        choices.append(_object(tool={"type": "string", "enum": [name]}, **_arguments(tool, game)))
    return _object(reason={"type": "string"}, answer={"anyOf": choices})


def label_of(value: Mapping[str, Any], state: dict[str, Any], game: Game) -> Answer:
    """Return a model's checked answer as a button, or as an abstention. A tool is called on the state, here.

    Args:
        value: what `label_schema` asks for.
        state: decoded; a tool may change it.
        game: whose tools these are.
    """
    said = _shown(str(value["reason"]))
    answer = value.get("answer", value)
    if "button" in answer:
        word: Any = answer["button"]
        if word == UNSURE:
            return Answer(None, UNSURE, said)
    else:
        name = answer["tool"]
        arguments = {key: one for key, one in answer.items() if key != "tool"}
        told = _shown(f"{name}({', '.join(map(repr, arguments.values()))})")
        try:
            word = tools_of(game)[name](state, **arguments)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises at arguments that a model made up
            return Answer(None, "exception", f"{said} [{told} failed: {type(error).__name__}]")
        said = f"{said} [{told}]"
        if word is None:
            return Answer(None, "none", said)
    places = {button.lower(): number for number, button in enumerate(game.buttons)}
    if word not in places:
        return Answer(None, "unknown word", said)
    return Answer(places[word], None, said)


def _shown(text: str) -> str:
    """Return what a model wrote as it is kept: with each label, and so short, and printable."""
    return printable(" ".join(text[:_MOST_LOOKED_AT].split()))[:MOST_REASON]


def tools_of(game: Game) -> dict[str, Any]:
    """Return the game's tools that return a button, and whose arguments are plain: name -> function."""
    return {name: tool for name, tool in game.tools().items() if _is_plain(tool)}


def _is_plain(tool: Any) -> bool:
    signature = inspect.signature(tool)
    returned = str(signature.return_annotation).replace(" ", "")
    return returned in ("str|None", "str") and all(_kind(one) is not None for one in _parameters(tool))


def _parameters(tool: Any) -> Sequence[inspect.Parameter]:
    """Return a tool's parameters after the state."""
    return list(inspect.signature(tool).parameters.values())[1:]


def _kind(parameter: inspect.Parameter) -> str | None:
    annotation = parameter.annotation
    return _PLAIN.get(annotation if isinstance(annotation, str) else getattr(annotation, "__name__", ""))


def _arguments(tool: Any, game: Game) -> dict[str, Any]:
    buttons = {"button": {"type": "string", "enum": [name.lower() for name in game.buttons]}}
    return {one.name: buttons.get(one.name, {"type": _kind(one)}) for one in _parameters(tool)}


def _described(name: str, tool: Any) -> list[str]:
    arguments = ", ".join(
        f"{one.name}: {_kind(one)}" + ("" if one.default is inspect.Parameter.empty else f" (usually {one.default!r})")
        for one in _parameters(tool)
    )
    documented = " ".join((inspect.getdoc(tool) or "").split())
    return [f"- {name}({arguments}). {documented}".rstrip()]


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has: one for each 3.5 characters. For servers that do not count."""
    return math.ceil(len(text) / 3.5)
