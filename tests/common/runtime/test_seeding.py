"""common/runtime/seeding.py: streams are those of their words alone, and blocks of seeds overlap only where that is meant."""

from __future__ import annotations

import itertools
import zlib

import numpy as np

from common.runtime import seeding
from common.runtime.seeding import SeedBlock, derive, derived_seed, episode_rng

BLOCKS = {name: value for name, value in vars(seeding).items() if isinstance(value, SeedBlock)}


def test_no_two_blocks_overlap_unless_it_is_meant():
    assert len(BLOCKS) > 10
    meant = {frozenset((a.purpose, b.purpose)) for a, b in seeding.MEANT_TO_OVERLAP}
    overlapping = set()
    for a, b in itertools.combinations(BLOCKS.values(), 2):
        if a.first < b.first + b.count and b.first < a.first + a.count:
            overlapping.add(frozenset((a.purpose, b.purpose)))
    assert overlapping == meant, "say in MEANT_TO_OVERLAP why that does no harm, or choose other seeds"


def test_streams_are_those_of_the_words():
    # As they were when the words were written out in each place: old runs go on with the same numbers.
    words = [7, zlib.crc32(b"rollout"), 3]
    assert derive(7, "rollout", 3).generate_state(4).tolist() == np.random.SeedSequence(words).generate_state(4).tolist()
    assert derived_seed(7, "rollout", 3) == int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)
    expected = np.random.default_rng([7, zlib.crc32(b"noise")]).integers(1 << 30, size=4)
    assert episode_rng(7, "noise").integers(1 << 30, size=4).tolist() == expected.tolist()
    states = [derive(7, *words).generate_state(1)[0] for words in ((), ("a",), ("b",), ("a", 1), ("a", "b"))]
    assert len(set(states)) == len(states)
