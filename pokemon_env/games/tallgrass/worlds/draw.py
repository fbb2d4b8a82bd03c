"""Random draws for the generator: the same for a number on every machine, with any version of NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_BATCH = 512


class Draw:
    """Integers from the raw stream of a PCG64, which NumPy promises never to change (its `Generator` methods may)."""

    def __init__(self, *entropy: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(entropy))
        self._numbers: list[int] = []

    def below(self, bound: int) -> int:
        """Return an integer from 0 to bound - 1 (bound at most about 2**16: the bias is then below 2**-48)."""
        if not self._numbers:
            self._numbers = self._bits.random_raw(_BATCH).tolist()
        return self._numbers.pop() % bound

    def between(self, low: int, high: int) -> int:
        """Return an integer from low to high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        mixed = list(items)
        for i in range(len(mixed) - 1, 0, -1):
            k = self.below(i + 1)
            mixed[i], mixed[k] = mixed[k], mixed[i]
        return mixed
