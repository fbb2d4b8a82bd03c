"""Episodes that a student plays, at times with the expert's hand, kept step by step so that each can be labelled later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from agent.guided_policy import MixedPolicy
from agent.labelling import Labeller
from agent.oracle import MOST_AT_ONCE, Situation
from common.episodes import EpisodeSpec, Evaluation, Step
from common.evaluation import evaluate
from common.networks import PolicyNetwork
from common.policies import Policy
from common.runtime.logs import RunLog
from common.statistics import rate_text
from common.video import EpisodeRecorder
from dagger.data import NO_ACTION, DaggerData, Row, Status
from dagger.starts import CutOffs
from dagger.training_set import TrainingSet
from pokemon_env.games.base import Game
from pokemon_env.tiers import find_tier
from pokemon_env.vector_env import ThreadVectorEnv


@dataclass(frozen=True)
class Rollout:
    """What was played."""

    ids: np.ndarray
    """(n,) int64: its rows in the data set, appended and not committed."""
    result: Evaluation
    repeats: int
    """Steps that pressed the same button as the step before although that had changed nothing on the screen."""

    @property
    def repeat_rate(self) -> float:
        """The share of steps that repeat."""
        return self.repeats / max(len(self.ids), 1)


def roll_out(
    data: DaggerData,
    envs: ThreadVectorEnv,
    student: Policy,
    labeller: Labeller,
    episodes: Sequence[EpisodeSpec],
    max_steps: int,
    *,
    beta: float,
    iteration: int,
    recorder: EpisodeRecorder | None = None,
    cutoffs: CutOffs | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Rollout:
    """Play the episodes, and append every step to the data set, with a label where the expert acted.

    What the expert sees is kept with each row, and with `cutoffs` the states in which episodes are cut off. Nothing is committed.
    Raises Stopped when `should_stop()` says so; the rows are then to be discarded.
    """
    policy = MixedPolicy(student, envs, labeller, beta)
    first, repeats, n_cut = data.next_episode, 0, 0
    ids: list[int] = []
    if cutoffs is not None:
        cutoffs.clear()
    before: dict[int, tuple[int, bool]] = {}  # slot -> the step's button, and whether it left the screen as it was
    worlds: dict[int, int | None] = {}
    game = envs.envs[0].game

    def keep(step: Step) -> None:
        nonlocal repeats, n_cut
        situation, slot = policy.situations[step.slot], step.slot
        if step.number == 0:
            before.pop(slot, None)
            worlds[slot] = game.decode(situation.snapshot)["game"].get("world")
        previous = before.get(slot, (NO_ACTION, False))
        repeats += previous == (step.action, True)
        before[slot] = step.action, np.array_equal(step.screen, step.next_screen)
        row = Row(
            observation=step.screen,
            action=step.action,
            iteration=iteration,
            episode=first + step.episode,
            step=step.number,
            beta=beta,
            seed=episodes[step.episode].seed,
            world=worlds[slot],
            prev_action=previous[0],
            snapshot=situation.snapshot,
            label=policy.labels.get(slot),
            reward=step.reward,
        )
        ids.extend(data.append([row]))
        if step.over:
            data.end_episode(first + step.episode, step.next_screen, step.terminated)
            if cutoffs is not None and not step.terminated:
                cutoffs.keep(envs.envs[slot], n_cut)
                n_cut += 1

    result = evaluate(envs, policy, episodes, max_steps, recorder=recorder, on_step=keep, should_stop=should_stop)
    return Rollout(np.array(ids, np.int64), result, repeats)


def pictures_tell_all(game: Game, tier: str | None, network: nn.Module) -> bool:
    """Return whether one picture stack of an episode has one right label for this student.

    It may have two where what was on the screen earlier decides (tier T3), and for a network with a memory, whose input is all
    that it has seen. Recorded states of a game with tiers do not say theirs (None), so they may be of T3.
    """
    if getattr(network, "has_memory", False):
        return False
    return not game.has_worlds if tier is None else not find_tier(tier).hides


def unanswered(data: DaggerData, ids: np.ndarray, repeats: bool = False, frame_stack: int | None = 1) -> np.ndarray:
    """Return those of the rows that have no answer; without `repeats`, only the first of equals, and none whose equal has one.

    Rows are equal where the student sees the same in one episode, however much of the memory has changed off the screen (steps
    are counted there, people walk): what it sees for a hundred steps is one query. Rows of any episode are equal where the
    expert would be told the same, memory and button before.

    Args:
        ids: (n,) int64, rising: rows of one rollout.
        repeats: return equals, too.
        frame_stack: how many pictures the student sees at once. None: only what the expert is told counts (see
            `pictures_tell_all`).
    """
    stack = [data.previous(ids, k) for k in range(frame_stack or 1)]
    start = int(stack[-1].min(initial=ids[0])) if len(ids) else 0
    columns = data.columns(["status", "snapshot", "prev_action", "frame", "episode"], start=start)
    own = {name: values[ids - start].tolist() for name, values in columns.items()}
    not_asked = [status == Status.NOT_ASKED for status in own["status"]]
    if repeats:
        return ids[not_asked]
    keys = [list(zip(own["snapshot"], own["prev_action"], own["frame"], strict=True))]
    if frame_stack is not None:
        seen = [columns["frame"][rows - start].tolist() for rows in stack]
        keys.append(list(zip(own["episode"], *seen, strict=True)))
    known = [{key for key, is_new in zip(of_rows, not_asked, strict=True) if not is_new} for of_rows in keys]
    first = []
    for row_id, is_new, *mine in zip(ids.tolist(), not_asked, *keys, strict=True):
        if is_new and not any(key in before for key, before in zip(mine, known, strict=True)):
            first.append(row_id)
        for key, before in zip(mine, known, strict=True):  # of a row that is left out, too: its equal's answer is as good there
            before.add(key)
    return np.array(first, np.int64)


def situations_of(data: DaggerData, ids: np.ndarray, with_frames: bool) -> Iterator[Situation]:
    """Yield what the expert would have seen at the rows `ids`. They are read when they are needed, some at a time."""
    numbers = [] if not len(ids) else data.columns(["prev_action"], start=int(ids.min()))["prev_action"][ids - ids.min()]
    words = ["no_op" if number == NO_ACTION else data.buttons[number].lower() for number in numbers]
    for start in range(0, len(ids), MOST_AT_ONCE):
        some = ids[start : start + MOST_AT_ONCE]
        frames = data.frames(some) if with_frames else [None] * len(some)
        for snapshot, word, frame in zip(data.snapshots(some), words[start:], frames, strict=False):
            assert snapshot is not None  # it is kept with each row that an expert may be asked about
            yield Situation(snapshot, word, frame)


def recall_by_button(labels: Sequence[int], predictions: Sequence[int], buttons: Sequence[str]) -> dict[str, float]:
    """Button -> the share of its labels that the network presses too; only those that have labels."""
    wanted, hits = Counter(labels), Counter(label for label, pressed in zip(labels, predictions, strict=True) if label == pressed)
    return {buttons[label]: hits[label] / count for label, count in sorted(wanted.items())}


def film_of(folder: str | None, milestone: str, buttons: Sequence[str], iteration: int) -> EpisodeRecorder | None:
    """Return what films the first episode of an iteration's rollout into a folder; None without one."""
    if folder is None:
        return None
    name = f"rollout_iter{iteration}_ep0_{milestone}"
    return EpisodeRecorder(Path(folder), name, buttons=buttons, with_outcome=False)


