"""Playing whole episodes with any policy, in one environment or in many at once, and counting how they went."""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from common.checkpoints import CheckpointError
from common.preprocessing import preprocess_uint8
from common.seeding import episode_rng
from common.statistics import rate_text, wilson_interval
from common.video import VideoWriter


@dataclass(frozen=True)
class EpisodeSpec:
    """One episode to be played."""

    seed: int | None = None
    """Given to `reset`; None lets the environment draw on."""
    start_state: str | os.PathLike | None = None
    """A `.state` file to start from; None leaves it to the environment: at power-on, or where it was made to start."""
    max_steps: int | None = None
    """A limit of its own, where that is less than the one for all."""


@dataclass(frozen=True)
class EpisodeResult:
    """How one episode went."""

    seed: int | None
    start_state: str | None
    episode_return: float
    length: int
    success: bool
    """The environment terminated: its target was reached. False for an episode that ran into a limit."""
    milestones: tuple[str, ...]
    """Those completed in the end."""
    optimal_steps: int | None = None
    """The least number of steps from where it started, where that was asked for and is defined."""


@dataclass(frozen=True)
class Evaluation:
    """Results of a set of episodes, in the order in which they were asked for."""

    episodes: list[EpisodeResult]
    seconds: float = 0.0

    @property
    def n_episodes(self) -> int:
        return len(self.episodes)

    @property
    def successes(self) -> int:
        return sum(episode.success for episode in self.episodes)

    @property
    def success_rate(self) -> float:
        return self.successes / max(len(self.episodes), 1)

    @property
    def success_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the success rate."""
        return wilson_interval(self.successes, len(self.episodes))

    def within(self, max_steps: float) -> Evaluation:
        """The same episodes, had they been cut off after so many steps: longer successes count as failures."""
        cut = [replace(e, success=e.success and e.length <= max_steps) for e in self.episodes]
        return Evaluation(cut, self.seconds)

    @property
    def spl(self) -> float | None:
        """Success weighted by path length: the mean of S * l / max(p, l), where S is 1 for a success, p the steps taken and
        l the least possible; over the episodes whose l is known, None if there are none.

        Anderson et al., "On Evaluation of Embodied Navigation Agents", 2018.
        """
        known = [e for e in self.episodes if e.optimal_steps is not None]
        return _mean([e.success * e.optimal_steps / max(e.length, e.optimal_steps, 1) for e in known]) if known else None

    @property
    def mean_return(self) -> float:
        return _mean([episode.episode_return for episode in self.episodes])

    @property
    def std_return(self) -> float:
        return float(np.std([episode.episode_return for episode in self.episodes])) if self.episodes else 0.0

    @property
    def mean_length(self) -> float:
        return _mean([episode.length for episode in self.episodes])

    @property
    def mean_success_length(self) -> float:
        """Mean number of steps of the episodes that succeeded; nan if none did."""
        lengths = [episode.length for episode in self.episodes if episode.success]
        return float(np.mean(lengths)) if lengths else float("nan")

    @property
    def mean_milestones(self) -> float:
        return _mean([len(episode.milestones) for episode in self.episodes])

    @property
    def steps(self) -> int:
        return sum(episode.length for episode in self.episodes)

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        rate = rate_text(self.successes, self.n_episodes)
        return f"success {rate}, return {self.mean_return:.2f}, length {self.mean_length:.1f}"

    def as_info(self) -> dict[str, Any]:
        """Everything in plain types, under the names that `evaluate_policy` promises."""
        return {
            "episode_lengths": [episode.length for episode in self.episodes],
            "mean_length": self.mean_length,
            "mean_success_length": self.mean_success_length,
            "milestones_reached": [len(episode.milestones) for episode in self.episodes],
            "mean_milestones": self.mean_milestones,
            "episode_returns": [episode.episode_return for episode in self.episodes],
            "successes": [episode.success for episode in self.episodes],
            "success_rate": self.success_rate,
            "success_interval": self.success_interval,
            "seeds": [episode.seed for episode in self.episodes],
            "steps_per_second": self.steps_per_second,
        }

    def scalars(self) -> dict[str, float]:
        """What is logged, under the names that it has in TensorBoard (within a group such as `eval/`)."""
        low, high = self.success_interval
        return {
            "mean_return": self.mean_return,
            "std_return": self.std_return,
            "mean_episode_length": self.mean_length,
            "mean_milestones": self.mean_milestones,
            "success_rate": self.success_rate,
            "success_rate_low": low,
            "success_rate_high": high,
            "steps_per_second": self.steps_per_second,
        }

    def record(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "successes": self.successes,
            "episodes": self.n_episodes,
            "success_rate": self.success_rate,
            "success_interval": list(self.success_interval),
            "mean_return": self.mean_return,
            "mean_length": self.mean_length,
            "mean_success_length": self.mean_success_length,
            "seeds": [episode.seed for episode in self.episodes],
        }


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an episode that is being played, for whoever keeps what happens (`evaluate(on_step=...)`)."""

    slot: int
    """Where the episode is played."""
    episode: int
    """Its place among those asked for."""
    number: int
    """0, 1, 2, ... within the episode."""
    screen: np.ndarray
    """(H, W, 3) uint8, the screen that the action was chosen on."""
    action: int
    reward: float
    next_screen: np.ndarray
    """(H, W, 3) uint8, the screen after it."""
    terminated: bool
    """The target was reached."""
    over: bool
    """The episode ends here, reached or cut off."""
    next_info: Mapping[str, Any] = field(default_factory=dict)
    """The environment's info after it."""


