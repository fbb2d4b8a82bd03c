"""Several environments at once: an episode is the same wherever it runs."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import pokemon_env  # noqa: F401  (registers the environments)
from pokemon_env.errors import MilestoneAlreadyCompleted
from pokemon_env.games.tallgrass import game as tallgrass
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.vector_env import ThreadVectorEnv, make_vector_env

START = 2


@pytest.fixture
def vector(rom_path):
    vector = make_vector_env(3, num_threads=2, rom_path=rom_path)
    yield vector
    vector.close()


def mask(*indices, n=3):
    return np.isin(np.arange(n), indices)


def test_each_environment_plays_its_own_episode(vector, rom_path, bedroom_state):
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 8, (30, 3))
    per_env = [None, {"load_state": bedroom_state}, {"load_state": bedroom_state, "idle_frames": 5}]
    observations, infos = vector.reset(seed=[5, 6, 7], options={"per_env": per_env})
    assert observations.shape == (3, 144, 160, 3) and observations.dtype == np.uint8
    together = [(observations, None, None, None, infos["per_env"])]
    for row in actions:
        *arrays, infos = vector.step(row)
        together.append((*arrays, infos["per_env"]))
    with PokemonEnv(rom_path) as env:
        for i in range(3):
            alone = [env.reset(seed=5 + i, options=per_env[i])]
            alone += [env.step(int(action)) for action in actions[:, i]]
            for step, result in zip(together, alone, strict=True):
                assert np.array_equal(step[0][i], result[0])
                assert step[-1][i] == result[-1]
                if len(result) == 5:
                    assert tuple(array[i] for array in step[1:4]) == result[1:4]


def test_results_are_new_arrays(vector):
    first, _ = vector.reset(seed=0)
    kept = first.copy()
    second, *_ = vector.step(np.full(3, START))
    assert np.array_equal(first, kept) and not np.array_equal(second, kept)


def test_an_integer_seeds_each_differently(vector):
    def generators():  # the game's random numbers, which a snapshot leaves out
        return [env._running().read(tallgrass.BLOCK + 0x20, 4) for env in vector.envs]

    by_integer, _ = vector.reset(seed=5)
    states = generators()
    vector.reset(seed=[5, 6, 7])
    assert generators() == states and len(set(states)) == 3
    vector.reset(seed=[5, None, None])
    assert generators()[0] == states[0] and generators()[1] != states[1]


def test_some_are_reset_and_some_are_stepped(vector):
    vector.set_attr("max_episode_steps", [1, 2, 3])
    vector.reset(seed=0)
    *_, truncations, infos = vector.step(np.full(3, START))
    assert truncations.tolist() == [True, False, False] and all(infos["per_env"])
    with pytest.raises(ValueError, match=r"environments \[0\] are not in an episode"):
        vector.step(np.full(3, START))

    before = vector.call("snapshot")
    _, infos = vector.reset(seed=9, options={"reset_mask": mask(0)})
    assert infos["per_env"][0]["prev_action"] == "no_op" and infos["per_env"][1:] == [None, None]
    assert vector.call("snapshot")[1:] == before[1:] and vector.call("snapshot")[0] != before[0]

    before = vector.call("snapshot")
    observations, rewards, terminations, truncations, infos = vector.step(np.full(3, START), mask(0, 1))
    assert rewards.tolist() == [1, 0, 0] and truncations.tolist() == [True, True, False]
    assert infos["per_env"][2] is None and vector.call("snapshot")[2] == before[2]


def test_errors_reach_the_caller_and_the_rest_goes_on(vector, bedroom_state):
    vector.set_attr("target_milestone", "GAME_RUNNING")
    with pytest.raises(MilestoneAlreadyCompleted):
        vector.reset(options={"per_env": [None, {"load_state": bedroom_state}, None]})
    with pytest.raises(ValueError, match="not in an episode"):
        vector.step(np.full(3, START))
    vector.reset(seed=0)
    assert vector.step(np.full(3, START))[1].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda vector: vector.reset(seed=[1, 2]), "seed has 2 items, but there are 3 environments"),
        (lambda vector: vector.reset(options={"per_env": [None]}), "per_env'. has 1 items"),
        (lambda vector: vector.reset(options={"reset_mask": [1, 0, 0]}), "reset_mask'. must be an array of 3 bools"),
        (lambda vector: vector.step([0, 0]), "2 actions, but 3 environments"),
        (lambda vector: vector.step([0, 0, 0], mask=mask(0, n=4)), "mask must be an array of 3 bools"),
        (lambda vector: make_vector_env(0), "at least one environment"),
        (lambda vector: make_vector_env(2, num_threads=0), "num_threads is 0"),
        (lambda vector: make_vector_env(2, render_mode="human"), "no windows"),
        (lambda vector: make_vector_env(2, headless=False), "no windows"),
    ],
)
def test_wrong_calls_are_errors(vector, call, message):
    vector.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        call(vector)


def test_gymnasium_makes_it(rom_path):
    vector = gymnasium.make_vec("Tallgrass-v0", num_envs=2, rom_path=rom_path, state_in_info=False)
    assert isinstance(vector, ThreadVectorEnv) and vector.num_envs == 2
    assert vector.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.DISABLED
    assert vector.observation_space.shape == (2, 144, 160, 3) and vector.single_action_space.n == 8
    observations, infos = vector.reset(seed=0)
    assert vector.observation_space.contains(observations)
    assert list(infos["per_env"][0]) == ["milestones", "prev_action"]
    vector.close()
    vector.close()


def test_one_thread_gives_the_same(rom_path, vector):
    single = make_vector_env(3, num_threads=1, rom_path=rom_path)
    for _ in range(2):
        assert np.array_equal(single.reset(seed=1)[0], vector.reset(seed=1)[0])
        for action in (START, 0, 5, 0):
            results = [env.step(np.full(3, action)) for env in (single, vector)]
            assert all(np.array_equal(one, other) for one, other in zip(results[0][:4], results[1][:4], strict=True))
            assert results[0][4] == results[1][4]
    single.close()
