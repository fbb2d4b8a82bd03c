"""The replay buffer: what goes in comes out, whatever the options, and what can't go in is refused."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch

from common import buffers
from common.buffers import ReplayBuffer, ReplayBufferSamples, load_expert_data_to_buffer
from common.demonstrations import NO_LABEL, DemonstrationError, Episode, save_episode
from common.utils import preprocess_observation, preprocess_uint8

PICTURES = gym.spaces.Box(0, 255, (3, 6, 5), np.uint8)
BUTTONS = gym.spaces.Discrete(8)


def frame(value, shape=(3, 6, 5)):
    return np.full(shape, value, dtype=np.uint8)


def fill(buffer, lengths, start=0):
    """Add episodes whose pictures are numbered; return the transitions as (picture, next picture, action, done)."""
    expected, value = [], start
    for length in lengths:
        for t in range(length):
            done = t == length - 1
            buffer.add(frame(value), frame(value + 1), value % 8, float(value), done)
            expected.append((value, value + 1, value % 8, done))
            value += 1
        value += 1  # the picture that ended the episode
    return expected


def contents(buffer):
    got = buffer.get(np.arange(len(buffer)))
    return sorted(
        zip(
            got.observations[:, 0, 0, 0].tolist(),
            got.next_observations[:, 0, 0, 0].tolist(),
            got.actions.tolist(),
            got.dones.bool().tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize("optimize", [True, False])
def test_every_transition_comes_back(optimize):
    buffer = ReplayBuffer(20, PICTURES, BUTTONS, optimize_memory_usage=optimize)
    expected = fill(buffer, [4, 1, 7])
    assert contents(buffer) == sorted(expected)
    assert len(buffer) == buffer.size() == 12


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_ring_keeps_the_newest(optimize, size):
    buffer = ReplayBuffer(size, PICTURES, BUTTONS, optimize_memory_usage=optimize)
    expected = fill(buffer, [3, 5, 2, 6])
    assert len(buffer) == size
    assert contents(buffer) == sorted(expected[-size:])


def test_one_copy_when_optimized():
    one, two = (ReplayBuffer(50, PICTURES, BUTTONS, optimize_memory_usage=optimize) for optimize in (True, False))
    assert one.next_observations is None and one.observations.shape == two.next_observations.shape
    fill(one, [10, 10])
    assert len(one._ends) == 2  # besides, only the picture that ended each episode


def test_interleaved_environments_are_exact_too():
    buffer = ReplayBuffer(20, PICTURES, BUTTONS)
    expected = []
    for t in range(5):
        for start in (0, 100):
            buffer.add(frame(start + t), frame(start + t + 1), t, 0.0, False)
            expected.append((start + t, start + t + 1, t, False))
    assert contents(buffer) == sorted(expected)


def test_sample_is_typed_seeded_and_resumable():
    a, b = (ReplayBuffer(30, PICTURES, BUTTONS, seed=3) for _ in range(2))
    fill(a, [9, 9])
    fill(b, [9, 9])
    batch = a.sample(16)
    assert isinstance(batch, ReplayBufferSamples)
    assert batch._fields == ("observations", "actions", "next_observations", "dones", "rewards")
    assert batch.observations.shape == (16, 3, 6, 5) and batch.observations.dtype == torch.uint8
    assert batch.actions.dtype == torch.int64 and batch.dones.dtype == batch.rewards.dtype == torch.float32
    assert all(torch.equal(x, y) for x, y in zip(batch, b.sample(16), strict=True))
    state = a.state_dict()
    following = a.sample(16)
    b.load_state_dict(state)
    assert all(torch.equal(x, y) for x, y in zip(following, b.sample(16), strict=True))


def test_steps_without_label_are_kept_but_never_sampled():
    buffer = ReplayBuffer(10, PICTURES, BUTTONS, seed=0)
    with pytest.raises(ValueError, match="no step with a label"):
        buffer.sample(1)
    for t in range(6):
        buffer.add(frame(t), frame(t + 1), NO_LABEL if t % 2 else t, 0.0, False)
    assert len(buffer) == 6
    assert set(buffer.sample(200).actions.tolist()) == {0, 2, 4}
    for t in range(6, 17):  # the ring forgets them
        buffer.add(frame(t), frame(t + 1), 1, 0.0, False)
    assert buffer._unlabelled == 0 and set(buffer.sample(50).actions.tolist()) == {1}


def test_float_picture_is_scaled_not_cut_to_zero():
    buffer = ReplayBuffer(4, PICTURES, BUTTONS)
    picture = np.random.default_rng(0).integers(0, 256, (3, 6, 5)).astype(np.uint8)
    buffer.add(picture.astype(np.float32) / 255, picture / 255, 0, 0.0, True)
    batch = buffer.sample(1)
    assert np.array_equal(batch.observations[0].numpy(), picture)
    assert np.array_equal(batch.next_observations[0].numpy(), picture)


def test_float_space_of_pictures_is_stored_as_uint8():
    buffer = ReplayBuffer(4, gym.spaces.Box(0, 1, (3, 6, 5), np.float32), BUTTONS)
    assert buffer.observations.dtype == torch.uint8
    numbers = ReplayBuffer(4, gym.spaces.Box(-1, 1, (7,), np.float32), BUTTONS)
    numbers.add(np.full(7, 0.25), np.full(7, 0.5), 0, 0.0, False)
    assert numbers.sample(1).observations.dtype == torch.float32
    assert numbers.sample(1).next_observations[0, 0] == 0.5


@pytest.mark.parametrize(
    ("obs", "action", "message"),
    [
        (np.zeros((6, 5, 3), np.uint8), 0, r"shape \(6, 5, 3\).*\(3, 6, 5\)"),
        (np.full((3, 6, 5), 200.0), 0, "from 200 to 200"),
        (np.full((3, 6, 5), -0.5), 0, "from -0.5"),
        (np.full((3, 6, 5), np.nan), 0, "nan"),
        (np.zeros((3, 6, 5), np.int64), 0, "int64"),
        (frame(0), 8, "action 8"),
        (frame(0), -2, "action -2"),
    ],
)
def test_what_does_not_fit_is_refused(obs, action, message):
    buffer = ReplayBuffer(4, PICTURES, BUTTONS)
    with pytest.raises(ValueError, match=message):
        buffer.add(obs, frame(0), action, 0.0, False)
    assert len(buffer) == 0


def test_too_large_is_refused_before_allocating(monkeypatch):
    def no_allocation(*args, **kwargs):
        raise AssertionError("allocated")

    monkeypatch.setattr(ReplayBuffer, "_zeros", no_allocation)
    space = gym.spaces.Box(0, 255, (3, 84, 84), np.uint8)
    with pytest.raises(MemoryError, match="takes 423360.0 GB"):
        ReplayBuffer(10_000_000_000, space, BUTTONS, optimize_memory_usage=False)
    monkeypatch.setattr(buffers, "available_memory", lambda device: 30_000_000_000)
    with pytest.raises(MemoryError, match="42.3 GB.*30.0 GB.*optimize_memory_usage=True halves it"):
        ReplayBuffer(1_000_000, space, BUTTONS, optimize_memory_usage=False)
    with pytest.raises(AssertionError, match="allocated"):  # 21 GB would fit
        ReplayBuffer(1_000_000, space, BUTTONS)


def test_available_memory_is_plausible():
    available = buffers.available_memory()
    assert available is None or 10**6 < available < 10**14


def test_frame_stack():
    buffer = ReplayBuffer(8, PICTURES, BUTTONS, frame_stack=3)
    fill(buffer, [3, 4])  # pictures 0 1 2 (3), 4 5 6 7 (8)
    batch = buffer.get(np.arange(7))
    assert batch.observations.shape == (7, 9, 6, 5)
    assert batch.observations[:, ::3, 0, 0].tolist() == [
        [0, 0, 0], [0, 0, 1], [0, 1, 2], [4, 4, 4], [4, 4, 5], [4, 5, 6], [5, 6, 7],
    ]  # fmt: skip
    assert batch.next_observations[:, ::3, 0, 0].tolist() == [
        [0, 0, 1], [0, 1, 2], [1, 2, 3], [4, 4, 5], [4, 5, 6], [5, 6, 7], [6, 7, 8],
    ]  # fmt: skip


def test_action_changed():
    buffer = ReplayBuffer(10, PICTURES, BUTTONS)
    for episode in ([1, 1, 2], [2, 2, 3, 3]):
        buffer.start_episode()
        for t, action in enumerate(episode):
            buffer.add(frame(t), frame(t + 1), action, 0.0, False)
    assert buffer.action_changed().tolist() == [False, False, True, False, False, True, False]


def episode(length, seed=0, size=(144, 160)):
    rng = np.random.default_rng(seed)
    screens = rng.integers(0, 256, (length + 1, *size, 3), dtype=np.uint8)
    return Episode(screens, rng.integers(0, 8, length), np.ones(length), np.arange(length) == length - 1)


def test_load_expert_data(tmp_path):
    episodes = [episode(length, seed=length) for length in (3, 5, 4)]
    for one in episodes:
        save_episode(tmp_path, one)
    space = gym.spaces.Box(0, 255, (3, 84, 84), np.uint8)
    buffer = ReplayBuffer(20, space, BUTTONS)
    assert load_expert_data_to_buffer(str(tmp_path), buffer, preprocess_fn=preprocess_observation) == 12
    batch = buffer.get(np.arange(12))
    assert batch.actions.tolist() == np.concatenate([one.actions for one in episodes]).tolist()
    assert np.array_equal(batch.observations[3].numpy(), preprocess_uint8(episodes[1].observations[0]))
    assert np.array_equal(batch.next_observations[11].numpy(), preprocess_uint8(episodes[2].observations[4]))

    again = ReplayBuffer(20, space, BUTTONS)
    assert load_expert_data_to_buffer(tmp_path, again, max_episodes=2, preprocess_fn=preprocess_uint8) == 8
    assert torch.equal(again.get(np.arange(8)).observations, batch.observations[:8])

    raw = ReplayBuffer(20, gym.spaces.Box(0, 255, (144, 160, 3), np.uint8), BUTTONS)
    assert load_expert_data_to_buffer(tmp_path, raw, 1) == 3

    raw = ReplayBuffer(20, gym.spaces.Box(0, 255, (144, 160, 3), np.uint8), BUTTONS)
    kept = dict(zip(sorted(tmp_path.iterdir()), ([0, 2], [], [1]), strict=True))
    assert load_expert_data_to_buffer(tmp_path, raw, kept={path: np.array(steps, int) for path, steps in kept.items()}) == 12
    assert raw.labelled_slots().tolist() == [0, 2, 9] and raw.actions[9] == episodes[2].actions[1]

    with pytest.raises(ValueError, match=r"episode_0001.npz: .*\(144, 160, 3\).*\(3, 84, 84\)"):
        load_expert_data_to_buffer(tmp_path, ReplayBuffer(20, space, BUTTONS))
    with pytest.warns(UserWarning, match="12 transitions .* buffer of 10"):
        load_expert_data_to_buffer(tmp_path, ReplayBuffer(10, space, BUTTONS), preprocess_fn=preprocess_uint8)


def test_label_sets(tmp_path):
    one = episode(4)
    one.actions = np.array([1, NO_LABEL, 3, 0])
    one.optimal = np.array([0b1010, 0, 0, 1])
    save_episode(tmp_path, one)
    space = gym.spaces.Box(0, 255, (144, 160, 3), np.uint8)
    for size in (4, 3):  # of three slots the oldest is overwritten
        buffer = ReplayBuffer(size, space, BUTTONS)
        with warnings.catch_warnings(action="ignore"):
            load_expert_data_to_buffer(tmp_path, buffer)
        right = [torch.nonzero(row)[:, 0].tolist() for row in buffer.get_optimal(np.arange(size))]
        assert right == ([[1, 3], [], [3], [0]] if size == 4 else [[0], [], [3]])


def test_load_expert_data_without_files(tmp_path):
    buffer = ReplayBuffer(4, PICTURES, BUTTONS)
    with pytest.raises(DemonstrationError, match="no episode_"):
        load_expert_data_to_buffer(tmp_path, buffer)
    with pytest.raises(DemonstrationError, match="no such folder"):
        load_expert_data_to_buffer(tmp_path / "nowhere", buffer)
