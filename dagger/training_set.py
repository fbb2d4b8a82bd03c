"""Batches for training from a `DaggerData`, whose pictures need not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch

from common.preprocessing import preprocess_uint8
from common.runtime.memory import available_memory
from dagger.data import DaggerData, Status

Sampling = Literal["uniform", "deduplicated", "sqrt", "balanced"]

DEFAULT_MAX_BYTES = 2_000_000_000
"""For decoded pictures, unless less is available."""

KEPT_FREE = 1_000_000_000
"""Bytes of the available memory that the default leaves to others."""

_CHUNK = 256  # screens that are decoded before they are made smaller


class TrainingBatch(NamedTuple):
    """B rows, as tensors on the set's device."""

    observations: torch.Tensor
    """(B, C, h, w) uint8; with a frame stack its channels, oldest first."""
    actions: torch.Tensor
    """(B,) int64: the label, -1 where there is none (never in a sampled batch)."""
    optimal: torch.Tensor
    """(B, n_actions) bool: all actions that are right; where the expert gave no set, the label alone."""
    ids: torch.Tensor
    """(B,) int64: the rows' ids in the data set."""


class TrainingSet:
    """The labelled rows of a `DaggerData`, to sample from.

    Each picture is decoded and preprocessed when it is first wanted, and kept, once, however many rows show it. Once
    `max_bytes` are full, further pictures are read from the file each time; which those are doesn't depend on what a batch
    will want, so nothing is gained by throwing others out.

    Args:
        data: rows are taken as they are now; call `refresh` when there are more.
        preprocess_fn: (H, W, 3) uint8 -> (C, h, w) uint8.
        frame_stack: pictures per observation: the row's and those before it in its episode, oldest first along the
            channels; where the episode has just begun, its first one is repeated.
        sampling: how rows are weighted. "uniform": all alike. "deduplicated": equal observations with equal labels count
            once together; with "sqrt", as the square root of their number. "balanced": equal observations with equal labels
            within one episode count once together, so that a student stuck for a thousand steps, or going to and fro,
            weighs as much as one that passes by.
        button_balance: 0 leaves the buttons' shares as they are, 1 makes them equal, between is between.
        max_bytes: of pictures in memory. Default: 2 GB, or what is available less 1 GB.
        device: where batches go.
        seed: of the sampling.

    Raises ValueError for arguments that are none.
    """

    def __init__(
        self,
        data: DaggerData,
        preprocess_fn: Callable[[np.ndarray], np.ndarray] = preprocess_uint8,
        *,
        frame_stack: int = 1,
        sampling: Sampling = "uniform",
        button_balance: float = 0.0,
        max_bytes: int | None = None,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ):
        if sampling not in get_args(Sampling):
            raise ValueError(f"sampling is {sampling!r}, but can be {', '.join(get_args(Sampling))}")
        if not 0 <= button_balance <= 1:
            raise ValueError(f"button_balance is {button_balance}, wanted 0 to 1")
        if frame_stack < 1:
            raise ValueError(f"frame_stack is {frame_stack}, wanted at least 1")
        if max_bytes is None:
            available = available_memory()
            max_bytes = DEFAULT_MAX_BYTES if available is None else min(DEFAULT_MAX_BYTES, max(available - KEPT_FREE, 0))
        self.data, self.preprocess_fn, self.frame_stack = data, preprocess_fn, frame_stack
        self.sampling, self.button_balance, self.max_bytes = sampling, button_balance, max_bytes
        self.device = torch.device(device)
        self.n_actions = len(data.buttons)
        self.rng = np.random.default_rng(seed)
        self._columns: dict[str, np.ndarray]
        self._n_final: int
        self._slots: np.ndarray
        self._forget()
        self.refresh()

    def refresh(self) -> None:
        """Take in the rows that were appended or answered since; reads only those, and no picture."""
        if self.data.generation != self._generation:
            self._forget()
        # What was committed can't have changed since; the rest may have been answered.
        new = self.data.columns(self._columns, start=self._n_final)
        self._columns = {name: np.concatenate([self._columns[name][: self._n_final], new[name]]) for name in new}
        self._n_final = self.data.n_committed
        self.valid_ids = np.flatnonzero(self._columns["status"] == Status.VALID)
        """(n,) int64: the rows that can be sampled."""
        more = int(self._columns["frame"].max(initial=-1)) + 1 - len(self._slots)
        self._slots = np.concatenate([self._slots, np.full(max(more, 0), -1, np.int32)])
        self._cumulative = None if self.sampling == "uniform" and not self.button_balance else np.cumsum(self.weights())

    def __len__(self) -> int:
        """Rows that can be sampled."""
        return len(self.valid_ids)

    def sample(self, batch_size: int) -> TrainingBatch:
        """Draw a batch with replacement. Raises ValueError if no row has a label."""
        return self.get(self.sample_ids(batch_size))

    def sample_ids(self, batch_size: int) -> np.ndarray:
        """(batch_size,) int64: the rows that `sample` would return."""
        if not len(self.valid_ids):
            raise ValueError(f"{self.data.path}: no row has a label, so nothing can be sampled; was the expert asked?")
        if self._cumulative is None:
            return self.valid_ids[self.rng.integers(len(self.valid_ids), size=batch_size)]
        drawn = np.searchsorted(self._cumulative, self.rng.random(batch_size) * self._cumulative[-1], side="right")
        return self.valid_ids[np.minimum(drawn, len(self.valid_ids) - 1)]

    def get(self, ids: Sequence[int] | np.ndarray) -> TrainingBatch:
        """The rows `ids`, whether they have a label or not."""
        ids = np.asarray(ids, np.int64)
        labels = self._columns["label"][ids].astype(np.int64)
        masks = self._columns["optimal"][ids]
        masks = np.where((masks == 0) & (labels >= 0), np.left_shift(1, np.maximum(labels, 0)), masks)
        optimal = (masks[:, None] >> np.arange(self.n_actions) & 1).astype(bool)
        return TrainingBatch(
            observations=self.observations(ids),
            actions=torch.from_numpy(labels).to(self.device),
            optimal=torch.from_numpy(optimal).to(self.device),
            ids=torch.from_numpy(ids).to(self.device),
        )

    def observations(self, ids: Sequence[int] | np.ndarray) -> torch.Tensor:
        """(B, C, h, w) uint8: what the network sees at the rows `ids`, labelled or not."""
        stacks = self._stacks(np.asarray(ids, np.int64))
        pictures = self._pictures(stacks.ravel())
        shape = (len(stacks), self.frame_stack * pictures.shape[1], *pictures.shape[2:])
        return torch.from_numpy(pictures.reshape(shape)).to(self.device)

    def weights(self) -> np.ndarray:
        """(n,) float64: the probabilities with which `valid_ids` are drawn."""
        labels = self._columns["label"][self.valid_ids].astype(np.int64)
        weights: np.ndarray = np.ones(len(labels))
        if self.sampling != "uniform":
            group = labels
            for frames in self._stacks(self.valid_ids).T:
                group = _pairs(group, frames)
            if self.sampling == "balanced":
                group = _pairs(group, self._columns["episode"][self.valid_ids])
            weights = np.bincount(group)[group] ** (-0.5 if self.sampling == "sqrt" else -1.0)
        if self.button_balance:
            weights = weights * np.bincount(labels, weights)[labels] ** -self.button_balance
        return weights / weights.sum()

    @property
    def bytes_in_memory(self) -> int:
        """Bytes of the pictures that are kept."""
        return 0 if self._store is None else self._kept * int(np.prod(self._store.shape[1:]))

    def state_dict(self) -> dict[str, Any]:
        """The sampler's state, in types that `torch.load(weights_only=True)` accepts."""
        return {"rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue sampling where `state_dict` was called, on a data set of the same content."""
        self.rng.bit_generator.state = state["rng"]

    def _forget(self) -> None:
        """Begin without rows and pictures."""
        self._generation = self.data.generation
        names = ("previous", "frame", "label", "status", "optimal", "episode")
        self._columns = {name: values[:0] for name, values in self.data.columns(names, start=len(self.data)).items()}
        self._n_final = 0
        self._slots = np.empty(0, np.int32)  # number of a picture -> where it is kept, -1 if it is not
        self._store: np.ndarray | None = None
        self._kept = 0

    def _stacks(self, ids: np.ndarray) -> np.ndarray:
        """(B, frame_stack) int64: the numbers of the pictures that make the rows' observations, oldest first."""
        frames = []
        for _ in range(self.frame_stack):
            frames.append(self._columns["frame"][ids])
            ids = self._columns["previous"][ids]
        return np.stack(frames[::-1], axis=1)

    def _pictures(self, numbers: np.ndarray) -> np.ndarray:
        """(n, C, h, w) uint8: the preprocessed pictures with these numbers."""
        slots = self._slots[numbers]
        missing = np.unique(numbers[slots < 0])
        if self._store is None and not len(missing):  # nothing is wanted, but of which shape?
            missing = self._columns["frame"][:1]
        read = {}
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            for number, picture in zip(chunk.tolist(), map(self._preprocessed, self.data.pictures(chunk)), strict=True):
                read[number] = picture
                self._keep(number, picture)
        assert self._store is not None  # `_keep` has made it
        pictures = np.empty((len(numbers), *self._store.shape[1:]), np.uint8)
        kept = slots >= 0
        pictures[kept] = self._store[slots[kept]]
        for place in np.flatnonzero(~kept):
            pictures[place] = read[int(numbers[place])]
        return pictures

    def _preprocessed(self, screen: np.ndarray) -> np.ndarray:
        picture = self.preprocess_fn(screen)
        if picture.dtype != np.uint8 or picture.ndim != 3:
            raise ValueError(f"preprocess_fn gave {picture.dtype} {picture.shape}, wanted uint8 (channels, height, width)")
        return picture

    def _keep(self, number: int, picture: np.ndarray) -> None:
        """Keep a picture if there is room."""
        if self._store is None:
            # numpy's zeros take no memory until they are written.
            self._store = np.zeros((self.max_bytes // picture.nbytes, *picture.shape), np.uint8)
        if self._kept < len(self._store):
            self._store[self._kept] = picture
            self._slots[number] = self._kept
            self._kept += 1


def _pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) int64: a number for each pair, equal for equal pairs, from 0 without gaps."""
    if not len(first):
        return first
    _, first = np.unique(first, return_inverse=True)
    _, second = np.unique(second, return_inverse=True)
    return np.unique(first * (int(second.max()) + 1) + second, return_inverse=True)[1]
