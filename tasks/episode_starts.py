"""Where a script's episodes start: at positions that the game draws in its worlds, in recorded states, or at power-on."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from common.flag_groups import GameFlags
from common.runtime.flag_types import FlagError
from pokemon_env.games.base import Game
from pokemon_env.state_files import find_states
from pokemon_env.tiers import DEFAULT_TIER, find_tier
from tasks.recorded_starts import ensure_start_states

StartKind = Literal["worlds", "train", "heldout", "first", "power-on"]
Purpose = Literal["train", "choose", "test"]


@dataclass(frozen=True)
class EpisodeStarts:
    """Where the episodes start: arguments for PokemonEnv, and for each reset."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Arguments of PokemonEnv: `worlds`, `tier`, `start_milestone`; plain data. Empty for recorded states."""
    files: tuple[Path | None, ...] = (None,)
    """Used in turn. None leaves the start to the environment: with `start_milestone` it is drawn from the episode's seed,
    otherwise it is power-on."""


def choose_starts(
    game: Game,
    milestone: str | None,
    rom_path: str | os.PathLike,
    *,
    purpose: Purpose,
    kind: StartKind | None = None,
    load_state: str | os.PathLike | None = None,
    worlds: str | None = None,
    tier: str | None = None,
    **state_folders: Any,
) -> EpisodeStarts:
    """Find the starts of one milestone's episodes. Make them, if states must be recorded first.

    Args:
        game: the ROM's game.
        milestone: the one that is played; None for the whole game.
        rom_path: the ROM.
        purpose: to learn from ("train"), to choose the best network by ("choose"), or to report ("test"). The worlds of
            tier T2 and the recorded states of the three are disjoint; elsewhere their seeds are.
        kind: "worlds": the game draws a position at which the milestone begins, in one of its worlds; "train",
            "heldout" and "first": recorded states (`tasks.recorded_starts`); "power-on". None: worlds if the game has
            them, else the recorded states that fit the purpose; without a milestone power-on.
        load_state: a .state file or a folder of them, instead of `kind`.
        worlds: "0", "1-999", "train", ... (`pokemon_env.splits`); None: those of the tier and the purpose.
        tier: "T0" to "T3"; None is T1.
        state_folders: further arguments of `ensure_start_states`.

    Raises ValueError for flags that contradict each other, and what `find_states` and `ensure_start_states` raise.
    """
    named = [name for name, value in (("--worlds", worlds), ("--tier", tier)) if value is not None]
    if tier is not None:
        find_tier(tier)  # it may come from a file
    if not game.has_worlds and named:
        raise ValueError(f"{game.name} has no worlds and no tiers: leave out {' and '.join(named)}")
    if load_state is not None and kind is not None:
        raise ValueError("a state to load and another kind of start were both given: leave one out")
    if kind is None and load_state is None:
        kind = "power-on" if milestone is None else "worlds" if game.has_worlds else "heldout" if purpose == "test" else "train"
    if kind == "worlds" and not game.has_worlds:
        raise ValueError(f"{game.name} has no worlds to start in: choose train, heldout, first or power-on")
    if game.has_worlds and kind in ("worlds", "power-on"):
        tier = tier or DEFAULT_TIER
        settings = {"tier": tier, "worlds": worlds or default_worlds(tier, purpose)}
        return EpisodeStarts(settings | ({"start_milestone": milestone} if kind == "worlds" and milestone else {}))
    if named:
        raise ValueError(f"a recorded state holds its own world and tier: leave out {' and '.join(named)}")
    if load_state is not None:
        return EpisodeStarts(files=tuple(find_states(load_state)))
    if kind == "power-on" or milestone is None:
        return EpisodeStarts()
    assert kind is not None  # it was chosen above, as there is no `load_state`
    return EpisodeStarts(files=ensure_start_states(milestone, rom_path, **state_folders).files(kind))


def default_worlds(tier: str, purpose: Purpose) -> str:
    """Return the worlds of a tier; if it has many, those of the purpose's split."""
    worlds = find_tier(tier).worlds
    return purpose if worlds == "train" else worlds


def find_starts(
    flags: GameFlags,
    game: Game,
    milestone: str,
    tier: str | None,
    worlds: str | None,
    purpose: Purpose,
    *,
    policy_dir: str | None = None,
    unsafe_policies: bool = False,
) -> EpisodeStarts:
    """Return where episodes of rollouts ("train") or of evaluations ("choose") start, according to the flags.

    `tier` and `worlds` are those of the run's demonstrations or checkpoint, used where no flag is given. `policy_dir` holds experts
    for a game that brings none; they make recorded states. Raises FlagError for flags that cannot be used together.
    """
    if flags.start_states is not None or not game.has_worlds:  # recorded states hold their own: only flags can contradict them
        tier, worlds = flags.tier, flags.worlds
    try:
        return choose_starts(
            game, milestone, flags.rom_path, purpose=purpose, load_state=flags.start_states, worlds=worlds, tier=tier,
            policy_dir=policy_dir, unsafe_policies=unsafe_policies,
        )  # fmt: skip
    except ValueError as error:
        raise FlagError(str(error)) from error
