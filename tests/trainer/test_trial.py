"""Trying a policy: how episodes end, why they failed, and that neither chance nor a replayed path wins."""

from __future__ import annotations

import numpy as np
import pytest

from agent.sandbox.oracle import PolicyOracle
from common.runtime.main import Stopped
from pokemon_env.gym_env import PokemonEnv
from trainer.trial import Limits, try_policy

LEFT_ALONE = 'def run(state):\n    return "b"\n'
RIGHT = 'def run(state):\n    return close_what_is_open(state) or go_to_map(state, "RIVAL_1F")\n'
LIMITS = Limits(max_steps=40, stuck_threshold=20, seconds=60)


@pytest.fixture(scope="module")
def house(rom_path):
    with PokemonEnv(rom_path, target_milestone="RIVAL_HOUSE", start_milestone="RIVAL_HOUSE", tier="T1", worlds="0") as env:
        yield env


@pytest.fixture(scope="module")
def bedroom(rom_path):
    """Where nobody walks about, so that nothing changes by itself."""
    with PokemonEnv(rom_path, target_milestone="CLOCK_SET", start_milestone="CLOCK_SET", tier="T1", worlds="0") as env:
        yield env


@pytest.fixture(scope="module")
def title(rom_path):
    with PokemonEnv(rom_path, target_milestone="GAME_RUNNING", start_milestone="GAME_RUNNING", tier="T1", worlds="0") as env:
        yield env


@pytest.fixture
def play(tmp_path):
    """Try a policy given as text."""

    def play(env, code, seeds=(1,), limits=LIMITS, wanted=1.0, call_seconds=2.0, max_deaths=5, **further):
        path = tmp_path / "policy.py"
        path.write_text(code)
        with PolicyOracle(path, env.game, call_seconds=call_seconds, max_deaths=max_deaths) as oracle:
            return try_policy(env, oracle, list(seeds), (None,), limits, wanted=wanted, **further)

    return play


def test_a_player_who_changes_nothing_is_stuck_where_it_stands(bedroom, play):
    (episode,) = play(bedroom, LEFT_ALONE, limits=Limits(40, 5, 60)).episodes
    place = episode.last[0]
    assert (episode.success, episode.steps, episode.kind) == (False, 5, "stuck")
    assert episode.reason == f"nothing changed for 5 steps, at BEDROOM {place.position}, pressing b"
    assert [step.number for step in episode.last] == [1, 2, 3, 4, 5] and {step.button for step in episode.last} == {"b"}
    # One screen was seen all the time, and the last is told as well.
    assert [(one.number, one.button) for one in episode.pictures] == [(1, "b"), (6, "")]
    assert np.array_equal(episode.pictures[0].pixels, episode.pictures[1].pixels)
    assert episode.state["map"]["location"] == "BEDROOM" and episode.state["prev_action"] == "b"


def test_the_same_few_states_are_a_circle(house, play):
    code = 'def run(state):\n    return "left" if state["player"]["facing"] != "left" else "right"\n'
    (episode,) = play(house, code, limits=Limits(30, 30, 60)).episodes
    assert episode.kind == "circle" and episode.steps == 30
    assert "states, again and again, since step" in episode.reason and "pressing" in episode.reason and "TOWN" in episode.reason
    assert 1 < len({(step.position, step.facing) for step in episode.last}) <= 8


def test_people_who_walk_about_do_not_hide_that_a_player_stands_still(house, play):
    (episode,) = play(house, LEFT_ALONE, limits=Limits(25, 20, 60)).episodes
    assert episode.kind == "circle" and episode.reason.startswith("the same state since step 1, at TOWN (")


def test_a_good_way_that_is_too_long_is_out_of_time(house, play):
    (episode,) = play(house, RIGHT, limits=Limits(3, 20, 60)).episodes
    assert episode.kind == "out of time" and episode.reason.startswith("not reached within 3 steps; the last at TOWN (")


def test_an_exception_is_told_with_its_line(house, play):
    (episode,) = play(house, 'def run(state):\n    return state["nope"]\n', limits=Limits(8, 20, 60)).episodes
    assert (episode.kind, episode.reason) == ("exception", "policy.py: KeyError: 'nope' (line 2)")
    assert episode.abstentions == {"exception": 8} and all(step.drawn for step in episode.last)
    assert episode.last[0].abstained == "exception: policy.py: KeyError: 'nope' (line 2)"


