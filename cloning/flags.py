"""How clones are evaluated: the flags. `Args` of bc_pokemon.py inherits them, and what plays is told them."""

from __future__ import annotations

from dataclasses import dataclass

from common.flag_groups import EvaluationFlags, GameFlags, TierName
from common.runtime.flag_types import CountOrZero, Few, Free, Once

NOT_EVALUATED = ("worlds", "start_states", "max_steps", "eval_episodes", "video")
"""Flags that say how training evaluated; --eval-only doesn't take them from a checkpoint."""


@dataclass
class PlayFlags(GameFlags, EvaluationFlags):
    """Where clones are evaluated. None of it decides what is learned, but for the milestone."""

    eval_only: Once[bool] = False
    """Only evaluate (and film) the checkpoint given with --resume-from, over --eval-episodes episodes, from held-out start
    states. --worlds, --start-states, --max-steps, --eval-episodes and --video are then not taken from the checkpoint."""
    milestone: str | None = None
    """Learn this milestone alone, and be evaluated on it. None: all demonstrations (if they share one, it is that)."""
    tier: Free[TierName | None] = None
    """How hard the bundled game is in an evaluation. None takes the demonstrations' tier, or T1 if they have several."""
    worlds: Free[str | None] = None
    """Worlds that an evaluation is played in: 0, 7, 1000-1099, train, choose or test. None takes the demonstrations' worlds,
    or world 0 if they have several; and on tier T2 those to choose by (1000-1099) in training, and those to test in (from
    10000 on) with --eval-only."""
    start_states: Free[str | None] = None
    """Folder of `.state` files that episodes of evaluation start from. None lets the game draw where the milestone begins; for
    a game without worlds it takes recorded states, made if need be: those to learn from (`train`) in training, which chooses
    the best by them, and the held-out ones with --eval-only."""
    num_envs: Free[Few] = 8
    """Environments that play side by side in an evaluation."""
    eval_episodes: Free[CountOrZero] = 5
    """Episodes of play per evaluation. 0 only validates. Of a game without milestones one is filmed, and none counted."""
