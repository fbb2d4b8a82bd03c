"""Seeded episodes that one policy after another plays."""

from dataclasses import astuple

import pytest

from agent.guided_policy import expert_policy
from agent.oracle import PolicyError
from agent.policy_expert import InProcessOracle
from common.policies import RandomPolicy
from common.video import EpisodeRecorder
from pokemon_env.games.tallgrass import GAME
from pokemon_env.rom import BUNDLED_ROM
from tasks.episode_starts import choose_starts
from tasks.play import SeededPlay

MILESTONE = "PLAYER_NAME_SET"
STARTS = choose_starts(GAME, MILESTONE, BUNDLED_ROM, purpose="test")


def opened(n_episodes=3, **more) -> SeededPlay:
    return SeededPlay(BUNDLED_ROM, MILESTONE, STARTS, n_episodes=n_episodes, seed=5, max_steps=12, **more)


def test_each_policy_plays_the_same_episodes_however_many_at_once(tmp_path):
    film = EpisodeRecorder(tmp_path, "expert", buttons=GAME.buttons)
    with opened(n_envs=2) as episodes, InProcessOracle((GAME.policy_dir, MILESTONE), GAME) as oracle:
        assert len(episodes.envs.envs) == 2
        first, again = (episodes.play(RandomPolicy(len(GAME.buttons))) for _ in range(2))
        expert = episodes.play(expert_policy(episodes.envs, oracle), recorder=film)
    assert first.episodes == again.episodes and [one.length for one in first.episodes] == [12] * 3
    assert [one.seed for one in expert.episodes] == [one.seed for one in first.episodes] == [5, 6, 7]
    assert expert.success_rate == 1 and [path.is_file() for path in film.paths] == [True]
    with opened() as episodes:
        assert len(episodes.envs.envs) == 3  # no more than there are episodes
        alone = episodes.play(RandomPolicy(len(GAME.buttons)))
    assert [astuple(one) for one in alone.episodes] == [astuple(one) for one in first.episodes]


def test_an_error_closes_the_environments():
    with pytest.raises(PolicyError, match="broken"), opened(n_episodes=1) as episodes:
        raise PolicyError("broken")
    assert episodes.envs.closed