@pytest.mark.parametrize(
    "answer, kind", [("None", "none"), ('"no_op"', "no_op"), ('["up"]', "not text"), ('"press up"', "unknown word")]
)
def test_what_is_no_button_is_no_answer(house, play, answer, kind):
    (episode,) = play(house, f"def run(state):\n    return {answer}\n", limits=Limits(4, 20, 60)).episodes
    assert episode.kind == "no answer" and episode.reason == f"no button at 4 of 4 steps ({kind} 4)"
    assert episode.abstentions == {kind: 4}


def test_a_broken_limit_is_told_without_the_path(house, play, tmp_path):
    trial = play(house, "def run(state):\n    while True:\n        pass\n", [1, 2], call_seconds=0.1, max_deaths=2)
    assert [episode.kind for episode in trial.episodes] == ["limit", "limit"]
    assert all("did not answer within 0.1 s" in episode.reason for episode in trial.episodes)
    assert not any(str(tmp_path) in episode.reason for episode in trial.episodes)
    assert trial.episodes[1].steps == 0  # it is not asked any more


def test_a_trial_has_its_time(house, play):
    trial = play(house, RIGHT, [1, 2], Limits(40, 20, 0.0))
    assert [(episode.kind, episode.steps) for episode in trial.episodes] == [("timeout", 0)] * 2
    assert trial.episodes[0].reason == "the trial took longer than 0 s"


def test_where_chance_reached_the_milestone_the_policy_did_not(title, play):
    trial = play(title, "def run(state):\n    return None\n", range(3), Limits(60, 60, 60), wanted=0.1)
    reached = [episode for episode in trial.episodes if "chance reached the milestone" in episode.reason]
    assert reached and trial.successes == 0 and {episode.kind for episode in trial.episodes} == {"no answer"}


def test_a_policy_that_starts_the_game_succeeds_at_once(title, play):
    ends = []
    trial = play(title, 'def run(state):\n    return "start"\n', range(3), on_success=lambda one: ends.append(title.snapshot()))
    assert (trial.successes, trial.planned, trial.rate, len(ends)) == (3, 3, 1.0, 3)
    assert trial.mean_steps == np.mean([episode.steps for episode in trial.episodes]) < 20
    assert all(not episode.last and not episode.pictures and episode.kind == "" for episode in trial.episodes)


def test_every_second_episode_has_noise(house, play):
    trial = play(house, LEFT_ALONE, range(4), Limits(12, 99, 60), wanted=0.1, noise=0.5)
    assert [episode.noisy for episode in trial.episodes] == [False, True, False, True]
    drawn = [[step.drawn for step in episode.last] for episode in trial.episodes]
    assert not any(drawn[0] + drawn[2]) and 0 < sum(drawn[1]) < 12 and 0 < sum(drawn[3]) < 12 and drawn[1] != drawn[3]
    assert not any(step.abstained for episode in trial.episodes for step in episode.last)


def test_equal_seeds_play_equally_and_others_begin_elsewhere(house, play):
    records = [
        [episode.record() for episode in play(house, LEFT_ALONE, seeds, Limits(6, 99, 60), wanted=0.1, noise=0.5).episodes]
        for seeds in ((1, 2), (1, 2), (3, 4))
    ]
    assert records[0] == records[1]
    assert {one["last"][0]["position"] for one in records[0]}.isdisjoint(one["last"][0]["position"] for one in records[2])


@pytest.mark.parametrize("wanted, played", [(1.0, 3), (0.5, 5), (0.1, 8)])
def test_a_trial_ends_once_the_rate_cannot_be_reached_and_three_failures_can_be_told(title, play, wanted, played):
    trial = play(title, 'def run(state):\n    return "b"\n', range(8), Limits(2, 9, 60), wanted=wanted)
    assert len(trial.episodes) == played and trial.planned == 8 and trial.rate == 0


def test_only_the_last_steps_and_screens_are_kept(house, play):
    code = 'def run(state):\n    return "left" if state["player"]["facing"] != "left" else "right"\n'
    (episode,) = play(house, code, limits=Limits(45, 99, 60), keep_pictures=3).episodes
    assert [step.number for step in episode.last] == list(range(16, 46))
    assert len(episode.pictures) == 3 and episode.pictures[-1].number == 46


def test_the_log_stands_at_its_step(house, play):
    code = 'def run(state):\n    log("I am at " + str(state["map"]["player_coords"]))\n    return "b"\n'
    (episode,) = play(house, code, limits=Limits(2, 9, 60)).episodes
    assert [step.log for step in episode.last] == [(f"I am at {list(episode.last[0].position)}",)] * 2


def test_a_stop_is_heeded_within_an_episode(house, play):
    with pytest.raises(Stopped):
        play(house, LEFT_ALONE, should_stop=lambda: True)
