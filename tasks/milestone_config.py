"""`milestone_config.json`: the milestones of a game in their order, each with its limits."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.runtime.main import UserError
from pokemon_env.bounded_files import read_file

if TYPE_CHECKING:
    from pokemon_env.games.base import Game

DEFAULT_MILESTONE_CONFIG = Path(__file__).resolve().parent.parent / "milestone_config.json"
"""The bundled game's file."""


_MOST_BYTES = 1 << 24
_MOST = 1 << 31


class MilestoneConfigError(UserError, ValueError):
    """The file is missing or wrong; the text names it, the entry, and what to do."""


@dataclass(frozen=True)
class MilestoneEntry:
    """The file's entry for one milestone."""

    id: str
    description: str
    starting_state: str | None
    """Path of the state that it starts from (found by its file name), or None for power-on."""
    max_steps: int
    """An episode that takes longer has failed."""
    max_retries: int
    """How often the author of policies may try again."""
    timeout: int
    """Seconds that an attempt may take."""
    stuck_threshold: int
    """Steps without any change of the state after which an attempt counts as stuck."""


_TYPES: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "description": (str,),
    "starting_state": (str, type(None)),
    "max_steps": (int,),
    "max_retries": (int,),
    "timeout": (int,),
    "stuck_threshold": (int,),
}

_BOUNDS = {"max_steps": (1, _MOST), "max_retries": (0, _MOST), "timeout": (1, _MOST), "stuck_threshold": (1, _MOST)}


def load_milestone_config(path: str | os.PathLike = DEFAULT_MILESTONE_CONFIG) -> dict[str, MilestoneEntry]:
    """Return the entries by id, in the file's order. Raises MilestoneConfigError if the file is missing or wrong."""
    path = Path(path)
    try:
        content = json.loads(read_file(path, _MOST_BYTES))
    except FileNotFoundError:
        raise MilestoneConfigError(f"{path}: no such file; the bundled game's is {DEFAULT_MILESTONE_CONFIG}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise MilestoneConfigError(f"{path}: is not JSON ({error}); correct it") from error
    if not isinstance(content, dict) or not isinstance(content.get("milestones"), list):
        raise MilestoneConfigError(f'{path}: has no list "milestones"')
    entries: dict[str, MilestoneEntry] = {}
    for number, item in enumerate(content["milestones"]):
        values = _checked(path, number, item)
        if values["id"] in entries:
            raise MilestoneConfigError(f"{path}: two milestones have the id {values['id']!r}")
        entries[values["id"]] = MilestoneEntry(**values)
    return entries


def stops_on_failure(path: str | os.PathLike = DEFAULT_MILESTONE_CONFIG) -> bool:
    """Return the file's "stop_on_failure", True without one. Raises MilestoneConfigError if it is neither true nor false."""
    load_milestone_config(path)
    stops = json.loads(read_file(Path(path), _MOST_BYTES)).get("stop_on_failure", True)
    if not isinstance(stops, bool):
        raise MilestoneConfigError(f"{path}: stop_on_failure is {stops!r}, wanted true or false")
    return stops


def not_of_game(entries: dict[str, MilestoneEntry], game: Game) -> list[str]:
    """Return the entries' ids that the game does not have.

    If there is one, the file is another game's: its limits do not apply here, even for ids that are equal.
    """
    known = {milestone.id for milestone in game.milestones}
    return [name for name in entries if name not in known]


def limits_of_game(path: str | os.PathLike, game: Game, instead: str) -> dict[str, int]:
    """Return each milestone's `max_steps`.

    Args:
        path: the file.
        game: the one that is played.
        instead: the flag that gives a limit without the file, for the message.

    Raises MilestoneConfigError if the file is missing or wrong, or another game's.
    """
    entries = load_milestone_config(path)
    if foreign := not_of_game(entries, game):
        raise MilestoneConfigError(
            f"{path}: is another game's, for {game.name} has no milestone {foreign[0]}; give its own with --milestone-config, or "
            f"{instead}"
        )
    return {name: entry.max_steps for name, entry in entries.items()}


def _checked(path: Path, number: int, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise MilestoneConfigError(f"{path}: milestone {number} is {item!r}, wanted an object")
    for key, types in _TYPES.items():
        if key not in item:
            raise MilestoneConfigError(f"{path}: milestone {item.get('id', number)} has no {key!r}")
        if not isinstance(item[key], types) or isinstance(item[key], bool):
            wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in types)
            raise MilestoneConfigError(f"{path}: milestone {item.get('id', number)} has {key} {item[key]!r}, wanted {wanted}")
    for key, (least, most) in _BOUNDS.items():
        if not least <= item[key] <= most:
            raise MilestoneConfigError(
                f"{path}: milestone {item['id']} has {key} {str(item[key])[:40]}, wanted at least {least} and at most {most}"
            )
    return {key: item[key] for key in _TYPES}
