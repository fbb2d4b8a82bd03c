"""Opening a policy file: in a sandbox, or in this process if it is the game's own or the user asks for it.

with closing(open_policy((policy_dir, "CLOCK_SET"), env)) as expert:       # to play with: queried at each step
    action = expert.label(info).action
with open_policy_oracle((policy_dir, "CLOCK_SET"), game) as oracle:        # to label with: queried in batches
    answers = oracle.label_batch(situations)
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.oracle import Answer, ExpertOracle, LabelsWithdrawn, PolicyError, Situation
from agent.policy_expert import InProcessOracle, PolicyExpert, policy_path
from agent.sandbox.oracle import PolicyOracle
from common.flag_groups import ExpertFlags
from pokemon_env.games.base import Game
from pokemon_env.gym_env import PokemonEnv

UNSAFE_NOTICE = "--unsafe-policies: policy files run in this process, and may do all that it may"
"""Printed if the flag is given."""


def open_policy(
    policy: str | os.PathLike | tuple[str | os.PathLike | None, str], env: PokemonEnv, unsafe: bool = False
) -> PolicyExpert | SandboxedExpert:
    """Load a policy that plays in `env`: the game's own in this process, any other in a sandbox unless `unsafe`.

    A deterministic policy gives the same answers in both. A file is the game's own if it lies in the game's folder; a link to
    such a file does not count.

    Args:
        policy: as for `PolicyExpert`.
        env: where it plays. The expert is queried with the info of this environment's last step or reset.
        unsafe: the flag --unsafe-policies.

    Raises PolicyError if it is missing or cannot be loaded, SandboxError where the platform cannot lock a process.
    """
    path = policy_path(policy, env.game)
    if env.game.policy_dir is not None and is_games_own(path, env.game):
        return PolicyExpert(env.game.policy_dir / path.name, env.game)
    return PolicyExpert(path, env.game) if unsafe else SandboxedExpert(path, env)


def is_games_own(policy: Path, game: Game) -> bool:
    """Return whether a policy's file lies in the folder of the policies that come with the game."""
    return game.policy_dir is not None and policy.parent.resolve() == game.policy_dir.resolve()


def where_it_runs(policy: Path, unsafe: bool) -> str:
    """Return a text for the user: which policy that is not the game's own is used, and where it runs."""
    return f"{policy}, in {'this process, unguarded' if unsafe else 'a sandbox'}"


def has_own_policies(folder: str | os.PathLike, game: Game) -> bool:
    """Return whether a --policy-dir holds policies of the user.

    If it does, the user should be told where the game's own policy is used instead: a file may be misnamed.
    """
    own = game.policy_dir is None or Path(folder).resolve() != game.policy_dir.resolve()
    return own and any(Path(folder).glob("*.py"))


class SandboxedExpert:
    """`PolicyExpert`'s counterpart in a sandbox, for one environment; close it after use.

    Raises PolicyError if the file is missing or cannot be loaded, SandboxError where the platform cannot lock a process.
    """

    def __init__(self, policy: str | os.PathLike | tuple[str | os.PathLike | None, str], env: PokemonEnv):
        self.game = env.game
        self._env = env
        self._oracle = PolicyOracle(policy, env.game)
        try:
            self._oracle.start()
        except BaseException:
            self._oracle.close()
            raise

    @property
    def path(self) -> Path:
        return self._oracle.path

    @property
    def answers(self) -> int:
        return self._oracle.answers

    @property
    def abstentions(self) -> int:
        return self._oracle.abstentions

    @property
    def abstention_kinds(self) -> Counter[str]:
        return self._oracle.abstention_kinds

    @property
    def messages(self) -> deque[str]:
        return self._oracle.messages

    def label(self, state: Mapping[str, Any]) -> Answer:
        """Return the answer at the environment's current state; `state` is the info of its last step or reset.

        Raises PolicyError once the policy is stopped: from then on it only abstains, and an episode would continue with random
        presses. If its answers depend on more than the state, the error is LabelsWithdrawn.
        """
        (answer,) = self._oracle.label_batch([Situation(self._env.snapshot(), state["prev_action"])])
        self._raise_if_given_up()
        return answer

    def check(self) -> None:
        """Verify some of the newest answers by a new query, before they are used. Raises PolicyError as `label` does."""
        self._oracle.check()
        self._raise_if_given_up()

    def _raise_if_given_up(self) -> None:
        if self._oracle.withdrawn is not None:
            raise LabelsWithdrawn(self._oracle.withdrawn)
        if self._oracle.stopped is not None:
            raise PolicyError(self._oracle.stopped)

    def close(self) -> None:
        """End the sandbox. It cannot be queried afterwards."""
        self._oracle.close()


def open_policy_oracle(
    policy: str | os.PathLike | tuple[str | os.PathLike | None, str],
    game: Game,
    unsafe: bool = False,
    with_optimal: bool = False,
    **limits: Any,
) -> ExpertOracle:
    """Return the oracle of a policy file: in a sandbox, or with `unsafe` (the flag --unsafe-policies) in this process.

    The game's own policies are in a sandbox as well: labels are queried in batches, where it costs little.

    Args:
        policy, game: as for `PolicyExpert`.
        with_optimal: answers also hold all optimal actions, if the game knows them (`Answer.optimal`).
        limits: further arguments of `agent.sandbox.oracle.PolicyOracle`; ignored with `unsafe`.

    Raises PolicyError if there is no such file, SandboxError where the platform cannot lock a process.
    """
    if unsafe:
        return InProcessOracle(policy, game, with_optimal)
    return PolicyOracle(policy, game, with_optimal=with_optimal, **limits)


MOST_POLICY_SECONDS = 2.0
"""A policy file that takes longer at one state is considered hung."""


def open_expert(flags: ExpertFlags, milestone: str, game: Game, with_optimal: bool = False) -> ExpertOracle:
    """Open the expert that `--expert` names. No other code depends on which kind it is.

    Args:
        flags: of the expert.
        milestone: the one to label.
        game: the game that is played.
        with_optimal: answers also hold all optimal actions. A language model's do not.

    Raises PolicyError if there is none for the milestone; ModelError, PriceError or CallFileError for a model that cannot be asked.
    """
    if flags.expert == "code-agent":
        from agent.open_model import open_code_agent  # with asyncio and its kin, which no policy needs

        return open_code_agent(flags, milestone, game)
    path = policy_path((flags.policy_dir, milestone), game)
    if not is_games_own(path, game):
        print(f"labels by {where_it_runs(path, flags.unsafe_policies)}", flush=True)
    elif has_own_policies(flags.policy_dir, game):
        print(f"labels by the game's own policy: {flags.policy_dir} has no {path.name}", flush=True)
    limits = {} if flags.unsafe_policies else {"call_seconds": min(flags.expert_timeout, MOST_POLICY_SECONDS)}
    return open_policy_oracle(path, game, unsafe=flags.unsafe_policies, with_optimal=with_optimal, **limits)
