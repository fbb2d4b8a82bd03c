"""Batches for training: the right pictures with the right labels, from memory or file, weighted as asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agent.labelling import Label
from common.preprocessing import preprocess_uint8
from dagger.data import DaggerData, Row
from dagger.training_set import TrainingSet
from pokemon_env.gym_env import PokemonEnv

BUTTONS = ["A", "B", "START", "SELECT", "UP", "DOWN", "LEFT", "RIGHT"]


def plain(picture):
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def screen(value):
    return np.full((6, 5, 3), value, np.uint8)


def make(path, episodes, iteration=0, mode="create"):
    """A data set of episodes, each a list of (value of the picture, label or None); label -1 is an abstention."""
    data = DaggerData(path, mode, milestone="CLOCK_SET", buttons=BUTTONS)
    extend(data, episodes, iteration)
    return data


def extend(data, episodes, iteration):
    for episode in episodes:
        number = data.next_episode
        for t, (value, label) in enumerate(episode):
            answer = None if label is None else Label(None, "e", "none") if label < 0 else Label(label, "e")
            data.append([Row(screen(value), 0, iteration, number, t, label=answer)])
    data.commit(iteration)


def frequencies(training, n=40_000):
    """id -> share of what is sampled."""
    ids, counts = np.unique(training.sample_ids(n), return_counts=True)
    return dict(zip(ids.tolist(), counts / n, strict=True))


def test_batches_of_screens(tmp_path):
    rng = np.random.default_rng(0)
    with DaggerData(tmp_path / "d.sqlite", "create", milestone=None, buttons=BUTTONS) as data:
        with PokemonEnv(tier="T1", worlds="1-9", start_milestone="STARTER_CHOSEN", state_in_info=False) as env:
            picture, _ = env.reset(seed=3)
            screens, labels = [], []
            for t in range(30):
                label = int(rng.integers(8))
                optimal = (label, (label + 1) % 8) if t % 2 else None
                data.append([Row(picture, 0, 0, 0, t, label=Label(label, "e", optimal=optimal) if t % 3 else None)])
                screens.append(picture)
                labels.append(label)
                picture = env.step(int(rng.integers(8)))[0]
        data.commit(0)
        training = TrainingSet(data, seed=1)
        assert len(training) == 20 and training.valid_ids.tolist() == [t for t in range(30) if t % 3]
        batch = training.sample(64)
        assert batch.observations.shape == (64, 3, 84, 84) and batch.observations.dtype == torch.uint8
        assert batch.actions.shape == batch.ids.shape == (64,) and batch.actions.dtype == batch.ids.dtype == torch.int64
        assert batch.optimal.shape == (64, 8) and batch.optimal.dtype == torch.bool
        for observation, action, optimal, t in zip(*(part.tolist() for part in batch), strict=True):
            assert t % 3 and action == labels[t]
            assert np.array_equal(np.array(observation), preprocess_uint8(screens[t]))
            assert np.flatnonzero(optimal).tolist() == sorted([action, (action + 1) % 8] if t % 2 else [action])


@pytest.mark.parametrize("room", [0, 1, 5, 1000])
def test_the_same_batches_from_memory_and_file(tmp_path, room):
    with make(tmp_path / "d.sqlite", [[(v % 9, v % 8) for v in range(20)], [(50 + v, 1) for v in range(10)]]) as data:
        training = TrainingSet(data, plain, frame_stack=2, max_bytes=room * 90 + 89, seed=4)
        for _ in range(5):
            batch = training.sample(32)
            for observation, t in zip(batch.observations.numpy(), batch.ids.tolist(), strict=True):
                before = t - 1 if t not in (0, 20) else t
                stack = np.concatenate([plain(data.frames([id_])[0]) for id_ in (before, t)])
                assert np.array_equal(observation, stack)
        assert training.observations([]).shape == (0, 6, 6, 5)
        assert training.bytes_in_memory == 90 * min(room, 9 + 10)  # equal pictures once


def test_pictures_are_read_once(tmp_path):
    with make(tmp_path / "d.sqlite", [[(v, 0) for v in range(12)]]) as data:
        read = []
        training = TrainingSet(data, lambda picture: read.append(int(picture[0, 0, 0])) or plain(picture))
        for _ in range(30):
            training.sample(16)
        assert sorted(read) == list(range(12))


def test_only_labelled_rows_are_sampled(tmp_path):
    with make(tmp_path / "d.sqlite", [[(1, None), (2, -1)]]) as data:
        for sampling in ("uniform", "deduplicated", "sqrt", "balanced"):
            training = TrainingSet(data, plain, sampling=sampling, button_balance=0.5)
            assert len(training) == 0
            with pytest.raises(ValueError, match="no row has a label"):
                training.sample(1)
        extend(data, [[(3, None), (4, 5), (5, -1), (6, 7)]], 1)
        for sampling in ("uniform", "deduplicated", "sqrt", "balanced"):
            training = TrainingSet(data, plain, sampling=sampling)
            batch = training.sample(200)
            assert set(batch.ids.tolist()) == {3, 5} and set(batch.actions.tolist()) == {5, 7}
        unlabelled = training.get([0, 1, 3])
        assert unlabelled.actions.tolist() == [-1, -1, 5]
        assert unlabelled.optimal.sum(1).tolist() == [0, 0, 1]


def test_seeded_and_resumable(tmp_path):
    with make(tmp_path / "d.sqlite", [[(v % 9, v % 8) for v in range(40)]]) as data:
        for options in ({}, {"sampling": "deduplicated"}):
            a, b = (TrainingSet(data, plain, seed=3, **options) for _ in range(2))
            assert np.array_equal(a.sample_ids(50), b.sample_ids(50))
            state = a.state_dict()
            following = [a.sample_ids(50) for _ in range(3)]
            torch.save(state, tmp_path / "state.pth")
            other = TrainingSet(data, plain, seed=99, **options)
            other.load_state_dict(torch.load(tmp_path / "state.pth"))  # weights_only
            assert np.array_equal(following, [other.sample_ids(50) for _ in range(3)])


def test_weights(tmp_path):
    stuck = [(1, 0)] * 6 + [(2, 1), (1, 0), (1, 4)]  # a picture seven times with a label, once with another
    with make(tmp_path / "d.sqlite", [stuck, [(1, 0), (3, 1)]]) as data:

        def weights(**options):
            training = TrainingSet(data, plain, **options)
            shares, sampled = training.weights(), frequencies(training)
            assert shares.sum() == pytest.approx(1)
            assert all(abs(sampled[int(i)] - share) < 0.012 for i, share in zip(training.valid_ids, shares, strict=True))
            return shares * 100

        assert weights() == pytest.approx([100 / 11] * 11)
        each = 100 / 4  # (1, 0), (2, 1), (1, 4), (3, 1)
        assert weights(sampling="deduplicated") == pytest.approx([each / 8] * 6 + [each, each / 8, each, each / 8, each])
        part = 100 / (8**0.5 + 3)
        root = 8**-0.5 * part
        assert weights(sampling="sqrt") == pytest.approx([root] * 6 + [part, root, part, root, part])
        each = 100 / 5  # the second episode's (1, 0) counts for itself
        assert weights(sampling="balanced") == pytest.approx([each / 7] * 6 + [each, each / 7, each, each, each])
        both = weights(button_balance=1.0)
        labels = np.array([0] * 6 + [1, 0, 4, 0, 1])
        assert [both[labels == button].sum() for button in (0, 1, 4)] == pytest.approx([100 / 3] * 3)
        some = weights(button_balance=0.5)
        ratio = some[labels == 0].sum() / some[labels == 4].sum()
        assert ratio == pytest.approx(8**0.5)
        equal = weights(sampling="balanced", button_balance=1.0)
        assert [equal[labels == button].sum() for button in (0, 1, 4)] == pytest.approx([100 / 3] * 3)
        assert equal[0] == pytest.approx(equal[9] / 7)


def test_stacks_are_deduplicated_as_the_network_sees_them(tmp_path):
    with make(tmp_path / "d.sqlite", [[(1, 0), (2, 0), (1, 0), (2, 0), (2, 0)]]) as data:
        # pairs: 11 12 21 12 22, so only rows 1 and 3 are alike
        weights = TrainingSet(data, plain, frame_stack=2, sampling="deduplicated").weights()
        assert weights == pytest.approx([0.25, 0.125, 0.25, 0.125, 0.25])


def test_refresh_takes_in_rows_and_late_answers(tmp_path):
    with make(tmp_path / "d.sqlite", [[(1, 0), (2, 1)]]) as data:
        training = TrainingSet(data, plain, seed=0, sampling="deduplicated")
        training.sample(8)
        ids = data.append([Row(screen(9), 0, 1, 5, t) for t in range(2)])
        training.refresh()
        assert len(training) == 2
        assert training.observations([3])[0, 0, 0, 0] == 9  # can be looked at before it is asked about
        data.set_answers(ids[:1], [Label(7, "e")])
        training.refresh()
        assert training.valid_ids.tolist() == [0, 1, 2]
        data.commit(1)
        training.refresh()
        assert set(training.sample(100).actions.tolist()) == {0, 1, 7}


def test_what_was_dropped_is_forgotten(tmp_path):
    with make(tmp_path / "d.sqlite", [[(1, 0), (2, 1)]]) as data:
        training = TrainingSet(data, plain, seed=0)
        extend(data, [[(3, 2)]], 1)
        training.refresh()
        assert training.get([2]).observations[0, 0, 0, 0] == 3
        data.truncate(2)
        extend(data, [[(4, 5)]], 1)
        training.refresh()
        batch = training.get([0, 2])  # the picture took the dropped one's number
        assert batch.observations[:, 0, 0, 0].tolist() == [1, 4] and batch.actions.tolist() == [0, 5]


def test_arguments_are_checked(tmp_path, monkeypatch):
    with make(tmp_path / "d.sqlite", [[(1, 0)]]) as data:
        for options, message in (
            ({"sampling": "random"}, "'random', but can be uniform"),
            ({"button_balance": 2.0}, "button_balance is 2.0"),
            ({"frame_stack": 0}, "frame_stack is 0"),
        ):
            with pytest.raises(ValueError, match=message):
                TrainingSet(data, plain, **options)
        with pytest.raises(ValueError, match="preprocess_fn gave float32"):
            TrainingSet(data, lambda picture: picture.astype(np.float32)).sample(1)
        for available, expected in ((None, 2_000_000_000), (10**12, 2_000_000_000), (1_500_000_000, 500_000_000), (5, 0)):
            monkeypatch.setattr("dagger.training_set.available_memory", lambda value=available: value)
            assert TrainingSet(data, plain).max_bytes == expected


def test_withdrawn_labels_are_never_drawn(tmp_path):
    with DaggerData(tmp_path / "d.sqlite", "create", milestone="CLOCK_SET", buttons=BUTTONS) as data:
        for t in range(40):
            data.append([Row(screen(t), 0, 0, 0, t, label=Label(t % 8, "bad" if t % 2 else "good"))])
        data.commit(0)
        training = TrainingSet(data, plain, sampling="balanced")
        assert len(training) == 40 and training.get([1]).actions.tolist() == [1]
        data.withdraw("bad", "depends on a clock")
        training.refresh()
        assert training.valid_ids.tolist() == list(range(0, 40, 2)) and set(frequencies(training, 500)) <= set(range(0, 40, 2))
        batch = training.get([1, 2])
        assert batch.actions.tolist() == [-1, 2] and batch.optimal.sum(dim=1).tolist() == [0, 1]
