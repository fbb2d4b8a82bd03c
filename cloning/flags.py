"""Flags for the evaluation of clones. `Args` of bc_pokemon.py inherits them, and the code that plays receives them."""

from __future__ import annotations

from dataclasses import dataclass

from common.flag_groups import EvaluationFlags, GameFlags, TierName
from common.runtime.flag_types import CountOrZero, Few, Free, Once

NOT_EVALUATED = ("worlds", "start_states", "max_steps", "eval_episodes", "video")
"""Flags that say how training evaluated; --eval-only does not take them from a checkpoint."""


@dataclass
class PlayFlags(GameFlags, EvaluationFlags):
    """Where clones are evaluated. Of these flags, only the milestone affects what is learned."""

    eval_only: Once[bool] = False
    """Only evaluate (and film) the checkpoint given with --resume-from, over --eval-episodes episodes, from held-out start
    states. --worlds, --start-states, --max-steps, --eval-episodes and --video are then not taken from the checkpoint."""
    milestone: str | None = None
    """The only milestone to learn, and to be evaluated on. None uses all demonstrations, and their milestone if they share one."""
    tier: Free[TierName | None] = None
    """Difficulty tier of the bundled game in evaluations. None takes the demonstrations' tier, or T1 if they have several."""
    worlds: Free[str | None] = None
    """Worlds for evaluations: 0, 7, 1000-1099, train, choose or test. None takes the demonstrations' worlds, or world 0 if they
    have several. On tier T2 None takes the worlds to choose by (1000-1099) in training, and the test worlds (from 10000 on) with
    --eval-only."""
    start_states: Free[str | None] = None
    """Folder of `.state` files that evaluation episodes start from. None lets the game draw a start of the milestone. A game
    without worlds then uses recorded states, which are made if they are missing: those to learn from (`train`) in training, which
    chooses the best network by them, and the held-out ones with --eval-only."""
    num_envs: Free[Few] = 8
    """Environments that play in parallel in an evaluation."""
    eval_episodes: Free[CountOrZero] = 5
    """Episodes of play per evaluation. 0 only validates. In a game without milestones one is filmed, and none is counted."""
