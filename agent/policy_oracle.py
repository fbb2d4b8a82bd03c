"""Opening the oracle of a policy file: in a sandbox, or in this process where that is wished."""

from __future__ import annotations

import os
from typing import Any

from agent.oracle import ExpertOracle, InProcessOracle
from agent.sandbox import PolicyOracle
from pokemon_env.games.base import Game


def open_policy_oracle(
    policy: str | os.PathLike | tuple[str | os.PathLike | None, str],
    game: Game,
    unsafe: bool = False,
    with_optimal: bool = False,
    **limits: Any,
) -> ExpertOracle:
    """The oracle of a policy file: in a sandbox, or with `unsafe` (the flag --unsafe-policies) in this process.

    Args:
        policy, game: as for `PolicyExpert`.
        with_optimal: answers also hold all right buttons, where the game can tell (`ExpertAnswer.optimal`).
        limits: further arguments of `agent.sandbox.PolicyOracle`; they mean nothing with `unsafe`.

    Raises PolicyError if there is no such file, SandboxError where the platform can't lock a process.
    """
    if unsafe:
        return InProcessOracle(policy, game, with_optimal)
    return PolicyOracle(policy, game, with_optimal=with_optimal, **limits)