def log_rollout(
    writer: RunLog, data: DaggerData, rollout: Rollout, network: PolicyNetwork, training: TrainingSet, beta: float, step: int
) -> str:
    """Log how the student played, and how often it agrees with the labels before it has learned from them."""
    result = rollout.result
    for name, value in (*result.scalars().items(), ("repeat_rate", rollout.repeat_rate), ("beta", beta)):
        writer.add_scalar(f"rollout/{name}", value, step)
    columns = data.columns(["status", "label"], start=int(rollout.ids[0]))
    labelled = np.flatnonzero(columns["status"] == Status.VALID)
    labels, pressed = columns["label"][labelled].tolist(), predict(network, training, rollout.ids[labelled])
    success = rate_text(result.successes, result.n_episodes)
    text = f"success {success}, {len(rollout.ids):,} steps, repeats {rollout.repeat_rate:.2f}"
    if labels:
        agreement = float(np.mean([a == b for a, b in zip(labels, pressed, strict=True)]))
        writer.add_scalar("rollout/agreement", agreement, step)
        for button, recall in recall_by_button(labels, pressed, data.buttons).items():
            writer.add_scalar(f"rollout/recall_{button}", recall, step)
        text += f", {len(labels):,} labels, agreement {agreement:.2f}"
    return text


def predict(network: PolicyNetwork, training: TrainingSet, ids: np.ndarray) -> list[int]:
    """Return the buttons that the network presses at the rows `ids`."""
    pressed: list[int] = []
    training_mode = network.training
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(ids), 256):
            pressed += network(training.observations(ids[start : start + 256])).argmax(dim=-1).tolist()
    network.train(training_mode)
    return pressed
