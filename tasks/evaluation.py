"""Where networks are evaluated, and for how long: an evaluation's starts, its limit, its environments."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from common.evaluation import Evaluator
from common.flag_groups import GameFlags
from common.runtime.flag_types import FlagError
from pokemon_env.games.base import Game
from pokemon_env.splits import has_splits, parse_worlds
from pokemon_env.vector_env import make_vector_env
from tasks.episode_starts import EpisodeStarts, choose_starts
from tasks.milestone_config import MilestoneConfigError, limits_of_game

FILM_STEPS = 400
"""Steps in the film of a game without milestones, which shows how its network plays. --max-steps gives another number."""


def step_limit(milestone_config: str, game: Game, milestone: str | None) -> int:
    """Return the step limit of an episode of the milestone; without one, of the whole game."""
    if not game.milestones:
        return FILM_STEPS
    limits = limits_of_game(milestone_config, game, "--max-steps")
    if milestone not in limits if milestone is not None else not limits:
        raise MilestoneConfigError(f"{milestone_config}: has no milestone {milestone or 'at all'}; give --max-steps")
    return sum(limits.values()) if milestone is None else limits[milestone]


def evaluation_starts(
    flags: GameFlags, game: Game, milestone: str | None, tier: str | None, worlds: str | None, purpose: Literal["choose", "test"]
) -> EpisodeStarts:
    """Return where an evaluation's episodes start; a test uses worlds or start states that training does not see.

    `tier` and `worlds` are the demonstrations', for what no flag says. Where a tier has splits (T2, T4), the worlds to learn from
    are never taken: there are others to choose the best network by, and to test it in.
    """
    if milestone is not None:
        ids = [entry.id for entry in game.milestones]
        if milestone not in ids:
            raise FlagError(
                f"{flags.rom_path} ({game.name}) has no milestone {milestone}; choose another with --milestone, or another game "
                f"with --rom-path. It has {', '.join(ids) or 'none at all'}"
            )
    if flags.start_states is not None:  # they hold their own tier and worlds: only a flag can contradict them
        tier, worlds = flags.tier, flags.worlds
    elif flags.worlds is not None or has_splits(tier):
        worlds = flags.worlds
    try:
        starts = choose_starts(
            game,
            milestone,
            flags.rom_path,
            purpose=purpose,
            load_state=flags.start_states,
            worlds=worlds,
            tier=tier,
        )
        if starts.settings:
            parse_worlds(starts.settings["worlds"])
    except ValueError as error:
        raise FlagError(str(error)) from error
    return starts


def how_played(evaluator: Evaluator, starts: EpisodeStarts) -> str:
    """Return in words what an evaluation plays, and where."""
    if evaluator.has_goal:
        return f"evaluated {where_played(starts)}"
    return f"a game without milestones, of which {evaluator.max_steps} steps are filmed {where_played(starts)}"


def where_played(starts: EpisodeStarts) -> str:
    """Return in words where an evaluation is played."""
    if not starts.settings:
        return "from power-on" if starts.files == (None,) else f"from {len(starts.files)} recorded state(s)"
    worlds = parse_worlds(starts.settings["worlds"])
    several = f"worlds {worlds[0]}-{worlds[-1]}"
    return f"on tier {starts.settings['tier']} in {several if len(worlds) > 1 else f'world {worlds[0]}'}"


def make_evaluator(
    flags: GameFlags,
    game: Game,
    milestone: str | None,
    starts: EpisodeStarts,
    *,
    n_episodes: int,
    max_steps: int | None,
    frame_stack: int,
    buttons: Sequence[str],
    device: torch.device,
    videos: Path | None,
) -> Evaluator:
    """Open the emulators for evaluations of at most `n_episodes` at once.

    Args:
        flags, game, milestone, starts: what is played, and where; without a milestone the whole game.
        max_steps: the limit of an episode; None takes the milestone's.
        frame_stack, buttons, device: of the networks.
        videos: folder for films; None for none.
    """
    max_steps = max_steps or step_limit(flags.milestone_config, game, milestone)
    n_envs = min(flags.num_envs, n_episodes) if game.milestones else 1
    settings = {"rom_path": flags.rom_path, "target_milestone": milestone, "state_in_info": False, **starts.settings}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warning of an unknown game was already given
            envs = make_vector_env(n_envs, **settings)
    except ValueError as error:  # worlds that the tier is not played in
        raise FlagError(str(error)) from error
    return Evaluator(
        envs,
        max_steps=max_steps,
        start_states=starts.files,
        device=device,
        frame_stack=frame_stack,
        buttons=buttons,
        videos=videos,
        has_goal=bool(game.milestones),
    )
