"""The replay buffer that behavioural cloning and DAgger train from."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch

from common.demonstrations import NO_LABEL, Episode, episode_files, load_episode
from common.runtime.memory import available_memory


class ReplayBufferSamples(NamedTuple):
    """A batch of B transitions, as tensors on the buffer's device."""

    observations: torch.Tensor
    """(B, *shape) in the storage's dtype: uint8 for pictures."""
    actions: torch.Tensor
    """(B,) int64."""
    next_observations: torch.Tensor
    """(B, *shape), as `observations`."""
    dones: torch.Tensor
    """(B,) float32, 1 where the episode ended."""
    rewards: torch.Tensor
    """(B,) float32."""


class ReplayBuffer:
    """A ring of transitions, after CleanRL's (and Stable-Baselines3's) buffer.

    Observations are stored as uint8; float observations in [0, 1] are scaled to 0..255 when added. With
    `optimize_memory_usage` an observation is stored once, not as `next_obs` of one step and again as `obs` of the next.
    Unlike in other buffers with that option, `sample` is exact: the last observation of an episode, which no step
    follows, is stored separately. So add steps in the order in which they were played: interleaving several environments
    makes every observation such a last one, and saves nothing.

    Args:
        buffer_size: transitions it can hold; when full, the oldest is overwritten.
        observation_space: a Box. Its shape is what `add` wants.
        action_space: a Discrete.
        device: where sampled tensors go.
        optimize_memory_usage: keep one copy of each observation.
        storage_device: where the observations are stored; default "cpu". With the accelerator's name here, sampling
            copies nothing.
        frame_stack: observations per sample: the step's and those before it in its episode, along the channel axis (the
            first), oldest first. At the start of an episode its first observation is repeated.
        seed: of the sampling. By default it is drawn from numpy's global generator.

    Raises:
        MemoryError: if it would not fit into the memory that is available now. This is checked before anything is
            allocated.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: gym.Space,
        action_space: gym.Space,
        device: str | torch.device = "cpu",
        optimize_memory_usage: bool = True,
        *,
        storage_device: str | torch.device = "cpu",
        frame_stack: int = 1,
        seed: int | None = None,
    ):
        if not isinstance(observation_space, gym.spaces.Box) or not isinstance(action_space, gym.spaces.Discrete):
            raise TypeError(f"wanted a Box of observations and Discrete actions, got {observation_space} and {action_space}")
        if buffer_size < 1 or frame_stack < 1:
            raise ValueError(f"buffer_size and frame_stack must be at least 1, got {buffer_size} and {frame_stack}")
        self.buffer_size = int(buffer_size)
        self.shape = tuple(observation_space.shape)
        self.n_actions = int(action_space.n)
        self.device = torch.device(device)
        self.storage_device = torch.device(storage_device)
        self.optimize_memory_usage = optimize_memory_usage
        self.frame_stack = frame_stack
        self.pictures = observation_space.dtype == np.uint8 or (
            len(self.shape) == 3 and bool((observation_space.low >= 0).all() and (observation_space.high <= 1).all())
        )
        self.dtype = np.dtype(np.uint8) if self.pictures else np.dtype(observation_space.dtype)
        if frame_stack > 1 and len(self.shape) != 3:
            raise ValueError(f"frames of shape {self.shape} cannot be stacked, wanted (channels, height, width)")

        copies = 1 if optimize_memory_usage else 2
        self._refuse_if_too_large(copies * self.buffer_size * int(np.prod(self.shape)) * self.dtype.itemsize)
        self.observations = self._zeros()
        self.next_observations = None if optimize_memory_usage else self._zeros()
        # The next observations that aren't the following slot's: slot -> observation, and a flag per slot for fast look-up.
        self._ends: dict[int, torch.Tensor] = {}
        self._is_end = np.zeros(self.buffer_size, dtype=bool)
        self.actions = np.zeros(self.buffer_size, dtype=np.int64)
        self.optimal = np.zeros((self.buffer_size, self.n_actions), dtype=bool)
        """(buffer_size, n): the buttons that are right at each slot; where no set is known, the label alone."""
        self.rewards = np.zeros(self.buffer_size, dtype=np.float32)
        self.dones = np.zeros(self.buffer_size, dtype=np.float32)
        self.episode_step = np.zeros(self.buffer_size, dtype=np.int64)
        """(buffer_size,): how many steps before each slot belong to its episode."""
        self.pos = 0
        self.full = False
        self._episode_ended = True
        self._last_next: np.ndarray | None = None
        self._unlabelled = 0
        self._labelled_slots: np.ndarray | None = None
        self.rng = np.random.default_rng(np.random.randint(2**31) if seed is None else seed)

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: int,
        reward: float,
        done: bool,
        infos: Any = None,
        *,
        optimal: int = 0,
    ) -> None:
        """Store one transition.

        Args:
            obs, next_obs: observations in the space's shape, uint8 or float in [0, 1].
            action: 0..n-1, or -1 if there is no label: such a step is kept (its observation may belong to a stack) but
                never sampled.
            reward: of the step.
            done: whether the episode ended with it.
            infos: ignored; other buffers take it.
            optimal: the label set; bit i is set if action i is as good as the label. 0: not known.

        Raises:
            ValueError: for a wrong shape, a float observation outside [0, 1], or an unknown action.
        """
        obs, next_obs = self._stored_form(obs), self._stored_form(next_obs)
        if not NO_LABEL <= int(action) < self.n_actions:
            raise ValueError(f"action {action} is not one of 0..{self.n_actions - 1} (or -1, no label)")

        slot, before = self.pos, self.pos - 1  # slot -1 is the last one, as it should be in a ring
        follows = not self._episode_ended and self._last_next is not None and np.array_equal(self._last_next, obs)
        if self.full and self.actions[slot] == NO_LABEL:
            self._unlabelled -= 1
        self._unlabelled += int(action) == NO_LABEL
        self._labelled_slots = None

        self.observations[slot] = torch.from_numpy(obs)
        if self.next_observations is not None:
            self.next_observations[slot] = torch.from_numpy(next_obs)
        else:
            if follows:
                self._ends.pop(before % self.buffer_size, None)
                self._is_end[before] = False
            self._ends[slot] = torch.from_numpy(next_obs.copy()).to(self.storage_device)
            self._is_end[slot] = True
        self.actions[slot] = action
        self.optimal[slot] = [number == action or int(optimal) >> number & 1 for number in range(self.n_actions)]
        self.rewards[slot] = reward
        self.dones[slot] = done
        self.episode_step[slot] = self.episode_step[before] + 1 if follows else 0

        self._last_next = next_obs.copy()
        self._episode_ended = bool(done)
        self.pos = (slot + 1) % self.buffer_size
        self.full = self.full or self.pos == 0

    def add_episode(self, episode: Episode, preprocess_fn: Callable[[np.ndarray], np.ndarray] | None = None) -> int:
        """Store all steps of a demonstration, each screen preprocessed once. Return their number."""
        pictures: np.ndarray | list[np.ndarray] = episode.observations
        if preprocess_fn is not None:
            pictures = [preprocess_fn(picture) for picture in pictures]
        self.start_episode()
        sets = np.zeros(len(episode), np.int64) if episode.optimal is None else episode.optimal
        for t in range(len(episode)):
            self.add(pictures[t], pictures[t + 1], episode.actions[t], episode.rewards[t], episode.dones[t], optimal=int(sets[t]))
        return len(episode)

    def start_episode(self) -> None:
        """Make the next `add` begin an episode, although the last episode was cut short and never ended with `done`."""
        self._episode_ended = True

    def sample(self, batch_size: int) -> ReplayBufferSamples:
        """Draw a batch, uniformly and with replacement, from the labelled steps. Raises ValueError if there are none."""
        return self.get(self.sample_indices(batch_size))

    def sample_indices(self, batch_size: int) -> np.ndarray:
        """Draw the slots, (batch_size,) int64, that `sample` would return, for callers that keep things by slot."""
        if self._unlabelled == self.size():
            raise ValueError("the buffer holds no step with a label, so nothing can be sampled; add() some first")
        if self._unlabelled == 0:
            return self.rng.integers(self.size(), size=batch_size)
        if self._labelled_slots is None:
            self._labelled_slots = self.labelled_slots()
        return self._labelled_slots[self.rng.integers(len(self._labelled_slots), size=batch_size)]

    def labelled_slots(self) -> np.ndarray:
        """Return all slots whose step has a label, (n,) int64."""
        return np.flatnonzero(self.actions[: self.size()] != NO_LABEL)

    def get(self, indices: np.ndarray) -> ReplayBufferSamples:
        """Return the transitions in the slots `indices`, (B,) int64."""
        return ReplayBufferSamples(
            observations=self._stacks(indices),
            actions=torch.as_tensor(self.actions[indices], device=self.device),
            next_observations=self._stacks(indices, after=True),
            dones=torch.as_tensor(self.dones[indices], device=self.device),
            rewards=torch.as_tensor(self.rewards[indices], device=self.device),
        )

    def get_labelled(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return only what cloning needs of the slots `indices`: observations (B, *shape) and actions (B,), on the device."""
        return self._stacks(indices), torch.as_tensor(self.actions[indices], device=self.device)

    def get_optimal(self, indices: np.ndarray) -> torch.Tensor:
        """Return the buttons that are right in the slots `indices`, (B, n) bool, on the device; see `optimal`."""
        return torch.as_tensor(self.optimal[indices], device=self.device)

    def action_changed(self) -> np.ndarray:
        """Return for each slot whether its label differs from that of the step before it in its episode, (size,) bool."""
        slots = np.arange(self.size())
        has_previous = (self.episode_step[slots] > 0) & (slots != (self.pos if self.full else 0))
        return has_previous & (self.actions[slots] != self.actions[slots - 1])

    def size(self) -> int:
        """Transitions that it holds now."""
        return self.buffer_size if self.full else self.pos

    def __len__(self) -> int:
        return self.size()

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state, without the observations, in types that `torch.load(weights_only=True)` accepts."""
        return {"rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue sampling where `state_dict` was called."""
        self.rng.bit_generator.state = state["rng"]

    def _stacks(self, indices: np.ndarray, after: bool = False) -> torch.Tensor:
        """Return the slots' observations, or the next ones, (B, *shape); with frame_stack, the channels of the whole stack."""
        if self.frame_stack == 1:
            return (self._next(indices) if after else self._rows(self.observations, indices)).to(self.device)
        oldest = self.pos if self.full else 0
        reach = np.minimum(self.episode_step[indices], (indices - oldest) % self.buffer_size)  # observations not overwritten yet
        frames = []
        for age in reversed(range(self.frame_stack)):
            if after and age == 0:
                frames.append(self._next(indices))
            else:
                back = np.minimum(age - after, reach)
                frames.append(self._rows(self.observations, (indices - back) % self.buffer_size))
        return torch.cat(frames, dim=1).to(self.device)

    def _next(self, indices: np.ndarray) -> torch.Tensor:
        if self.next_observations is not None:
            return self._rows(self.next_observations, indices)
        following = self._rows(self.observations, (indices + 1) % self.buffer_size)
        for row in np.flatnonzero(self._is_end[indices]):
            following[row] = self._ends[int(indices[row])]
        return following

    def _rows(self, storage: torch.Tensor, indices: np.ndarray) -> torch.Tensor:
        return storage[torch.from_numpy(indices).to(self.storage_device)]

    def _zeros(self) -> torch.Tensor:
        if self.storage_device.type == "cpu":  # numpy's zeros take no memory until they are written
            return torch.from_numpy(np.zeros((self.buffer_size, *self.shape), dtype=self.dtype))
        dtype = torch.from_numpy(np.empty(0, dtype=self.dtype)).dtype
        return torch.zeros((self.buffer_size, *self.shape), dtype=dtype, device=self.storage_device)

    def _stored_form(self, obs: np.ndarray) -> np.ndarray:
        obs = np.asarray(obs)
        if obs.shape != self.shape:
            raise ValueError(
                f"an observation has shape {obs.shape}, but the buffer was made for {self.shape}; preprocess "
                f"before adding, or make the buffer for the shape that preprocessing returns"
            )
        if not self.pictures:
            return np.ascontiguousarray(obs, dtype=self.dtype)
        if obs.dtype == np.uint8:
            return np.ascontiguousarray(obs)
        if not np.issubdtype(obs.dtype, np.floating):
            raise ValueError(f"a picture has dtype {obs.dtype}, wanted uint8, or float in [0, 1]")
        low, high = float(obs.min()), float(obs.max())
        if not (0.0 <= low and high <= 1.0):
            raise ValueError(f"a float picture has values from {low:g} to {high:g}, wanted [0, 1] (or uint8 in 0..255)")
        return np.round(obs * 255.0).astype(np.uint8)

    def _refuse_if_too_large(self, needed: int) -> None:
        available = available_memory(self.storage_device)
        if available is not None and needed > available:
            hint = "" if self.optimize_memory_usage else " optimize_memory_usage=True halves it;"
            raise MemoryError(
                f"a buffer of {self.buffer_size:,} observations {self.shape} {self.dtype} takes {needed / 1e9:.1f} GB, "
                f"but only {available / 1e9:.1f} GB are available on {self.storage_device};{hint} hold fewer of them"
            )


