"""Trying a policy file: seeded episodes in the sandbox, and what a failure looked like."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agent.oracle import Answer, Situation
from agent.sandbox.oracle import LIMIT_KINDS, STOPPED_KINDS, PolicyOracle
from common.runtime.main import Stopped
from common.runtime.scripts import never
from common.runtime.seeding import episode_rng
from pokemon_env.gym_env import PokemonEnv

KEPT_STEPS = 30
"""The last steps of an episode that are told."""
TOLD_FAILURES = 3
"""Failures that a model is told step by step. A trial that cannot succeed any more is ended after so many."""
FEW_STATES, CIRCLE_STEPS = 8, 20
"""An episode that has met no more than so many states in its last so many steps goes in a circle."""


@dataclass(frozen=True)
class Step:
    """One press."""

    number: int
    """From 1 on."""
    place: str
    position: tuple[int, int] | None
    facing: str
    text: str
    """On the screen; "" without one."""
    menu: str
    """Its name and the cursor's place; "" without one."""
    button: str
    """That was pressed, in lower case."""
    drawn: bool
    """The button was drawn by chance: for noise, or as the policy had no answer."""
    abstained: str
    """Why the policy had no answer; "" where it had one."""
    log: tuple[str, ...]
    """What the policy logged at this step."""


@dataclass(frozen=True)
class Picture:
    """A screen that a failed episode ended with."""

    number: int
    """The step before which it was seen, from 1 on."""
    button: str
    """That was pressed at it; "" at the last one."""
    pixels: np.ndarray = field(repr=False, compare=False)
    """(H, W, 3) uint8."""


@dataclass
class Episode:
    """One episode of a trial."""

    seed: int
    noisy: bool
    """Some presses were drawn by chance."""
    success: bool = False
    steps: int = 0
    kind: str = ""
    """Why it failed: "stuck", "circle", "out of time", "exception", "no answer", "limit", "timeout"; "" for a success."""
    reason: str = ""
    """Of `kind`, in words."""
    abstentions: dict[str, int] = field(default_factory=dict)
    last: list[Step] = field(default_factory=list)
    """The last `KEPT_STEPS` steps of a failure."""
    pictures: list[Picture] = field(default_factory=list)
    """The last different screens of a failure."""
    state: dict[str, Any] = field(default_factory=dict)
    """The last state of a failure."""

    def record(self) -> dict[str, Any]:
        """Return it in plain types, without pictures and states."""
        plain = {name: getattr(self, name) for name in ("seed", "noisy", "success", "steps", "kind", "reason", "abstentions")}
        return plain | {"last": [vars(step) | {"log": list(step.log)} for step in self.last]}


@dataclass(frozen=True)
class Limits:
    """When an episode of a trial ends."""

    max_steps: int
    stuck_threshold: int
    """Steps without any change of the state."""
    seconds: float
    """For all episodes of the trial together."""


@dataclass
class Trial:
    """A policy's episodes."""

    episodes: list[Episode]
    planned: int
    """Episodes that were to be played; fewer were, once the wanted rate could not be reached any more."""

    @property
    def successes(self) -> int:
        return sum(episode.success for episode in self.episodes)

    @property
    def rate(self) -> float:
        return self.successes / self.planned

    @property
    def mean_steps(self) -> float:
        """Of the successes; infinite without one."""
        steps = [episode.steps for episode in self.episodes if episode.success]
        return float(np.mean(steps)) if steps else math.inf


def try_policy(
    env: PokemonEnv,
    oracle: PolicyOracle,
    seeds: Sequence[int],
    starts: Sequence[Path | None],
    limits: Limits,
    *,
    wanted: float,
    noise: float = 0.0,
    keep_pictures: int = 9,
    on_success: Callable[[Episode], None] = lambda episode: None,
    should_stop: Callable[[], bool] = never,
) -> Trial:
    """Play seeded episodes with a policy, until all are played, or the wanted rate cannot be reached and some failures can be told.

    Args:
        env: of the milestone, with the state in its infos.
        oracle: the policy.
        seeds: one for each episode. Every second one has noise.
        starts: saved states that the episodes begin at, in turn; None leaves the start to the environment.
        limits: when an episode, and the trial, ends.
        wanted: share of successes.
        noise: probability that a press is drawn by chance, in every second episode: a policy is asked at states that a student gets
            into, and a replayed path must not win.
        keep_pictures: the last different screens that are kept of a failure.
        on_success: called at the end of each success, while `env` still is in its last state.
        should_stop: when it returns True, Stopped is raised.
    """
    deadline, trial = time.monotonic() + limits.seconds, Trial([], len(seeds))
    allowed = len(seeds) - math.ceil(wanted * len(seeds) - 1e-9)
    for number, seed in enumerate(seeds):
        episode = _Player(env, oracle, limits, deadline, keep_pictures, should_stop).play(
            Episode(seed, noisy=noise > 0 and number % 2 == 1), starts[number % len(starts)], noise
        )
        trial.episodes.append(episode)
        if episode.success:
            on_success(episode)
        if len(trial.episodes) - trial.successes > max(allowed, TOLD_FAILURES - 1):
            break
    return trial


