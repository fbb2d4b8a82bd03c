"""A person at the keyboard, in the emulator's window."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agent.oracle import Answer, Situation
from agent.policy_expert import add_optimal
from common.demonstrations import DemonstrationError, Episode
from common.press_journal import PressJournal, checksum
from pokemon_env.emulators.window import CAPACITY
from pokemon_env.errors import WindowClosed
from pokemon_env.gym_env import PokemonEnv

POLL_SECONDS = 1 / 60

Ending = Literal["reached", "limit", "closed", "stopped"]
"""Why a person no longer plays: the environment terminated, the steps are used up, the window was closed, or a stop was
requested."""


class HandRecording:
    """A game that a person plays, recorded press by press; it starts at a reset, or resumes where its journal ends.

    Each press is one step, with the same timing as a policy's. Between steps the game stands still, as it does for a policy, so
    that the screens are of the same kind.

    Attributes:
        journal: where each press is written when it is made.
        saved: how many of the presses are in episodes already.
        terminated: whether the environment has terminated.
    """

    def __init__(self, env: PokemonEnv, journal: PressJournal, saved: int, seed: int, start_state: Path | None):
        """Reset the environment, and replay the journal's presses as fast as possible.

        Args:
            env: with render_mode "human".
            journal: `begin` was called.
            saved: how many of its presses are in episodes already.
            seed: for the game.
            start_state: a .state file; None leaves the start to the environment.

        Raises DemonstrationError if the game runs differently than when the presses were recorded.
        """
        self.journal, self.saved, self.terminated = journal, min(saved, len(journal.presses)), False
        self._env, self._seed, self._start_state = env, seed, start_state
        window = env.window
        assert window is not None  # of render_mode "human"
        window.fast_forward = True
        observation, _ = env.reset(seed=seed, options=None if start_state is None else {"load_state": start_state})
        self._first_picture = observation
        self._steps: list[tuple[np.ndarray, int, float, bool, int]] = []  # screen after, action, reward, terminated, label set
        last = 0
        for number, (action, crc) in enumerate(journal.presses, start=1):
            possible = action < len(env.buttons) and not self.terminated
            outcome = checksum(last, action, self._step(action)) if possible else None
            if outcome is None or outcome != crc:
                raise DemonstrationError(
                    f"{journal.path}: press {number} of {len(journal.presses)} has another outcome now than when it was "
                    "recorded; resume with the versions and files that it was begun with, or move it away to start over"
                )
            last = outcome
            if number <= self.saved:
                self._first_picture = self._steps.pop()[0]
        window.fast_forward = False
        window.clear()

    def play(self, max_steps: int, should_stop: Callable[[], bool], say: Callable[[str], None]) -> Ending:
        """Let the person play until the environment terminates, or until there are `max_steps` that are in no episode.

        Args:
            should_stop: called between the steps.
            say: called with messages for the person.
        """
        window = self._env.window
        assert window is not None
        refused = window.refused
        while not self.terminated:
            if len(self._steps) >= max_steps:
                return "limit"
            try:
                while (action := self._env.poll_button()) is None and not should_stop():
                    time.sleep(POLL_SECONDS)
            except WindowClosed:
                return "closed"
            if should_stop():
                self._say_not_played(len(window.waiting) + (action is not None), say)
                return "stopped"
            assert action is not None  # None only when asked to stop
            self.journal.append(action, self._step(action))
            if window.refused > refused:
                say(f"{window.refused - refused} keys were ignored, for {CAPACITY} presses waited already (Delete drops them)")
                refused = window.refused
        self._say_not_played(len(window.waiting), say)
        return "reached"

    def take_episode(self) -> Episode:
        """Return the steps that are in no episode yet, at least one. Later steps belong to another episode.

        `metadata` holds `success` (None for a game without milestones), `seed`, `noise` (0) and `start_state`. So that the parts of
        one recording can be found again, it also holds `recording`, `first_step` (how many steps precede these) and `steps`.
        """
        pictures, actions, rewards, dones, sets = zip(*self._steps, strict=True)
        episode = Episode(
            observations=np.stack([self._first_picture, *pictures]),
            actions=np.array(actions, np.int64),
            rewards=np.array(rewards, np.float32),
            dones=np.array(dones, bool),
            optimal=np.array(sets, np.int64) if any(sets) else None,
            metadata={
                "success": self.terminated if self._env.milestones else None,
                "seed": self._seed,
                "noise": 0.0,
                "start_state": None if self._start_state is None else str(self._start_state),
                "recording": self.journal.recording,
                "first_step": self.saved,
                "steps": len(self._steps),
            },
        )
        self._first_picture = pictures[-1]
        self.saved += len(self._steps)
        self._steps.clear()
        return episode

    def __len__(self) -> int:
        """Return the number of steps that are in no episode yet."""
        return len(self._steps)

    def _say_not_played(self, presses: int, say: Callable[[str], None]) -> None:
        if presses:
            say(f"{presses} presses that waited for their turn were not played")

    def _step(self, action: int) -> np.ndarray:
        env = self._env
        optimal = add_optimal(Answer(action), Situation(env.snapshot(), "no_op"), env.game).optimal
        observation, reward, terminated, _, _ = env.step(action)
        self._steps.append((observation, action, float(reward), bool(terminated), sum(1 << button for button in optimal or ())))
        self.terminated = bool(terminated)
        return observation


def saved_steps(recording: str, metadata: list[dict[str, Any]]) -> int:
    """Return how many of a recording's presses are in the episodes with this metadata."""
    ours = (m for m in metadata if m.get("recording") == recording)
    return max(((m.get("first_step") or 0) + (m.get("steps") or 0) for m in ours), default=0)