class EvaluationStopped(Exception):  # noqa: N818 - no error, somebody wished it
    """`evaluate` was asked to stop; there is no result."""


class Policy:
    """Chooses the buttons for several episodes that are played side by side, each in a slot of its own."""

    def start_episode(self, slot: int, seed: int | None) -> None:
        """A new episode begins in the slot. What is drawn for it must depend on the seed alone, not on the slot."""

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        """The buttons to press.

        Args:
            slots: where the episodes are played, n of them.
            screens: for each the (H, W, 3) uint8 screen,
            infos: and the environment's info.

        Returns n actions.
        """
        raise NotImplementedError


class RandomPolicy(Policy):
    """Presses any button, each as likely as the others."""

    def __init__(self, n_actions: int):
        self.n_actions = n_actions
        self._rngs: dict[int, np.random.Generator] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self._rngs[slot] = episode_rng(seed, "random policy")

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        return [int(self._rngs[slot].integers(self.n_actions)) for slot in slots]


class StatePolicy(RandomPolicy):
    """Presses what a function of the state says, for example a scripted expert; where it returns None, any button.

    Args:
        function: info of one environment -> action, or None to abstain.
        n_actions: number of buttons.

    Attributes:
        abstentions: how often the function returned None.
    """

    def __init__(self, function: Callable[[Mapping[str, Any]], int | None], n_actions: int):
        super().__init__(n_actions)
        self.function = function
        self.abstentions = 0

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        actions = []
        for slot, screen, info in zip(slots, screens, infos, strict=True):
            action = self.function(info)
            if action is None:
                self.abstentions += 1
                action = super().act([slot], [screen], [info])[0]
            actions.append(int(action))
        return actions