class _Player:
    """Plays one episode."""

    def __init__(
        self,
        env: PokemonEnv,
        oracle: PolicyOracle,
        limits: Limits,
        deadline: float,
        keep_pictures: int,
        should_stop: Callable[[], bool],
    ):
        self.env, self.oracle, self.limits, self.deadline, self.should_stop = env, oracle, limits, deadline, should_stop
        self.steps: deque[Step] = deque(maxlen=KEPT_STEPS)
        self.pictures: deque[Picture] = deque(maxlen=keep_pictures)
        self.keys: list[str] = []  # of all states so far, as a player sees them
        self.unchanged = 0
        self.abstentions: Counter[str] = Counter()
        self.last_abstention: Answer | None = None

    def play(self, episode: Episode, start: Path | None, noise: float) -> Episode:
        env, limits = self.env, self.limits
        rng = episode_rng(episode.seed, "noise of a trial")
        screen, info = env.reset(seed=episode.seed, options={} if start is None else {"load_state": start})
        terminated, whole = False, _key(info)
        while not terminated and episode.steps < limits.max_steps and self.unchanged < limits.stuck_threshold:
            if self.should_stop():
                raise Stopped
            if time.monotonic() > self.deadline or self.oracle.stopped is not None:
                break
            self.oracle.messages.clear()
            answer = self.oracle.label_batch([Situation(env.snapshot(), info["prev_action"])])[0]
            drawn = answer.action is None or (episode.noisy and rng.random() < noise)
            action = int(rng.integers(len(env.buttons))) if drawn or answer.action is None else answer.action
            self._note(episode.steps + 1, info, screen, answer, env.buttons[action].lower(), drawn)
            screen, _, terminated, _, info = env.step(action)
            episode.steps += 1
            before, whole = whole, _key(info)
            self.unchanged = self.unchanged + 1 if before == whole else 0
        episode.abstentions = dict(self.abstentions)
        # Where a policy has no answer, chance pressed: that is no success of the policy's, which would be asked for labels there.
        episode.success = bool(terminated) and not self.abstentions
        if not episode.success:
            self.pictures.append(Picture(episode.steps + 1, "", screen.copy()))
            episode.last, episode.pictures, episode.state = list(self.steps), list(self.pictures), _plain(info)
            episode.kind, episode.reason = self._why(episode, bool(terminated))
        return episode

    def _note(self, number: int, info: Mapping[str, Any], screen: np.ndarray, answer: Answer, button: str, drawn: bool) -> None:
        abstained = ""
        if answer.action is None:
            self.abstentions[str(answer.kind)] += 1
            self.last_abstention, abstained = answer, f"{answer.kind}: {answer.reason}"
        coords, menu = info["map"].get("player_coords"), info["game"].get("menu")
        step = Step(
            number, info["map"]["location"] or info["game"]["game_state"], None if coords is None else (coords[0], coords[1]),
            info["player"]["facing"], info["game"].get("dialog_text") or "", _menu(menu), button, drawn, abstained,
            tuple(self.oracle.messages),
        )  # fmt: skip
        self.steps.append(step)
        self.keys.append(json.dumps([step.place, step.position, step.facing, step.text, step.menu, _battle(info)]))
        if not self.pictures or not np.array_equal(self.pictures[-1].pixels, screen):
            self.pictures.append(Picture(number, button, screen.copy()))

    def _pressed(self) -> str:
        """Return the buttons of the last steps, the most frequent first."""
        return ", ".join(button for button, _ in Counter(step.button for step in self.steps).most_common(4))

    def _why(self, episode: Episode, terminated: bool) -> tuple[str, str]:
        """Return why an episode failed: a word to group by, and a sentence."""
        last, answer = self.steps[-1] if self.steps else None, self.last_abstention
        if self.oracle.stopped is not None:
            return "limit", self.oracle.stopped.replace(str(self.oracle.path), self.oracle.path.name)
        if answer is not None and answer.kind in (*LIMIT_KINDS, *STOPPED_KINDS):
            return "limit", f"{answer.kind}: {answer.reason}"
        if answer is not None and answer.kind == "exception" and self.abstentions["exception"] * 4 >= episode.steps:
            return "exception", str(answer.reason)
        if sum(self.abstentions.values()) * 4 >= episode.steps > 0 or (terminated and self.abstentions):
            kinds = ", ".join(f"{kind} {count}" for kind, count in self.abstentions.most_common())
            text = f"no button at {sum(self.abstentions.values())} of {episode.steps} steps ({kinds})"
            return "no answer", f"{text}, so that chance reached the milestone" if terminated else text
        if last is None or time.monotonic() > self.deadline:
            return "timeout", f"the trial took longer than {self.limits.seconds:g} s"
        where = last.place + ("" if last.position is None else f" {last.position}")
        if self.unchanged >= self.limits.stuck_threshold:
            return "stuck", f"nothing changed for {self.unchanged} steps, at {where}, pressing {last.button}"
        few = set(self.keys[-CIRCLE_STEPS:])
        if len(self.keys) >= CIRCLE_STEPS and len(few) <= FEW_STATES:
            since = next((number for number in range(len(self.keys), 0, -1) if self.keys[number - 1] not in few), 0) + 1
            states = "the same state" if len(few) == 1 else f"the same {len(few)} states, again and again,"
            return "circle", f"{states} since step {since}, at {where}, pressing {self._pressed()}"
        return "out of time", f"not reached within {self.limits.max_steps} steps; the last at {where}"


def _key(info: Mapping[str, Any]) -> str:
    """Return all of a state but the last press, as text."""
    return json.dumps({name: info[name] for name in ("player", "game", "map", "milestones")})


def _plain(info: Mapping[str, Any]) -> dict[str, Any]:
    return {name: info[name] for name in ("player", "game", "map", "milestones", "prev_action")}


def _menu(menu: Mapping[str, Any] | None) -> str:
    return "" if menu is None else f"{menu.get('name')} {menu.get('cursor')}"


def _battle(info: Mapping[str, Any]) -> Any:
    battle = info["game"].get("battle_info")
    own = [one.get("current_hp") for one in info["player"].get("party") or []]
    return None if battle is None else [(battle.get("enemy") or {}).get("current_hp"), own]
