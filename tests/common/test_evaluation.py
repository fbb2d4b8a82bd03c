"""Evaluation over one or many environments, with a small game that needs no emulator."""

import re
import resource

import gymnasium as gym
import numpy as np
import pytest
import torch

from common.episodes import EpisodeSpec, seeded_episodes
from common.evaluation import Evaluator, evaluate
from common.networks import ImpalaCNN
from common.policies import NetworkPolicy, Policy, RandomPolicy, RecurrentPolicy, StatePolicy
from common.recurrent import RecurrentNetwork
from common.runtime.checkpoints import save_checkpoint
from common.runtime.main import Stopped
from common.utils import evaluate_policy, make_env
from common.video import EpisodeRecorder
from pokemon_env.vector_env import ThreadVectorEnv, make_vector_env


class PicturePolicy(Policy):
    """Presses what a function of a batch of screens says: (n, H, W, 3) uint8 -> (n,) actions."""

    def __init__(self, function):
        self.function = function

    def act(self, slots, screens, infos):
        return self.function(np.stack(screens))


class Corridor(gym.Env):
    """Walk to the lit column with 0 (left) and 1 (right); the wind (seeded) sometimes keeps one where one is."""

    metadata = {"render_modes": []}
    render_mode = None
    width = 12

    def __init__(self, max_episode_steps=None):
        self.observation_space = gym.spaces.Box(0, 255, (24, self.width * 2, 3), np.uint8)
        self.action_space = gym.spaces.Discrete(3)
        self.limit = max_episode_steps
        self.resets = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.resets.append((seed, dict(options or {})))
        self.x, self.goal = (int(n) for n in self.np_random.permutation(self.width)[:2])
        if options and options.get("load_state"):
            self.x, self.goal = 0, 1
        self.steps = 0
        return self._screen(), self._info()

    def step(self, action):
        self.steps += 1
        if self.np_random.random() > 0.2:
            self.x = int(np.clip(self.x + (-1, 1, 0)[action], 0, self.width - 1))
        done = self.x == self.goal
        return self._screen(), float(done), done, self.steps == self.limit, self._info()

    def _screen(self):
        screen = np.zeros(self.observation_space.shape, np.uint8)
        screen[:12, self.x * 2 : self.x * 2 + 2] = 255
        screen[12:, self.goal * 2 : self.goal * 2 + 2] = 255
        return screen

    def _info(self):
        return {"x": self.x, "goal": self.goal, "milestones": {"GOAL": {"completed": self.x == self.goal}}}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def vector(n, threads=2):
    return ThreadVectorEnv([Corridor] * n, num_threads=threads)


def walk(info):
    return 1 if info["goal"] > info["x"] else 0


def look(screens):
    x, goal = screens[:, 0, :, 0].argmax(axis=1), screens[:, -1, :, 0].argmax(axis=1)
    return (goal > x).astype(int)


@pytest.mark.parametrize(
    "make_policy",
    [lambda: StatePolicy(walk, 3), lambda: PicturePolicy(look), lambda: RandomPolicy(3)],
    ids=["state", "picture", "random"],
)
def test_results_do_not_depend_on_the_number_of_environments(make_policy):
    episodes = seeded_episodes(13, seed=40)
    single = evaluate(Corridor(), make_policy(), episodes, max_steps=60)
    for n in (1, 4, 20):
        envs = vector(n)
        assert evaluate(envs, make_policy(), episodes, max_steps=60).episodes == single.episodes
        envs.close()
    assert [episode.seed for episode in single.episodes] == list(range(40, 53))
    assert len({episode.length for episode in single.episodes}) >= 3


def test_sampled_actions_depend_on_the_episode_alone():
    network = ImpalaCNN(3, 8, channels=(4, 4))
    results = []
    for n in (1, 5):
        envs = vector(n)
        policy = NetworkPolicy(network, deterministic=False, frame_stack=1)
        results.append(evaluate(envs, policy, seeded_episodes(7, 3), max_steps=40).episodes)
        envs.close()
    assert results[0] == results[1]


