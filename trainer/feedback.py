"""What a model is told of an attempt that failed: how often, why, and three failures step by step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from agent.llm.policy_prompts import Part
from agent.llm.prompts import enlarged, format_state_for_llm
from trainer.trial import TOLD_FAILURES, Episode, Step, Trial


@dataclass
class Attempt:
    """A policy that a model wrote, and what came of it."""

    number: int
    plan: str
    """What the model wrote before the code."""
    code: str
    error: str = ""
    """Why it could not be loaded; "" if it could."""
    trial: Trial | None = None
    confirmed: Trial | None = None
    """On other seeds; None if the trial fell short of the wanted rate."""
    parent: int | None = None
    """Number of the attempt that it was written from; None for one that was written afresh."""

    @property
    def score(self) -> tuple[float, float]:
        """What attempts are compared by: the rate of successes, of the confirmation if there was one, and then fewer steps."""
        judged = self.confirmed or self.trial
        return (-1.0, 0.0) if judged is None else ((self.confirmed is not None) + judged.rate, -judged.mean_steps)

    def in_a_line(self) -> str:
        """Return what happened, in one line."""
        if self.error:
            return f"{self.number}: could not be loaded: {self.error}"
        judged = self.confirmed or self.trial
        assert judged is not None
        kinds = ", ".join(f"{reason} ({count})" for reason, count in grouped(judged.episodes))
        which = "to confirm" if self.confirmed else "of the trial"
        return f"{self.number}: {judged.successes} of {judged.planned} episodes {which}" + (f"; {kinds}" if kinds else "")


def grouped(episodes: Sequence[Episode]) -> list[tuple[str, int]]:
    """Return reasons, and how many of the episodes failed for each, the most frequent first. In a group, places may differ."""
    groups: dict[str, list[Episode]] = {}
    for episode in episodes:
        if not episode.success:
            groups.setdefault(episode.reason if episode.kind in ("exception", "limit") else episode.kind, []).append(episode)
    return sorted(((f"{some[0].kind}: {some[0].reason}", len(some)) for some in groups.values()), key=lambda one: -one[1])


def chosen_failures(episodes: Sequence[Episode]) -> list[Episode]:
    """Return the failures to tell step by step: of each reason the first, and then the next."""
    waiting = [episode for episode in episodes if not episode.success]
    found: list[Episode] = []
    while waiting and len(found) < TOLD_FAILURES:
        kinds = {(episode.kind, episode.reason) for episode in found}
        new = next((one for one in waiting if (one.kind, one.reason) not in kinds and one.last), None)
        one = new or waiting[0]
        found.append(one)
        waiting.remove(one)
    return found


def feedback_parts(attempt: Attempt, earlier: Sequence[Attempt], pictures: int) -> list[Part]:
    """Return what a model is told of its last attempt, and in a line each of those before.

    pictures: of each failure, the last so many different screens.
    """
    title = f"\n# Your policy, attempt {attempt.number}\n"
    parts = [Part(f"{title}Your plan: {attempt.plan}\n```python\n{attempt.code.strip()}\n```")]
    if attempt.error:
        parts.append(Part(f"\n# What happened\nIt could not be loaded: {attempt.error}"))
    else:
        judged = attempt.confirmed or attempt.trial
        assert judged is not None
        parts.append(Part(_what_happened(attempt)))
        for number, episode in enumerate(chosen_failures(judged.episodes), 1):
            parts += _in_detail(number, episode, pictures)
    if earlier:
        lines = "\n".join(one.in_a_line() for one in earlier)
        parts.append(Part(f"\n# Earlier attempts\n{lines}", "the earlier attempts", 5))
    parts.append(Part("\nWrite the policy again: first what you change and why, and then the whole file."))
    return parts


def _what_happened(attempt: Attempt) -> str:
    lines = ["\n# What happened"]
    for trial, starts in ((attempt.trial, "from the trial's starts"), (attempt.confirmed, "from other starts, to confirm it")):
        if trial is not None:
            text = f"It reached the milestone in {trial.successes} of {trial.planned} episodes {starts}"
            text += f", in {trial.mean_steps:.0f} steps on average" if trial.successes else ""
            ended = len(trial.episodes) < trial.planned
            lines.append(f"{text}; after {len(trial.episodes)} it was ended." if ended else f"{text}.")
    judged = attempt.confirmed or attempt.trial
    assert judged is not None
    lines += [f"- {reason}: in {count} episode{'s' * (count > 1)}" for reason, count in grouped(judged.episodes)]
    return "\n".join(lines)


def _in_detail(number: int, episode: Episode, pictures: int) -> list[Part]:
    noise = "some presses drawn by chance" if episode.noisy else "no presses drawn by chance"
    lines = [f"\n# Failure {number}: {episode.kind} ({noise})", episode.reason]
    if episode.abstentions:
        lines.append("Without an answer: " + ", ".join(f"{kind} {count}" for kind, count in episode.abstentions.items()))
    lines += ["The last steps: place, position, facing, text, menu: button"] if episode.last else []
    lines += run_lengths(episode.last)
    logged = [f"step {step.number}: {line}" for step in episode.last for line in step.log]
    parts = [Part("\n".join(lines), f"the steps of failure {number}", 1 + number)]
    if logged:
        parts.append(Part("What it logged:\n" + "\n".join(logged[-20:]), f"the log of failure {number}", 1 + number))
    if episode.state:
        state = format_state_for_llm(episode.state)
        parts.append(Part(f"The last state:\n{state}", f"the last state of failure {number}", 2 + number))
    for picture in episode.pictures[-pictures:] if pictures else []:
        pressed = f", before {picture.button} was pressed" if picture.button else ", the last one"
        name = f"screens of failure {number}"
        parts += [Part(f"Step {picture.number}{pressed}:", name, 3 + number), Part(enlarged(picture.pixels), name, 3 + number)]
    return parts


def run_lengths(steps: Sequence[Step]) -> list[str]:
    """Return the steps as lines, equal ones after each other as one."""
    lines = []
    for told, group in itertools.groupby(steps, _told):
        some = list(group)
        first, last = some[0].number, some[-1].number
        lines.append(f"{first}{f'-{last}' if last > first else ''} {told}")
    return lines


def _told(step: Step) -> str:
    position = "" if step.position is None else f" ({step.position[0]}, {step.position[1]})"
    seen = [f"{step.place}{position} {step.facing}", " / ".join(step.text.splitlines()), step.menu]
    button = f"{step.button}, drawn by chance" if step.drawn and not step.abstained else step.button
    answer = f"no answer ({step.abstained}), so {button}" if step.abstained else button
    return f"{', '.join(part for part in seen if part)}: {answer}"
