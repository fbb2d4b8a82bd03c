"""A language model as the expert: it labels the states that a student visited.

    settings = settings_from_flags("claude-haiku-5-5")
    with CallFile(path, settings.secrets) as calls, ModelClient(settings, calls, Prices(), run="a run") as client:
        oracle = CodeAgent(client, game, "RIVAL_HOUSE")
        answers = oracle.label_batch([Situation(env.snapshot(), info["prev_action"], frame)])

The model is shown the state, the screen, or both, and answers with a button, a tool of the game, or "unsure". A tool is called
here, and its button is the label. Nothing is guessed from a bad answer: it is an abstention.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from agent.llm import prompts
from agent.llm.client import ModelAnswer, ModelClient, Question
from agent.llm.prompts import Form, Sees, label_of, label_parts, label_rules, label_schema
from agent.oracle import Answer, ExpertOracle, Situation, Spent
from common.runtime.scripts import never
from pokemon_env.games.base import Game

NEVER_ASKED = ("no money", "stopped")
"""Kinds of failure in which the question was not asked: there is no answer, not even an abstention."""
MOST_IN_A_BATCH = 2000
"""Questions of a batch, at most: each holds its screen, a quarter of a megabyte."""
_SOURCES = Path(prompts.__file__).resolve().parents[2] / "pokemon_env"


class CodeAgent(ExpertOracle):
    """A language model that labels, asked through a client.

    Args:
        client: which asks it. It is closed by whoever opened it, or at `close` if it is in `opened`.
        game: what is played, with its tools.
        milestone: the one to reach next.
        sees: what the model is shown: the state as text, the screen, or both.
        form: how it answers: with a button or a tool, or with a button alone.
        batch: all situations of a call are asked as batches, at half the price.
        opened: what to close with the oracle.
    """

    def __init__(
        self,
        client: ModelClient,
        game: Game,
        milestone: str,
        *,
        sees: Sees = "both",
        form: Form = "tool",
        batch: bool = False,
        opened: ExitStack | None = None,
    ):
        self.client, self.game, self.milestone, self.sees, self.form = client, game, milestone, sees, form
        self.batch = batch
        self.identity = identity_of(client, game, milestone, sees, form)
        self.concurrency = client.settings.concurrency
        self.needs_frame = sees != "state"
        self._rules, self._schema = label_rules(game, sees, form), label_schema(game, form)
        self._opened = opened or ExitStack()
        self._tokens, self._dollars = 0, 0.0
        self._unknown = False

    @property
    def left(self) -> float:
        """How many questions can still be asked: none once the next may cost more than is left, else infinitely many."""
        return self.client.left

    @property
    def spent(self) -> Spent:
        """Tokens and dollars of the answers so far."""
        return Spent(self._tokens, None if self._unknown else self._dollars)

    def start(self) -> None:
        """Look whether the server has the model. Asks nothing that costs. Raises ModelError."""
        self.client.start(pictures=self.needs_frame)

    def begin(self, run: str) -> None:
        self.client.begin(run)

    def summary(self) -> list[str]:
        return self.client.summary()

    def label_each(
        self, situations: Iterable[Situation], should_stop: Callable[[], bool] = never
    ) -> Iterator[dict[int, Answer]]:
        states: dict[int, dict[str, Any]] = {}
        unreadable: dict[int, Answer] = {}
        places: list[int] = []  # of the questions, in order: numbers of their situations

        def questions() -> Iterator[Question]:
            for number, situation in enumerate(situations):
                try:
                    state = self.game.decode_state(situation.snapshot, situation.prev_action)
                except (ValueError, LookupError, TypeError) as error:
                    unreadable[number] = Answer(None, "bad state", f"the snapshot cannot be decoded: {error}")
                    continue
                states[number] = state
                places.append(number)
                yield self.question(state, situation.frame)

        for place, reply in self._batches(questions()) if self.batch else self.client.ask_each(questions(), should_stop):
            number = places[place]
            answer = self.answer(reply, states.pop(number))
            yield unreadable | ({} if answer is None else {number: answer})
            unreadable.clear()
        if unreadable:
            yield dict(unreadable)

    def _batches(self, questions: Iterator[Question]) -> Iterator[tuple[int, ModelAnswer]]:
        """Ask as few batches as there is memory for, and yield the number of each question with its answer."""
        answered = 0
        while batch := list(itertools.islice(questions, MOST_IN_A_BATCH)):
            yield from enumerate(self.client.ask_batch(batch), answered)
            answered += len(batch)

    def label_batch(self, situations: Sequence[Situation]) -> list[Answer]:
        """Return one answer for each situation. One that was not asked, for want of money, is an abstention here."""
        answers: dict[int, Answer] = {}
        for group in self.label_each(situations):
            answers |= group
        unasked = Answer(None, NEVER_ASKED[0], "--max-cost leaves no money for the question")
        return [answers.get(number, unasked) for number in range(len(situations))]

    def question(self, state: dict[str, Any], picture: np.ndarray | None) -> Question:
        """Return what the model is asked at a decoded state. picture: the screen, (H, W, 3) uint8 RGB."""
        parts = label_parts(self.game, self.milestone, self.sees, state, picture)
        return Question(self._rules, parts, self._schema, "label", self.milestone)

    def answer(self, reply: ModelAnswer, state: dict[str, Any]) -> Answer | None:
        """Return the label in a reply, and count what it cost; None if the question was not asked."""
        usage = reply.usage
        if not reply.found:
            self._tokens += usage.input + usage.cache_write_5m + usage.cache_write_1h + usage.cache_read + usage.output
        self._unknown |= reply.dollars is None
        self._dollars += reply.dollars or 0.0
        if reply.kind in NEVER_ASKED:
            return None
        if reply.kind is not None:
            return Answer(None, reply.kind, reply.reason)
        return label_of(reply.value, state, self.game)

    def close(self) -> None:
        """Close what was opened for it."""
        self._opened.close()


def identity_of(client: ModelClient, game: Game, milestone: str, sees: Sees, form: Form) -> str:
    """Return where a model's labels come from: "model:{model}:{16 hex digits}". Whatever may change an answer changes it."""
    settings = client.settings
    told = (settings.backend, settings.model, settings.effort, settings.max_tokens, sees, form, game.id, game.system, milestone)
    digest = hashlib.sha256("\0".join(map(str, told)).encode())
    for source in (Path(prompts.__file__), *sorted(_SOURCES.rglob("*.py"))):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return f"model:{settings.model}:{digest.hexdigest()[:16]}"