def test_a_memory_belongs_to_its_episode():
    network = RecurrentNetwork(3, 8, channels=(4, 4))
    results = []
    for n in (1, 5):
        envs = vector(n)
        results.append(evaluate(envs, RecurrentPolicy(network), seeded_episodes(7, 3), max_steps=20).episodes)
        envs.close()
    assert results[0] == results[1]


def test_path_length_and_shorter_limits():
    def least(info):
        return None if info["goal"] == 0 else abs(info["goal"] - info["x"])

    result = evaluate(Corridor(), StatePolicy(walk, 3), seeded_episodes(30, 0), max_steps=40, optimal_steps=least)
    known = [episode for episode in result.episodes if episode.optimal_steps is not None]
    assert 0 < len(known) < 30 and all(e.success and e.length >= e.optimal_steps for e in known)
    expected = np.mean([e.optimal_steps / e.length for e in known])
    assert result.spl == pytest.approx(expected) and 0.5 < expected < 1  # the wind costs steps
    cut = result.within(3)
    assert cut.successes == sum(e.length <= 3 for e in result.episodes) < result.successes
    assert cut.spl < result.spl and cut.n_episodes == 30
    assert evaluate(Corridor(), StatePolicy(walk, 3), seeded_episodes(3, 0), max_steps=8).spl is None


def test_figures():
    result = evaluate(Corridor(), StatePolicy(walk, 3), seeded_episodes(10, 0), max_steps=8)
    lengths = [episode.length for episode in result.episodes]
    assert 0 < result.successes < 10  # far goals are out of reach
    assert all(episode.success == (episode.episode_return == 1) for episode in result.episodes)
    assert all(episode.length == 8 for episode in result.episodes if not episode.success)
    assert all(episode.milestones == (("GOAL",) if episode.success else ()) for episode in result.episodes)
    assert result.mean_length == pytest.approx(np.mean(lengths))
    assert result.mean_milestones == result.mean_return == result.success_rate == result.successes / 10
    low, high = result.success_interval
    assert low < result.success_rate < high
    assert result.steps == sum(lengths) and result.steps_per_second > 0
    assert result.scalars()["success_rate_low"] == low
    assert f"{result.successes}/10" in str(result)


def test_environments_own_limit_is_no_success():
    stay = PicturePolicy(lambda screens: np.full(len(screens), 2))
    result = evaluate(Corridor(max_episode_steps=2), stay, [EpisodeSpec(1)], 50)
    assert (result.episodes[0].length, result.episodes[0].success) == (2, False)


def test_start_states_and_seeds_reach_the_environment(tmp_path):
    episodes = seeded_episodes(5, 10, ["a.state", tmp_path / "b.state", None])
    env = Corridor()
    result = evaluate(env, StatePolicy(walk, 3), episodes, 50)
    state = str(tmp_path / "b.state")
    assert [episode.start_state for episode in result.episodes] == ["a.state", state, None, "a.state", state]
    assert env.resets[:3] == [(10, {"load_state": "a.state"}), (11, {"load_state": state}), (12, {})]


def test_abstaining_function_presses_anything_and_is_counted():
    policy = StatePolicy(lambda info: None, 3)
    result = evaluate(Corridor(), policy, seeded_episodes(2, 0), 30)
    assert policy.abstentions == result.steps


def test_evaluate_policy():
    network = ImpalaCNN(3, 8, channels=(4, 4)).train()
    envs = vector(3)
    mean, std, info = evaluate_policy(envs, network, 6, "cpu", max_steps=20, seed=5)
    assert network.training
    again = evaluate_policy(Corridor(), network, 6, torch.device("cpu"), 20, True, seed=5)
    keys = ("episode_lengths", "mean_length", "milestones_reached", "mean_milestones", "successes", "seeds")
    assert all(info[key] == again[2][key] for key in keys) and (mean, std) == again[:2]
    assert len(info["episode_lengths"]) == len(info["milestones_reached"]) == 6
    assert info["success_interval"][0] <= info["success_rate"] <= info["success_interval"][1]
    assert evaluate_policy(envs, network, 2, "cpu", 20)[2]["seeds"] == [None, None]
    envs.close()


