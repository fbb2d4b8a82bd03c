"""What the tests of sandboxed policies ask them."""

from __future__ import annotations

import random

from agent.oracle import Situation
from pokemon_env.gym_env import PokemonEnv


def distinct_situations(count: int) -> list[Situation]:
    """So many states of which no two are alike."""
    rng = random.Random(0)
    found = {}
    with PokemonEnv(start_milestone="STARTER_CHOSEN", target_milestone="BADGE") as env:
        _, info = env.reset(seed=1)
        while len(found) < count:
            found[env.snapshot()] = Situation(env.snapshot(), info["prev_action"])
            info = env.step(rng.randrange(8))[-1]
    return list(found.values())
