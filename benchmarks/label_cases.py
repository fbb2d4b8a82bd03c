"""The states of `benchmarks.label_audit`: who visited them, what they show, and which buttons are right there."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agent.llm.prompts import format_state_for_llm
from agent.oracle import Situation
from agent.policy_expert import InProcessOracle, PolicyExpert
from common.picture_codec import decode_picture, encode_picture
from common.runtime.seeding import derive, derived_seed
from dagger.data import NO_ACTION, DaggerData, DaggerDataError, Source
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM
from tasks.episode_starts import choose_starts

Visitor = Literal["noisy expert", "random play", "student"]
"""Who was at a state."""

SCENES = ("overworld", "dialog", "menu", "battle", "title")
"""Kinds of scene. A question in a text is a menu: the next press belongs to it."""

_EPISODES = 4  # at least so many are played of each milestone, so that the states are not all of one
_BARREN = 8  # episodes in a row without a new state: there are no more
_RANDOM_PRESSES, _EXPERT_PRESSES = 100, 400  # in one episode, at most


@dataclass(frozen=True)
class Case:
    """A state, and what is right there."""

    milestone: str
    """The one to reach next."""
    visitor: Visitor
    scene: str
    snapshot: bytes
    prev_action: str
    picture: bytes
    """The screen, encoded (`common.picture_codec`)."""
    action: int
    """The scripted expert's button."""
    right: tuple[int, ...]
    """All that are as good, where the game knows them; else `action` alone."""

    @property
    def situation(self) -> Situation:
        return Situation(self.snapshot, self.prev_action, self.frame)

    @property
    def frame(self) -> np.ndarray:
        """The screen, (H, W, 3) uint8 RGB."""
        return decode_picture(self.picture)

    @property
    def state(self) -> dict[str, Any]:
        return GAME.decode_state(self.snapshot, self.prev_action)