def test_frame_stack_repeats_the_first_picture():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen.append(x.clone())
            return torch.zeros(len(x), 3)

    evaluate(Corridor(), NetworkPolicy(Spy(), frame_stack=3), [EpisodeSpec(0)], max_steps=3)
    assert [tuple(x.shape) for x in seen] == [(1, 9, 84, 84)] * 3
    assert torch.equal(seen[0][:, :3], seen[0][:, 3:6]) and torch.equal(seen[0][:, 3:6], seen[0][:, 6:])
    assert torch.equal(seen[2][:, :6], seen[1][:, 3:])


def test_films(tmp_path):
    recorder = EpisodeRecorder(tmp_path / "videos", "expert_eval", episodes=2, buttons=("LEFT", "RIGHT", "STAY"))
    envs = vector(3)
    result = evaluate(envs, StatePolicy(walk, 3), seeded_episodes(4, 0), 40, recorder=recorder)
    envs.close()
    names = [f"expert_eval_ep{i + 1}_success_steps{result.episodes[i].length}.mp4" for i in range(2)]
    assert sorted(path.name for path in recorder.paths) == sorted(names)
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == sorted(names)


def test_stop_leaves_no_half_film(tmp_path):
    calls = []

    def should_stop():
        calls.append(1)
        return len(calls) > 3

    evaluator = Evaluator(Corridor(), 40, videos=tmp_path, device="cpu")
    with pytest.raises(Stopped):
        evaluator.play(ImpalaCNN(3, 8, channels=(4, 4)), 9, 0, "film", should_stop)
    assert not list(tmp_path.iterdir())


def test_a_vector_that_steps_all_or_none_is_refused():
    envs = gym.vector.SyncVectorEnv([Corridor] * 2)
    with pytest.raises(TypeError, match="make_vector_env"):
        evaluate(envs, Policy(), [EpisodeSpec(0)], 5)
    envs.close()


def test_the_promised_snippet_plays_the_game(tmp_path, rom_path):
    env = make_env(rom_path, headless=True, target_milestone="GAME_RUNNING")
    policy_net = ImpalaCNN(action_dim=env.action_space.n).to("cpu")
    save_checkpoint(tmp_path / "best.pth", {"model_state_dict": policy_net.state_dict()})
    checkpoint = torch.load(tmp_path / "best.pth")
    policy_net.load_state_dict(checkpoint["model_state_dict"])
    mean_return, std_return, info = evaluate_policy(env, policy_net, 2, "cpu", max_steps=3)
    env.close()
    assert mean_return == info["success_rate"] and std_return >= 0
    assert all(length <= 3 for length in info["episode_lengths"])


def test_experts_are_evaluated_like_networks(rom_path):
    envs = make_vector_env(3, rom_path=rom_path, target_milestone="GAME_RUNNING")
    start = envs.envs[0].buttons.index("START")
    expert = StatePolicy(lambda state: start if state["game"]["game_state"] == "title" else None, 8)
    result = evaluate(envs, expert, seeded_episodes(5, 0), max_steps=20)
    chance = evaluate(envs, RandomPolicy(8), seeded_episodes(5, 0), max_steps=20)
    envs.close()
    assert (result.successes, expert.abstentions) == (5, 0)
    assert result.mean_length < chance.mean_length


@pytest.mark.parametrize("cause", ["folder", "disk"])
def test_a_film_that_can_t_be_written_does_not_end_the_evaluation(tmp_path, capsys, cause):
    folder, before = tmp_path / "videos", resource.getrlimit(resource.RLIMIT_FSIZE)
    if cause == "folder":
        folder.write_text("")
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # as on a full disk
    try:
        recorder = EpisodeRecorder(folder, "step3", episodes=2)
        result = evaluate(Corridor(), RandomPolicy(3), seeded_episodes(3, 1), 40, recorder=recorder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.n_episodes == 3 and recorder.paths == []
    assert re.fullmatch(rf"{folder}: no film of step3 \((File exists|File too large)\)\n", capsys.readouterr().err)
    assert cause == "folder" or not list(folder.iterdir())
