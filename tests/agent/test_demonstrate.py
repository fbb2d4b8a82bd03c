"""Demonstrations: what is recorded beside what an expert presses."""

from contextlib import closing

import numpy as np
import pytest

from agent.demonstrate import play_episode
from agent.open_expert import open_policy, open_policy_oracle
from agent.oracle import Situation
from common.demonstrations import NO_LABEL
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv


def played(milestone, policy, *, tier="T1", max_steps=40, noise=0.3):
    """An episode, and the label sets of an oracle of the game's own policy in the states of it."""
    with PokemonEnv(target_milestone=milestone, start_milestone=milestone, tier=tier) as env:
        with closing(open_policy(policy, env, unsafe=True)) as expert:
            episode = play_episode(env, expert, 5, None, max_steps, noise)
        _, info = env.reset(seed=5)
        situations = []
        for action in episode.pressed.tolist():
            situations.append(Situation(env.snapshot(), info["prev_action"]))
            info = env.step(action)[-1]
    with open_policy_oracle((None, milestone), GAME, unsafe=True, with_optimal=True) as oracle:
        answers = oracle.label_batch(situations)
    return episode, answers


@pytest.mark.parametrize(("milestone", "tier"), [("EXIT_RIVAL_HOUSE", "T1"), ("RIVAL_BATTLE_WON", "T2")])
def test_label_sets_are_those_that_dagger_learns_from(milestone, tier):
    episode, answers = played(milestone, (None, milestone), tier=tier)
    assert [answer.action for answer in answers] == episode.actions.tolist()
    assert [sum(1 << action for action in answer.optimal or ()) for answer in answers] == episode.optimal.tolist()
    assert max(map(int.bit_count, episode.optimal.tolist())) > 1
    assert (episode.optimal == 0).any() == (milestone == "RIVAL_BATTLE_WON")  # chance decides in a battle


def test_no_set_without_a_label_and_none_that_a_policy_has_spoilt(tmp_path):
    code = "def run(state):\n    state['map'].clear()\n    state['game'].clear()\n"
    code += "    return {'up': 'right', 'right': 'down', 'down': 'left', 'left': 'up'}.get(state['prev_action'])\n"
    (tmp_path / "RIVAL_HOUSE.py").write_text(code)
    episode, answers = played("RIVAL_HOUSE", (tmp_path, "RIVAL_HOUSE"), max_steps=20)
    assert episode.actions[0] == NO_LABEL and 0 < np.count_nonzero(episode.optimal) < 20
    for label, optimal, answer in zip(episode.actions.tolist(), episode.optimal.tolist(), answers, strict=True):
        assert answer.optimal is not None
        assert optimal == (sum(1 << action for action in answer.optimal) if label in answer.optimal else 0)


def test_a_game_that_knows_no_sets_records_none(monkeypatch):
    monkeypatch.setattr(type(GAME), "optimal_actions", lambda self, state: None)
    assert played("RIVAL_HOUSE", (None, "RIVAL_HOUSE"), max_steps=3)[0].optimal is None

    def impossible(self, state):
        raise KeyError("a stranger's state")

    monkeypatch.setattr(type(GAME), "optimal_actions", impossible)
    episode, _ = played("RIVAL_HOUSE", (None, "RIVAL_HOUSE"), max_steps=3)
    assert episode.optimal is None and np.all(episode.actions >= 0)