def load_expert_data_to_buffer(
    expert_data_dir: str | os.PathLike,
    buffer: ReplayBuffer,
    max_episodes: int | None = None,
    preprocess_fn: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    files: Iterable[str | os.PathLike] | None = None,
    steps_of: Mapping[Path, int] | None = None,
    kept: Mapping[Path, np.ndarray] | None = None,
) -> int:
    """Add the demonstrations of a folder to the buffer, in the order of their numbers.

    Args:
        expert_data_dir: folder with `episode_*.npz` (see `common.demonstrations`).
        buffer: its observation shape must be that of the screens after preprocessing.
        max_episodes: read only this many episodes, the first ones.
        preprocess_fn: (H, W, 3) uint8 -> what the buffer stores, for example `common.utils.preprocess_uint8`.
        files: read these (the first `max_episodes` of them) instead of all files in the folder.
        steps_of: file -> how many of its steps to read, from the first on.
        kept: file -> the steps whose labels are kept, (n,) int64; None keeps all of all files.

    Returns:
        The number of transitions added.

    Raises:
        DemonstrationError: if there are none, or one is broken.
        ValueError: if the observations or actions don't fit the buffer.
    """
    paths = episode_files(expert_data_dir) if files is None else [Path(file) for file in files]
    loaded = 0
    for path in paths[:max_episodes]:
        try:
            episode = load_episode(path)
            if steps_of is not None and path in steps_of:
                episode = episode.first(steps_of[path])
            if kept is not None:
                episode = episode.labelled_at(kept[path])
            loaded += buffer.add_episode(episode, preprocess_fn)
        except ValueError as error:
            raise error if str(path) in str(error) else ValueError(f"{path}: {error}") from error
    if loaded > buffer.buffer_size:
        warnings.warn(
            f"{loaded:,} transitions were read from {expert_data_dir} into a buffer of {buffer.buffer_size:,}: the "
            f"oldest are overwritten; make the buffer larger or set max_episodes",
            stacklevel=2,
        )
    return loaded
