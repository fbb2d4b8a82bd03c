"""Where episodes of a rollout begin, beside where the game draws a start: at hand-overs, and where others were cut off.

Where the game draws a start, all is at rest, and an episode ends before much has gone wrong. In the whole game a student takes over
in the midst of things, with a line of text still there, and nobody ends an episode after a defeat: it has to find its way back.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.policy_expert import PolicyExpert
from common.episodes import EpisodeSpec, Step
from common.evaluation import evaluate
from common.policies import StatePolicy
from pokemon_env.errors import StateFileError
from pokemon_env.games.base import Game
from pokemon_env.state_files import StateIdentity, read_state
from pokemon_env.vector_env import make_vector_env
from tasks.recorded_starts import ATTEMPTS, MAX_STEPS_PER_MILESTONE, StartStateError


def ensure_handovers(
    folder: str | os.PathLike,
    game: Game,
    milestone: str,
    settings: Mapping[str, Any],
    n_states: int,
    seed: int,
    *,
    rom_path: str | os.PathLike,
    num_envs: int = 8,
) -> tuple[Path, ...]:
    """The states in which the expert of the milestone before has just reached his goal, and `milestone`'s student takes over.

    Those that are missing, damaged, of another ROM or of other arguments are made first: each is played by the game's own
    expert, in this process, from a start that the game draws. The same arguments make the same states.

    Args:
        folder: where they lie, 000.state, 001.state, ...
        game: one with worlds, and with experts of its own.
        milestone: whose student takes over. The first one has no hand-overs.
        settings: `tier` and `worlds` of PokemonEnv; whatever else is in it is not used.
        n_states: how many there shall be.
        seed: of the starts.

    Raises StartStateError where the expert doesn't get there, ValueError for a game that can't have hand-overs.
    """
    names = [one.id for one in game.milestones]
    if n_states < 1 or names.index(milestone) == 0:
        return ()
    if not game.has_worlds or game.policy_dir is None:
        raise ValueError(f"{game.name} has no worlds, or no experts of its own, so that no hand-overs can be played")
    folder = Path(folder)
    previous = names[names.index(milestone) - 1]
    policy_file = game.policy_dir / f"{previous}.py"
    expert = PolicyExpert(policy_file, game)
    policy = StatePolicy(lambda info: expert.label(info).action, len(game.buttons))
    paths = [folder / f"{number:03d}.state" for number in range(n_states)]
    settings = {key: settings[key] for key in ("tier", "worlds") if settings.get(key) is not None}
    code = hashlib.sha256(expert.source.data).hexdigest()
    about = {"handover_to": milestone, "run_seed": seed, "expert": code, **settings}
    envs = make_vector_env(
        min(num_envs, n_states), rom_path=rom_path, target_milestone=previous, start_milestone=previous, **settings
    )
    try:
        identity = envs.envs[0].identity
        for attempt in range(ATTEMPTS):
            todo = [number for number, path in enumerate(paths) if not is_current(path, identity, about)]
            if not todo:
                return tuple(paths)
            episodes = [EpisodeSpec(handover_seed(seed, milestone, number, attempt)) for number in todo]

            def keep(step: Step, todo: list[int] = todo, episodes: list[EpisodeSpec] = episodes) -> None:
                # One press may have completed both; there is nothing left to be handed over then.
                if step.terminated and not step.next_info["milestones"][milestone]["completed"]:
                    details = about | {"seed": episodes[step.episode].seed, "steps": step.number + 1}
                    envs.envs[step.slot].save_state(paths[todo[step.episode]], details)

            evaluate(envs, policy, episodes, MAX_STEPS_PER_MILESTONE, on_step=keep)
        missing = [path for path in paths if not is_current(path, identity, about)]
    finally:
        envs.close()
    if missing:
        raise StartStateError(
            f"{len(missing)} of {n_states} hand-overs to {milestone} can't be made (tried with {ATTEMPTS} seeds each): "
            f"{policy_file} does not complete {previous} within {MAX_STEPS_PER_MILESTONE} steps, or completes {milestone} "
            "with the same press"
        )
    return tuple(paths)


def handover_seed(seed: int, milestone: str, number: int, attempt: int) -> int:
    """The seed of a hand-over's start: another one for each milestone, each number and each attempt."""
    words = [seed, zlib.crc32(b"hand-overs"), zlib.crc32(milestone.encode()), number, attempt]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def is_current(path: Path, identity: StateIdentity, about: Mapping[str, Any]) -> bool:
    """Whether the state is there, can be used, and was made for what `about` says."""
    try:
        details = read_state(path, identity).details
    except StateFileError:
        return False
    return all(details.get(key) == value for key, value in about.items())


def share_of(count: int, share: float) -> int:
    """How many of the first `count` are that share, rounded down."""
    return int(count * share + 1e-9)  # 100 * 0.29 is a little less than 29


def mix_starts(
    drawn: Sequence[Path | None],
    handovers: Sequence[Path],
    handover_share: float,
    cutoffs: Sequence[Path] = (),
    cutoff_share: float = 0.0,
    first: int = 0,
) -> list[Path | None]:
    """The starts of some episodes, with hand-overs and cut-offs evenly spread among them.

    Args:
        drawn: those of all the episodes without any, in order; None leaves one to the environment.
        handovers: gone round in order.
        handover_share: of the episodes.
        cutoffs: each is gone on from once.
        cutoff_share: of the episodes, as far as there are cut-offs. Both shares together are at most 1.
        first: number of the first episode, over all rollouts: the hand-overs go on where the last rollout ended.
    """
    starts = list(drawn)
    others = []
    for place in range(len(starts)):
        before, after = share_of(first + place, handover_share), share_of(first + place + 1, handover_share)
        if handovers and after > before:
            starts[place] = handovers[before % len(handovers)]
        else:
            others.append(place)
    share = min(cutoff_share * len(starts) / max(len(others), 1), 1.0)
    places = [place for i, place in enumerate(others) if share_of(i + 1, share) > share_of(i, share)]
    for place, path in zip(places, cutoffs, strict=False):
        starts[place] = path
    return starts
