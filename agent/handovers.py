"""Hand-overs: the states in which the expert of the milestone before has just reached his goal, for the next one's student.

Where the game draws a start, all is at rest. In the whole game a student takes over in the midst of things: a line of text is still
there, the player stands where the last student left him. Rollouts that begin so at times show the student what it will see.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agent.policy_expert import PolicyExpert
from agent.start_states import ATTEMPTS, MAX_STEPS_PER_MILESTONE, StartStateError
from common.evaluation import EpisodeSpec, StatePolicy, Step, evaluate
from pokemon_env.games.base import Game
from pokemon_env.state_files import StateFileError, StateIdentity, read_state
from pokemon_env.vector_env import make_vector_env


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
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Path, ...]:
    """The hand-overs to `milestone`'s student; those that are missing, damaged or of another ROM are made first.

    Each is played by the game's own expert of the milestone before, from a start that the game draws, in this process. The
    same arguments make the same states.

    Args:
        folder: where they lie, 000.state, 001.state, ...
        game: one with worlds, and with experts of its own.
        milestone: whose student takes over. The first one has no hand-overs.
        settings: `tier` and `worlds` of PokemonEnv; whatever else of it, but no start.
        n_states: how many there shall be.
        seed: of the starts.

    Raises StartStateError where the expert doesn't get there, ValueError for a game that can't have hand-overs, and
    EvaluationStopped.
    """
    names = [one.id for one in game.milestones]
    if n_states < 1 or names.index(milestone) == 0:
        return ()
    if not game.has_worlds or game.policy_dir is None:
        raise ValueError(f"{game.name} has no worlds, or no experts of its own, so that no hand-overs can be played")
    folder = Path(folder)
    previous = names[names.index(milestone) - 1]
    paths = [folder / f"{number:03d}.state" for number in range(n_states)]
    settings = {key: settings[key] for key in ("tier", "worlds") if settings.get(key) is not None}
    about = {"handover_to": milestone, "run_seed": seed, **settings}
    envs = make_vector_env(
        min(num_envs, n_states), rom_path=rom_path, target_milestone=previous, start_milestone=previous, **settings
    )
    try:
        identity = envs.envs[0].identity
        policy = expert_policy(game, previous)
        seeds = np.random.SeedSequence([seed, zlib.crc32(b"hand-overs")]).generate_state(ATTEMPTS * n_states) >> 1
        for tried in seeds.reshape(ATTEMPTS, n_states).tolist():
            todo = [number for number, path in enumerate(paths) if not is_current(path, identity, about)]
            if not todo:
                break

            def keep(step: Step, todo: list[int] = todo, tried: list[int] = tried) -> None:
                # One press may have completed both; there is nothing left to be handed over then.
                if step.terminated and not step.next_info["milestones"][milestone]["completed"]:
                    number = todo[step.episode]
                    envs.envs[step.slot].save_state(paths[number], about | {"seed": tried[number], "steps": step.number + 1})

            folder.mkdir(parents=True, exist_ok=True)
            episodes = [EpisodeSpec(tried[number]) for number in todo]
            evaluate(envs, policy, episodes, MAX_STEPS_PER_MILESTONE, on_step=keep, should_stop=should_stop)
    finally:
        envs.close()
    if missing := [path for path in paths if not is_current(path, identity, about)]:
        raise StartStateError(
            f"{len(missing)} of {n_states} hand-overs to {milestone} can't be made: {previous}'s expert does not reach it within "
            f"{MAX_STEPS_PER_MILESTONE} steps (tried with {ATTEMPTS} seeds each): correct the policy"
        )
    return tuple(paths)


def expert_policy(game: Game, milestone: str) -> StatePolicy:
    """The game's own expert; where it abstains, a random button is pressed."""
    expert = PolicyExpert(game.policy_dir / f"{milestone}.py", game)
    return StatePolicy(lambda info: expert.label(info).action, len(game.buttons))


def is_current(path: Path, identity: StateIdentity, about: dict[str, Any]) -> bool:
    """Whether the state is there, can be used, and was made for what `about` says."""
    try:
        details = read_state(path, identity).details
    except StateFileError:
        return False
    return all(details.get(key) == value for key, value in about.items())


def interleave(starts: list[Path | None], handovers: tuple[Path, ...], share: float, first: int) -> list[Path | None]:
    """The starts of some episodes with hand-overs among them, evenly spread.

    Args:
        starts: those of the episodes without hand-overs, in order; None leaves one to the environment.
        handovers: gone round in order; without any, `starts` are returned.
        share: of the episodes, in 0 to 1.
        first: number of the first episode, over all rollouts: with it the hand-overs go on where the last rollout ended.
    """
    if not handovers:
        return starts

    def count(number: int) -> int:
        """Hand-overs among the first `number` episodes."""
        return int(number * share + 1e-9)  # 0.1 * 30 is a little less than 3

    return [
        handovers[count(number) % len(handovers)] if count(number + 1) > count(number) else start
        for number, start in enumerate(starts, start=first)
    ]