def played_cases(
    milestones: Sequence[str],
    n: int,
    *,
    tier: str,
    worlds: str | None,
    noise: float,
    seed: int,
    on_milestone: Callable[[int], None] = lambda done: None,
) -> list[Case]:
    """Return `n` states that differ in what is seen of them, half of noisy experts and half of random play.

    They are spread evenly over the milestones. Where one has too few, the others have more; where all have, fewer are returned.

    Args:
        milestones: where episodes begin, and what their experts go for.
        n: how many.
        tier, worlds: where it is played; no worlds are those of the tier to choose by.
        noise: probability with which a random button is pressed instead of the expert's.
        seed: of all that is random.
        on_milestone: is told how many milestones are done.
    """
    if not n:
        return []
    most = 2 * -(-n // (2 * len(milestones)))
    pools: dict[Visitor, list[list[Case]]] = {"noisy expert": [], "random play": []}
    for done, milestone in enumerate(milestones, 1):
        starts = choose_starts(GAME, milestone, BUNDLED_ROM, purpose="choose", tier=tier, worlds=worlds)
        with PokemonEnv(BUNDLED_ROM, target_milestone=milestone, state_in_info=False, **starts.settings) as env:
            seen: set[tuple[str, bytes]] = set()
            for visitor, pool in pools.items():
                pool.append(_pool(env, milestone, visitor, most, noise, seed, seen))
        on_milestone(done)
    halves = [_in_turn(pools["noisy expert"]), _in_turn(pools["random play"])]
    return list(itertools.islice(_in_turn(halves), n))


def student_cases(path: str | Path, n: int, seed: int) -> list[Case]:
    """Return up to `n` different states that students visited, drawn from a data set of DAgger.

    Raises DaggerDataError if it is no data set of one milestone of Tallgrass, or has no such states.
    """
    with DaggerData(path, "read") as data:
        if data.facts.get("game", GAME.id) != GAME.id or list(data.buttons) != list(GAME.buttons):
            raise DaggerDataError(f"{path}: is of another game than {GAME.name}, whose experts are audited; give another --data")
        if data.milestone not in {one.id for one in GAME.milestones}:
            raise DaggerDataError(f"{path}: is of {data.milestone or 'the whole game'}, not of one milestone; give another --data")
        columns = data.columns(["source", "snapshot", "prev_action"])
        rows = np.flatnonzero((columns["source"] == Source.ROLLOUT) & (columns["snapshot"] >= 0))
        rows = np.random.default_rng(derive(seed, "label audit", "students")).permutation(rows)

        def visited() -> Iterator[Situation]:
            for row in rows.tolist():
                (snapshot,), (frame,) = data.snapshots([row]), data.frames([row])
                pressed = int(columns["prev_action"][row])
                assert snapshot is not None  # it was selected so
                yield Situation(snapshot, "no_op" if pressed == NO_ACTION else GAME.buttons[pressed].lower(), frame)

        with InProcessOracle((GAME.policy_dir, data.milestone), GAME, with_optimal=True) as oracle:
            cases = _judged(oracle, data.milestone, "student", visited(), set())
            found = list(itertools.islice(cases, n))
    if not found:
        raise DaggerDataError(f"{path}: has no states of rollouts that {data.milestone}'s expert can label; give another --data")
    return found


def digest_of(cases: Iterable[Case]) -> str:
    """Return a hash of what the states are, and in which order."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update(hashlib.sha256(f"{case.milestone}\0{case.prev_action}\0".encode() + case.snapshot).digest())
    return digest.hexdigest()


def _pool(
    env: PokemonEnv, milestone: str, visitor: Visitor, most: int, noise: float, seed: int, seen: set[tuple[str, bytes]]
) -> list[Case]:
    """Return up to `most` states of several episodes. None of them looks like one in `seen`, which grows."""
    player = PolicyExpert((GAME.policy_dir, milestone), GAME) if visitor == "noisy expert" else None
    share, barren = -(-most // _EPISODES), 0
    cases: list[Case] = []
    with InProcessOracle((GAME.policy_dir, milestone), GAME, with_optimal=True) as oracle:
        for episode in itertools.count():
            numbers = np.random.default_rng(derive(seed, "label audit", milestone, visitor, episode))
            first = derived_seed(seed, "label audit", milestone, visitor, episode, "episode")
            visited = _played(env, player, noise, numbers, first)
            drawn = (visited[number] for number in numbers.permutation(len(visited)))
            new = list(itertools.islice(_judged(oracle, milestone, visitor, drawn, seen), min(share, most - len(cases))))
            cases += new
            barren = 0 if new else barren + 1
            if len(cases) >= most or barren >= _BARREN:
                return cases
    raise AssertionError("episodes never end")


def _played(env: PokemonEnv, player: PolicyExpert | None, noise: float, rng: np.random.Generator, seed: int) -> list[Situation]:
    """Play an episode, and return what was visited in it. player: who presses; None for nobody, and all presses are random."""
    visited = []
    screen, info = env.reset(seed=seed)
    for _ in range(_RANDOM_PRESSES if player is None else _EXPERT_PRESSES):
        situation = Situation(env.snapshot(), info["prev_action"], screen)
        visited.append(situation)
        action = None
        if player is not None and rng.random() >= noise:
            action = player.label(GAME.decode_state(situation.snapshot, situation.prev_action)).action
        if action is None:
            action = int(rng.integers(len(GAME.buttons)))
        screen, _, terminated, _, info = env.step(action)
        if terminated:
            break
    return visited


def _judged(
    oracle: InProcessOracle, milestone: str, visitor: Visitor, situations: Iterable[Situation], seen: set[tuple[str, bytes]]
) -> Iterator[Case]:
    """Yield the situations with what is right there; not those that look like one in `seen`, which grows, nor those without an
    answer of the scripted expert. A stranger's data set may hold memory that cannot be."""
    for situation in situations:
        try:
            state = GAME.decode_state(situation.snapshot, situation.prev_action)
            look = format_state_for_llm(state)
        except (ValueError, LookupError, TypeError):
            continue
        assert situation.frame is not None
        picture = encode_picture(situation.frame)
        if (look, picture) in seen:
            continue
        seen.add((look, picture))
        (answer,) = oracle.label_batch([situation])
        if answer.action is None:
            continue
        scene = state["game"]["game_state"]
        right = answer.optimal or (answer.action,)
        yield Case(milestone, visitor, scene, situation.snapshot, situation.prev_action, picture, answer.action, right)


def _in_turn(pools: Iterable[Iterable[Case]]) -> Iterator[Case]:
    """Yield one of each pool in turn, of those that have any left."""
    left = [iter(pool) for pool in pools]
    while left:
        for pool in list(left):
            if (case := next(pool, None)) is None:
                left.remove(pool)
            else:
                yield case


def shuffled(cases: Sequence[Case], seed: int) -> list[Case]:
    """Return the cases in a random order, so that the first of them are a fair sample of all, should the money not last."""
    order = np.random.default_rng(derive(seed, "label audit", "order")).permutation(len(cases))
    return [cases[number] for number in order]