class NetworkPolicy(Policy):
    """Presses what a network says, with one forward pass for all slots.

    Args:
        network: (n, C * frame_stack, h, w) uint8 -> (n, actions) logits, of pictures that its `preprocess` makes (those of
            `ImpalaCNN` where it has none). Its mode (training or not) is left as it was.
        device: where it is.
        deterministic: the likeliest button, or else a draw from the softmax with a generator that each episode seeds.
        frame_stack: pictures per input, oldest first; at the start of an episode the first is repeated.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        device: torch.device | str = "cpu",
        *,
        deterministic: bool = True,
        frame_stack: int = 1,
    ):
        self.network, self.device = network, torch.device(device)
        self.preprocess = getattr(network, "preprocess", preprocess_uint8)
        self.deterministic, self.frame_stack = deterministic, frame_stack
        self._frames: dict[int, deque[np.ndarray]] = {}
        self._rngs: dict[int, np.random.Generator] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self._frames[slot] = deque(maxlen=self.frame_stack)
        self._rngs[slot] = episode_rng(seed, "sampled actions")

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        for slot, screen in zip(slots, screens, strict=True):
            frames, picture = self._frames[slot], self.preprocess(screen)
            frames.extend([picture] * (1 if frames else self.frame_stack))
        batch = torch.from_numpy(np.stack([np.concatenate(self._frames[slot]) for slot in slots])).to(self.device)
        training = self.network.training
        self.network.eval()
        with torch.inference_mode():
            logits = finite(self.network(batch).float().cpu())
        self.network.train(training)
        if self.deterministic:
            return logits.argmax(dim=-1).tolist()
        probabilities = torch.softmax(logits.double(), dim=-1).numpy()
        return [draw(p, self._rngs[slot]) for slot, p in zip(slots, probabilities, strict=True)]


def finite(logits: torch.Tensor) -> torch.Tensor:
    """What a network says, if it can be compared. The likeliest of several that are no numbers would be the first, without a word.

    Raises CheckpointError: weights that are finite, and too large to compute with, are a file's.
    """
    if not torch.isfinite(logits).all():
        raise CheckpointError("a network's outputs are no finite numbers, for its weights are too large; use another checkpoint")
    return logits


def draw(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    """One of n actions, with these (n,) float64 probabilities, whose sum may be off by rounding."""
    return int(rng.choice(len(probabilities), p=probabilities / probabilities.sum()))


class RecurrentPolicy(Policy):
    """Presses the likeliest button of a network that remembers the episode.

    Args:
        network: `common.recurrent.RecurrentNetwork`. Its mode (training or not) is left as it was.
        device: where it is.
    """

    def __init__(self, network: torch.nn.Module, device: torch.device | str = "cpu"):
        self.network, self.device = network, torch.device(device)
        self._memories: dict[int, torch.Tensor | None] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self._memories[slot] = None

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        blank = self.network.blank(1)
        memory = torch.cat([blank if self._memories[slot] is None else self._memories[slot] for slot in slots], dim=1)
        pictures = torch.from_numpy(np.stack([self.network.preprocess(screen) for screen in screens])).to(self.device)
        training = self.network.training
        self.network.eval()
        with torch.inference_mode():
            logits, memory = self.network(pictures[:, None], memory)
        finite(logits)
        self.network.train(training)
        self._memories.update(zip(slots, memory.split(1, dim=1), strict=True))
        return logits[:, 0].argmax(dim=-1).tolist()


@dataclass
class EpisodeRecorder:
    """Films the first episodes of an evaluation, one frame per step, to `{folder}/{prefix}_ep1_success_steps45.mp4`.

    Where a film can't be written, that is said, and the evaluation goes on without.
    """

    folder: Path
    prefix: str
    episodes: int = 1
    """How many are filmed."""
    buttons: Sequence[str] = ()
    """Names of the actions; with them, the button that is pressed is written beneath each screen."""
    fps: float = 8
    with_outcome: bool = True
    """False names an episode's film `{prefix}.mp4` (there is one then), whatever comes of it."""
    paths: list[Path] = field(default_factory=list)
    """What was written."""
    _writers: dict[int, VideoWriter] = field(default_factory=dict)

    def frame(self, episode: int, screen: np.ndarray, action: int | None) -> None:
        """The screen on which `action` was chosen; None for the last screen of an episode."""
        if episode >= self.episodes:
            return
        try:
            if episode not in self._writers:
                self._writers[episode] = VideoWriter(self.folder / f"{self.prefix}_ep{episode + 1}.mp4", fps=self.fps)
            self._writers[episode].add(screen, self.caption(action))
        except OSError as error:
            self._give_up(error)

    def caption(self, action: int | None) -> str | None:
        """What stands beneath a screen; None for no bar at all."""
        if not self.buttons:
            return None
        return self.buttons[action] if action is not None else " "

    def finish(self, episode: int, result: EpisodeResult) -> None:
        """The episode is over."""
        if episode in self._writers:
            outcome = "success" if result.success else "failure"
            name = f"{self.prefix}_ep{episode + 1}_{outcome}_steps{result.length}" if self.with_outcome else self.prefix
            try:
                self.paths.append(self._writers[episode].close(f"{name}.mp4"))
                del self._writers[episode]
            except OSError as error:
                self._give_up(error)

    def discard(self) -> None:
        """Throw away what is unfinished."""
        for writer in self._writers.values():
            writer.discard()
        self._writers.clear()

    def _give_up(self, error: OSError) -> None:
        print(f"{self.folder}: no film of {self.prefix} ({error.strerror or error})", file=sys.stderr)
        self.discard()
        self.episodes = 0


