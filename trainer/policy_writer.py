"""One milestone: a model writes a policy, it is tried, the model is told what went wrong, and writes it again.

The loop is Voyager's (Wang et al., "Voyager: An Open-Ended Embodied Agent with Large Language Models", 2023): code, feedback of its
run, self-correction. Selection is evolutionary: the next policy is written from the best so far, not from the latest.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agent.llm.client import ModelAnswer, ModelClient, Question
from agent.llm.policy_prompts import MOST_TOKENS, Part, code_of, milestone_parts, policy_rules, shortened
from agent.llm.prompts import estimated_tokens
from agent.oracle import PolicyError
from agent.sandbox.oracle import PolicyOracle
from agent.sandbox.worker import ALLOWED_IMPORTS
from common.runtime.files import save_text
from common.runtime.main import Stopped, UserError
from common.runtime.scripts import never
from common.runtime.seeding import derived_seed
from pokemon_env.games.base import Game
from pokemon_env.gym_env import PokemonEnv
from trainer.attempts import folder_of, load_attempt, save_attempt, save_question
from trainer.feedback import Attempt, feedback_parts
from trainer.trial import Episode, Limits, Trial, try_policy

RECORDER = "milestone_trainer.py"
"""In the details of a state that a trainer has saved."""
CALL_SECONDS = 2.0
WITHOUT_PROGRESS = 3
"""After so many attempts that are no better than the best before, the model begins afresh."""
ASKED_AGAIN = 2
"""How often an answer without a policy is asked for again, without counting as an attempt."""
SHOWN_STARTS, SHOWN_WINNERS = 3, 3
WEAK_RATE = 0.6
"""A policy that confirms this rate is kept as weak: the gate of the pipeline."""
NOT_REPEATABLE = (
    "policy.py: asked again at the same states, it gave other answers: its answers depend on more than the state (a clock, id(), "
    "what was asked before, or a generator of its own); let run(state) decide from the state alone, and draw lots by "
    "random.random() or random.choice(), which are seeded from the state"
)
"""`ExpertOracle.withdrawn` names two answers as well, which are others each time: a prompt with them would not be found again."""
ACCIDENT = "the model could not be asked for {milestone} ({kind}: {reason}); the same command goes on where it was"


class CannotAsk(UserError):  # noqa: N818 - what happened
    """The model gave no answer, for a reason that has nothing to do with the question; the text says why."""


class OutOfMoney(Exception):  # noqa: N818 - what happened
    """--max-cost leaves nothing for the next question."""


@dataclass(frozen=True)
class Writing:
    """How policies are written and tried."""

    attempts: int
    """At most."""
    candidates: int = 1
    """Answers that are asked for at once, for each attempt."""
    trial_episodes: int = 8
    confirm_episodes: int = 20
    min_success_rate: float = 0.9
    noise: float = 0.1
    feedback_frames: int = 9
    seed: int = 1


@dataclass
class Result:
    """What came of a milestone."""

    status: Literal["won", "weak", "failed", "under way"]
    best: Attempt | None
    attempts: list[Attempt] = field(default_factory=list)


class PolicyWriter:
    """Writes the policy of one milestone.

    Args:
        client: asks the model.
        env: of the milestone, with the state in its infos.
        starts: saved states that episodes begin at; (None,) leaves them to the environment.
        limits: of a trial.
        writing: how policies are written and tried.
        output: where `attempts/` lies. What is there is not made again.
        winners: milestones whose policies have won in this run, with their text; the nearest first.
        say: is told what happens.
        on_attempt: called after each attempt with all so far; they are on disk.
        should_stop: when it returns True, Stopped is raised.
    """

    def __init__(
        self,
        client: ModelClient,
        env: PokemonEnv,
        milestone: str,
        starts: Sequence[Path | None],
        limits: Limits,
        writing: Writing,
        output: Path,
        *,
        winners: Sequence[tuple[str, str]] = (),
        say: Callable[[str], None] = print,
        on_attempt: Callable[[list[Attempt]], None] = lambda history: None,
        should_stop: Callable[[], bool] = never,
    ):
        self.client, self.env, self.game, self.milestone = client, env, env.game, milestone
        self.starts, self.limits, self.writing, self.output = starts, limits, writing, output
        self.winners, self.say, self.on_attempt, self.should_stop = winners, say, on_attempt, should_stop
        self._rules = rules_of(self.game)
        self._about: list[Part] | None = None

    def write(self) -> Result:
        """Write, try, tell and write again, until a policy has won or all attempts are used.

        Raises CannotAsk, OutOfMoney, ModelError, and Stopped. What is finished is on disk.
        """
        history: list[Attempt] = []
        for number in range(1, self.writing.attempts + 1):
            folder = folder_of(self.output, self.milestone, number)
            attempt = load_attempt(folder)
            if attempt is None:
                attempt = self._attempt(number, folder, history)
                save_attempt(folder, attempt)
            history.append(attempt)
            self.say(f"{self.milestone}, attempt {attempt.in_a_line()}")
            self.on_attempt(history)
            if self.has_won(attempt):
                return Result("won", attempt, history)
        best = max(history, key=_rank, default=None)
        kept = best is not None and best.confirmed is not None and best.confirmed.rate >= WEAK_RATE
        return Result("weak" if kept else "failed", best, history)

    def first_question(self) -> Question:
        """Return what is asked first."""
        return Question(self._rules, tuple(self._question([], None)), None, "policy", self.milestone)

    def has_won(self, attempt: Attempt) -> bool:
        """Return whether an attempt reached the wanted rate on the seeds that confirm it."""
        return attempt.confirmed is not None and attempt.confirmed.rate >= self.writing.min_success_rate

    def _attempt(self, number: int, folder: Path, history: Sequence[Attempt]) -> Attempt:
        """Ask for policies, try all of them, and return the best."""
        parent = next_parent(history)
        parts = self._question(history, parent)
        save_question(folder, [self._rules, *parts])
        tried: list[tuple[Attempt, str]] = []
        for candidate, answer in enumerate(self._ask(parts), 1):
            attempt, text = self._read(number, answer, parent)
            if not attempt.error:
                self._try(attempt, folder / "states" / str(candidate))
            tried.append((attempt, text))
        place, (attempt, text) = max(enumerate(tried, 1), key=lambda one: (one[1][0].score, -one[0]))
        for other in range(1, len(tried) + 1):
            if other != place:  # the next milestone begins in states that the policy which is kept has reached
                shutil.rmtree(folder / "states" / str(other), ignore_errors=True)
        save_text(folder / "answer.md", text)
        return attempt

    def _question(self, history: Sequence[Attempt], parent: Attempt | None) -> list[str | np.ndarray]:
        if self._about is None:
            self._about = milestone_parts(self.game, self.milestone, self._shown_starts(), self.winners[:SHOWN_WINNERS])
        told: list[Part] = []
        if parent is not None:
            earlier = [one for one in history if one is not parent]
            told = feedback_parts(parent, earlier, self.writing.feedback_frames)
        elif history:
            lines = "\n".join(one.in_a_line() for one in history)
            told = [Part(f"\n# What was tried, without success\n{lines}\nBegin afresh, with another plan.")]
        return shortened([*self._about, *told], MOST_TOKENS - estimated_tokens(self._rules))

    def _shown_starts(self) -> list[tuple[dict[str, Any], np.ndarray]]:
        shown = []
        for number in range(SHOWN_STARTS):
            start = self.starts[number % len(self.starts)]
            screen, info = self.env.reset(seed=self._seed("trial", number), options={} if start is None else {"load_state": start})
            shown.append((dict(info), screen.copy()))
        return shown

    def _seed(self, purpose: Literal["trial", "confirm"], number: int) -> int:
        return derived_seed(self.writing.seed, "policies", purpose, self.milestone, number)

    def _ask(self, parts: Sequence[str | np.ndarray]) -> list[ModelAnswer]:
        """Return an answer for each candidate. One without a policy is asked for again, at most `ASKED_AGAIN` times."""
        count = self.writing.candidates
        answers: dict[int, ModelAnswer] = {}
        for again in range(ASKED_AGAIN + 1):
            missing = [one for one in range(count) if one not in answers or not _has_policy(answers[one])]
            questions = [
                Question(self._rules, tuple(parts), None, "policy", self.milestone, candidate=1 + one + again * count)
                for one in missing
            ]
            for place, answer in self.client.ask_each(questions, self.should_stop):
                answers[missing[place]] = answer
            if self.should_stop():
                raise Stopped
            for answer in answers.values():
                self._check(answer)
        return [answers[one] for one in range(count)]

    def _check(self, answer: ModelAnswer) -> None:
        """Raise what a missing answer means for the run; a model's own failure means nothing for it."""
        if answer.kind == "no money":
            raise OutOfMoney
        if answer.kind == "stopped":
            raise Stopped
        if answer.kind not in (None, "refusal", "cut off", "malformed", "rejected"):
            raise CannotAsk(ACCIDENT.format(milestone=self.milestone, kind=answer.kind, reason=answer.reason))

    def _read(self, number: int, answer: ModelAnswer, parent: Attempt | None) -> tuple[Attempt, str]:
        """Return an attempt with the policy in an answer, or with the reason why there is none; and the answer's text."""
        text = answer.text or ""
        before = None if parent is None else parent.number
        found = code_of(text) if answer.kind is None else None
        if found is None:
            error = f"{answer.kind}: {answer.reason}" if answer.kind else "the answer has no fenced block that defines run"
            return Attempt(number, text.strip()[:2000], "", error, parent=before), text
        return Attempt(number, found[1], found[0], parent=before), text

    def _try(self, attempt: Attempt, states: Path) -> None:
        """Load a policy and play with it: the trial, and if that goes well, the episodes that confirm it."""
        writing = self.writing
        path = states.parent / f"candidate_{states.name}" / "policy.py"
        save_text(path, attempt.code)
        try:
            with PolicyOracle(path, self.game, call_seconds=CALL_SECONDS) as oracle:
                oracle.start()
                attempt.trial = self._play(oracle, "trial", writing.trial_episodes)
                if attempt.trial.rate >= writing.min_success_rate:
                    attempt.confirmed = self._play(oracle, "confirm", writing.confirm_episodes, states)
        except PolicyError as error:
            attempt.trial = attempt.confirmed = None
            attempt.error = str(error).replace(str(path), path.name)

    def _play(self, oracle: PolicyOracle, purpose: Literal["trial", "confirm"], count: int, states: Path | None = None) -> Trial:
        """Play seeded episodes. With `states`, the state that a success ends in is kept there: the next milestone may begin at it.

        Raises PolicyError if the policy's answers depend on more than the state.
        """

        def keep(episode: Episode) -> None:
            if states is not None:
                self.env.save_state(states / f"{episode.seed}.state", {"recorder": RECORDER})

        writing, seeds = self.writing, [self._seed(purpose, number) for number in range(count)]
        trial = try_policy(
            self.env, oracle, seeds, self.starts, self.limits, wanted=writing.min_success_rate, noise=writing.noise,
            keep_pictures=writing.feedback_frames, on_success=keep, should_stop=self.should_stop,
        )  # fmt: skip
        oracle.check()
        if oracle.withdrawn is not None:
            raise PolicyError(NOT_REPEATABLE)
        return trial


def rules_of(game: Game) -> str:
    """Return what all questions for policies of a game begin with."""
    return policy_rules(game, sorted(ALLOWED_IMPORTS), CALL_SECONDS)


def next_parent(history: Sequence[Attempt]) -> Attempt | None:
    """Return the attempt that the next policy is written from: the best, and of equals the latest. None to begin afresh.

    That is so at the beginning, and when the last `WITHOUT_PROGRESS` attempts were no better than the best before them.
    """
    if not history:
        return None
    begun = max((place for place, one in enumerate(history) if one.parent is None), default=0)
    since = history[begun:]
    if len(since) > WITHOUT_PROGRESS and max(one.score for one in since[-WITHOUT_PROGRESS:]) <= max(
        one.score for one in since[:-WITHOUT_PROGRESS]
    ):
        return None
    return max(history, key=_rank)


def _rank(attempt: Attempt) -> tuple[tuple[float, float], int]:
    return attempt.score, attempt.number


def _has_policy(answer: ModelAnswer) -> bool:
    return answer.kind is None and code_of(answer.text or "") is not None
