"""Which states are asked about: how many, the novel ones, those where the network disagrees with itself."""

import numpy as np
import pytest
import torch

from common.networks import ImpalaCNN, TileCNN
from dagger.queries import (
    SelectionError,
    choose_highest,
    choose_novel,
    choose_random,
    disagreement,
    features,
    number_to_ask,
)


@pytest.mark.parametrize(
    ("visited", "rate", "left", "count"),
    [
        (100, 1.0, float("inf"), 100),
        (100, 0.2, float("inf"), 20),
        (101, 0.2, float("inf"), 21),  # rounded up: a small rollout is asked about, too
        (3, 0.01, float("inf"), 1),
        (100, 0.2, 7, 7),
        (100, 0.2, 0, 0),
        (100, 0.0, float("inf"), 0),
        (0, 0.5, float("inf"), 0),
        (100, 0.07, float("inf"), 7),  # 0.07 * 100 is a little more than 7 to a computer
        (100, 0.29, float("inf"), 29),
    ],
)
def test_how_many(visited, rate, left, count):
    assert number_to_ask(visited, rate, left) == count


def test_random_choice_is_seeded_and_without_replacement():
    chosen = choose_random(50, 20, np.random.default_rng(1))
    assert len(set(chosen.tolist())) == 20 and (np.diff(chosen) > 0).all() and chosen.max() < 50
    assert (chosen == choose_random(50, 20, np.random.default_rng(1))).all()
    assert (chosen != choose_random(50, 20, np.random.default_rng(2))).any()
    assert choose_random(5, 9, np.random.default_rng(1)).tolist() == [0, 1, 2, 3, 4]
    drawn = np.bincount(np.concatenate([choose_random(10, 3, np.random.default_rng(i)) for i in range(500)]), minlength=10)
    assert drawn.min() > 100  # 150 expected of each


def test_the_highest_scores():
    assert choose_highest(np.array([0.1, 0.9, 0.5, 0.9, 0.0]), 3).tolist() == [1, 2, 3]
    assert choose_highest(np.array([0.5, 0.5, 0.5]), 2).tolist() == [0, 1]  # the earlier of equals
    assert choose_highest(np.array([0.5]), 0).tolist() == []


def units(*angles: float) -> np.ndarray:
    return np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1).astype(np.float32)


def test_novelty_is_far_from_what_is_known_and_from_what_was_chosen():
    visited, known = units(1, 2, 90, 91, 180, 40), units(0, 5)
    assert choose_novel(visited, known, 1).tolist() == [4]
    assert choose_novel(visited, known, 2).tolist() == [3, 4]
    # 90 is farther from the known than 40, but like 91, which has been chosen.
    assert choose_novel(visited, known, 3).tolist() == [3, 4, 5]
    without = choose_novel(visited, np.empty((0, 0), np.float32), 2)
    assert without.tolist() == [0, 4]  # nothing is known: the first, and what is farthest from it
    assert choose_novel(visited, known, 99).tolist() == list(range(6))
    assert choose_novel(visited, known, 0).tolist() == []


def test_novelty_takes_each_of_equal_states_once():
    same = units(30, 30, 30)
    assert choose_novel(same, units(30), 2).tolist() == [0, 1]


def test_many_known_states():  # more than are compared at once
    rng = np.random.default_rng(0)
    visited, known = (rng.normal(size=(n, 8)).astype(np.float32) for n in (40, 700))
    visited /= np.linalg.norm(visited, axis=1, keepdims=True)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    farthest = int((1 - visited @ known.T).min(axis=1).argmax())
    assert choose_novel(visited, known, 1).tolist() == [farthest]


def pictures(n: int, size=(32, 32)) -> torch.Tensor:
    return torch.randint(0, 256, (n, 1, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture
def tiles() -> TileCNN:
    torch.manual_seed(0)
    return TileCNN(4, 16, image_size=(32, 32))


def test_features_are_what_the_logits_are_made_from(tiles):
    shown = pictures(300)
    vectors = features(tiles, lambda ids: shown[ids], np.arange(300))
    assert vectors.shape == (300, 16) and vectors.dtype == np.float32
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.allclose(lengths[lengths > 0], 1, atol=1e-5) and tiles.training
    with torch.no_grad():
        one = tiles.eval().embed(shown[7:8])[0].numpy()
    assert np.allclose(vectors[7], one / np.linalg.norm(one), atol=1e-5)
    assert features(tiles, lambda ids: shown[ids], np.empty(0, np.int64)).shape == (0, 0)
    assert not tiles.training  # as it was


def test_disagreement_needs_dropout():
    with pytest.raises(SelectionError, match="needs a network with dropout: give --network tiles, or another --query-by$"):
        disagreement(ImpalaCNN(4, 16, image_size=16), lambda ids: None, np.arange(1), 0)
    with pytest.raises(SelectionError):
        disagreement(TileCNN(4, 16, image_size=(32, 32), dropout=0), lambda ids: None, np.arange(1), 0)


def test_disagreement_is_repeatable_and_leaves_training_s_draws_alone(tiles):
    shown = pictures(300)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first = disagreement(tiles, lambda ids: shown[ids], np.arange(300), seed=1)
    assert torch.equal(torch.rand(3), wanted) and tiles.training
    assert first.shape == (300,) and (first > -1e-6).all() and first.max() > first.min()
    assert (first == disagreement(tiles, lambda ids: shown[ids], np.arange(300), seed=1)).all()
    assert (first != disagreement(tiles, lambda ids: shown[ids], np.arange(300), seed=2)).any()
    assert disagreement(tiles, lambda ids: shown[ids], np.empty(0, np.int64), seed=1).shape == (0,)


def lights(*places: tuple[int, ...]) -> torch.Tensor:
    """Pictures with a light in some of their four quarters, and noise."""
    shown = pictures(len(places)) // 8
    for picture, lit in zip(shown, places, strict=True):
        for place in lit:
            top, left = 16 * (place // 2), 16 * (place % 2)
            picture[0, top : top + 16, left : left + 16] += 200
    return shown


def test_disagreement_is_where_training_has_not_been(tiles):
    """A network that has learned to press where the light is agrees with itself there, and less where there are two."""
    places = [(i % 4,) for i in range(32)]
    shown, labels = lights(*places), torch.arange(32) % 4
    optimizer = torch.optim.Adam(tiles.parameters(), lr=3e-3)
    for _ in range(100):
        loss = torch.nn.functional.cross_entropy(tiles(shown), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mixed = torch.cat([shown[:8], lights(*[(i % 4, (i + 1) % 4) for i in range(8)])])
    scores = disagreement(tiles, lambda ids: mixed[ids], np.arange(16), seed=1)
    assert scores[:8].mean() < 0.5 * scores[8:].mean()
    assert choose_highest(scores, 1) >= 8