def seeded_episodes(
    n_episodes: int, seed: int | None = None, start_states: Sequence[str | os.PathLike | None] = (None,)
) -> list[EpisodeSpec]:
    """Episodes with the seeds `seed`, `seed`+1, ... (or none), going round the start states in order."""
    return [EpisodeSpec(None if seed is None else seed + i, start_states[i % len(start_states)]) for i in range(n_episodes)]


def evaluate(
    env: gym.Env | gym.vector.VectorEnv,
    policy: Policy,
    episodes: Sequence[EpisodeSpec],
    max_steps: int,
    *,
    recorder: EpisodeRecorder | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    should_stop: Callable[[], bool] = lambda: False,
    optimal_steps: Callable[[Mapping[str, Any]], int | None] = lambda info: None,
) -> Evaluation:
    """Play `episodes` with `policy`; as many at once as `env` has environments.

    An episode's result depends on its seed and start state, not on how many are played at once or which was before it
    (but for the rounding of a network's batches of different sizes).

    Args:
        env: one environment, or a vector of them made by `pokemon_env.vector_env.make_vector_env`.
        policy: chooses the buttons.
        episodes: what to play, in this order, each as soon as an environment is free.
        max_steps: an episode that has not ended by then is cut off, and counts as failed.
        recorder: films some of them.
        on_step: told of every step, in an order that does not depend on the machine.
        should_stop: asked at every step; when it says so, EvaluationStopped is raised.
        optimal_steps: the least number of steps from an episode's start, from the info of its reset; for the SPL.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}, wanted at least 1")
    environments = _Vector(env) if isinstance(env, gym.vector.VectorEnv) else _Single(env)
    results: list[EpisodeResult | None] = [None] * len(episodes)
    waiting = deque(range(len(episodes)))
    playing: dict[int, _Playing] = {}
    began = time.perf_counter()
    try:
        while waiting or playing:
            if should_stop():
                raise EvaluationStopped
            free = [slot for slot in range(environments.count) if slot not in playing][: len(waiting)]
            if free:
                started = {slot: waiting.popleft() for slot in free}
                for slot, (screen, info) in environments.reset({slot: episodes[i] for slot, i in started.items()}).items():
                    playing[slot] = _Playing(started[slot], screen, info, optimal_steps(info))
                    policy.start_episode(slot, episodes[started[slot]].seed)

            slots = sorted(playing)
            chosen = policy.act(slots, [playing[s].screen for s in slots], [playing[s].info for s in slots])
            actions = dict(zip(slots, map(int, chosen), strict=True))
            if recorder is not None:
                for slot in slots:
                    recorder.frame(playing[slot].episode, playing[slot].screen, actions[slot])

            for slot, (screen, reward, terminated, truncated, info) in environments.step(actions).items():
                state = playing[slot]
                limit = min(max_steps, episodes[state.episode].max_steps or max_steps)
                over = bool(terminated or truncated or state.length + 1 >= limit)
                reached, button = bool(terminated), actions[slot]
                on_step(Step(slot, state.episode, state.length, state.screen, button, float(reward), screen, reached, over, info))
                state.screen, state.info = screen, info
                state.length += 1
                state.episode_return += float(reward)
                if not over:
                    continue
                spec = episodes[state.episode]
                results[state.episode] = EpisodeResult(
                    seed=spec.seed,
                    start_state=None if spec.start_state is None else os.fspath(spec.start_state),
                    episode_return=state.episode_return,
                    length=state.length,
                    success=bool(terminated),
                    milestones=completed_milestones(info),
                    optimal_steps=state.optimal_steps,
                )
                if recorder is not None:
                    recorder.frame(state.episode, screen, None)
                    recorder.finish(state.episode, results[state.episode])
                del playing[slot]
    finally:
        if recorder is not None:
            recorder.discard()
    return Evaluation(results, time.perf_counter() - began)


@dataclass
class Evaluator:
    """Plays a network's episodes always in the same way: the same environments, start states and limit."""

    envs: gym.Env | gym.vector.VectorEnv
    max_steps: int
    start_states: Sequence[str | os.PathLike | None] = (None,)
    """Gone round in order; None leaves the start to the environment."""
    device: torch.device | str = "cpu"
    frame_stack: int = 1
    deterministic: bool = True
    """Press the likeliest button, or draw one from the network's probabilities."""
    buttons: Sequence[str] = ()
    videos: Path | None = None
    """Folder for films; None for none."""
    has_goal: bool = True
    """Whether an episode can succeed. False, for a game without milestones: films are not named after an outcome."""
    films: list[Path] = field(default_factory=list)
    """Those that were made."""

    def play(
        self,
        network: torch.nn.Module,
        n_episodes: int,
        seed: int,
        film: str | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Evaluation:
        """Play episodes with the seeds `seed`, `seed`+1, ...; with `film` the first becomes `{film}_ep1_*.mp4`, or without a
        goal `{film}.mp4`.

        Raises EvaluationStopped when `should_stop()` says so.
        """
        recorder = None
        if film is not None and self.videos is not None:
            recorder = EpisodeRecorder(self.videos, film, buttons=self.buttons, with_outcome=self.has_goal)
        result = evaluate(
            self.envs,
            NetworkPolicy(network, self.device, deterministic=self.deterministic, frame_stack=self.frame_stack),
            seeded_episodes(n_episodes, seed, self.start_states),
            self.max_steps,
            recorder=recorder,
            should_stop=should_stop,
        )
        if recorder is not None:
            self.films += recorder.paths
        return result

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()


def completed_milestones(info: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids that an environment's info says are completed."""
    return tuple(name for name, entry in info.get("milestones", {}).items() if entry.get("completed"))


@dataclass
class _Playing:
    episode: int
    screen: np.ndarray
    info: Mapping[str, Any]
    optimal_steps: int | None
    length: int = 0
    episode_return: float = 0.0


class _Single:
    """One environment, as a vector of one."""

    count = 1

    def __init__(self, env: gym.Env):
        self.env = env

    def reset(self, specs: Mapping[int, EpisodeSpec]) -> dict[int, tuple[np.ndarray, Mapping[str, Any]]]:
        return {slot: self.env.reset(seed=spec.seed, options=_reset_options(spec)) for slot, spec in specs.items()}

    def step(self, actions: Mapping[int, int]) -> dict[int, tuple]:
        return {slot: self.env.step(action) for slot, action in actions.items()}


class _Vector:
    """Environments in threads, of which any subset can be reset or stepped."""

    def __init__(self, envs: gym.vector.VectorEnv):
        if "mask" not in inspect.signature(envs.step).parameters:
            raise TypeError(
                f"{type(envs).__name__} steps all its environments or none; make the vector with "
                f"pokemon_env.vector_env.make_vector_env, or give one environment"
            )
        self.envs = envs
        self.count = envs.num_envs

    def reset(self, specs: Mapping[int, EpisodeSpec]) -> dict[int, tuple[np.ndarray, Mapping[str, Any]]]:
        options = {
            "reset_mask": self._mask(specs),
            "per_env": [_reset_options(specs[slot]) if slot in specs else None for slot in range(self.count)],
        }
        seeds = [specs[slot].seed if slot in specs else None for slot in range(self.count)]
        screens, infos = self.envs.reset(seed=seeds, options=options)
        return {slot: (screens[slot], infos["per_env"][slot]) for slot in specs}

    def step(self, actions: Mapping[int, int]) -> dict[int, tuple]:
        chosen = np.array([actions.get(slot, 0) for slot in range(self.count)])
        *arrays, infos = self.envs.step(chosen, mask=self._mask(actions))
        return {slot: (*(array[slot] for array in arrays), infos["per_env"][slot]) for slot in actions}

    def _mask(self, slots: Container[int]) -> np.ndarray:
        return np.array([slot in slots for slot in range(self.count)])


def _reset_options(spec: EpisodeSpec) -> dict[str, Any] | None:
    return None if spec.start_state is None else {"load_state": os.fspath(spec.start_state)}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
