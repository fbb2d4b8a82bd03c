"""The interface to experts: situations that are asked later, sets of right buttons, provenance, simulated latency."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest

from agent.open_expert import open_policy_oracle
from agent.oracle import ExpertAnswer, ExpertOracle, PolicyError, Situation
from agent.policy_expert import InProcessOracle, PolicyExpert, add_optimal
from benchmarks.compare.latency import SlowOracle
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv


@pytest.fixture(scope="module")
def visited() -> list[tuple[Situation, dict]]:
    """Situations of a random walk in a town, and the states that the environment told there."""
    rng = np.random.default_rng(0)
    with PokemonEnv(start_milestone="LAB_ENTERED") as env:
        frame, info = env.reset(seed=0)
        found = []
        for _ in range(40):
            found.append((Situation(env.snapshot(), info["prev_action"], frame), info))
            frame, _, _, _, info = env.step(int(rng.integers(4, 8)))
    return found


@pytest.fixture
def policy(tmp_path):
    def make(source: str):
        path = tmp_path / "LAB_ENTERED.py"
        path.write_text(source)
        return path

    return make


def test_a_situation_is_asked_later_as_it_was_seen(visited):
    expert = PolicyExpert((None, "LAB_ENTERED"), GAME)
    with InProcessOracle((None, "LAB_ENTERED"), GAME) as oracle:
        answers = oracle.label_batch([situation for situation, _ in visited])
    assert answers == [expert.label(info) for _, info in visited]
    assert not oracle.needs_frame and oracle.concurrency == 1


def test_a_situation_cannot_be_changed(visited):
    with pytest.raises(dataclasses.FrozenInstanceError):
        visited[0][0].prev_action = "up"


def test_a_snapshot_that_is_none_is_an_abstention(policy):
    oracle = InProcessOracle(policy("def run(state):\n    return 'up'\n"), GAME)
    (answer,) = oracle.label_batch([Situation(b"nonsense", "up")])
    assert (answer.action, answer.kind) == (None, "bad state")


def test_the_set_of_right_buttons_holds_the_experts_own(visited):
    situations = [situation for situation, _ in visited]
    answers = InProcessOracle((None, "LAB_ENTERED"), GAME, with_optimal=True).label_batch(situations)
    sets = [answer.optimal for answer in answers]
    assert any(sets) and max(len(optimal or ()) for optimal in sets) > 1
    for situation, answer in zip(situations, answers, strict=True):
        if answer.optimal is not None:
            assert answer.action in answer.optimal
            words = {GAME.buttons[number].lower() for number in answer.optimal}
            assert words == GAME.optimal_actions(GAME.decode_state(situation.snapshot))


def test_a_set_never_overrules_the_expert(visited):
    situation = visited[0][0]
    right = GAME.optimal_actions(GAME.decode_state(situation.snapshot))
    wrong = next(number for number, name in enumerate(GAME.buttons) if name.lower() not in right)
    assert add_optimal(ExpertAnswer(wrong), situation, GAME).optimal is None
    abstained = ExpertAnswer(None, "why", "none")
    assert add_optimal(abstained, situation, GAME) == abstained


def test_no_sets_unless_asked_for(visited):
    answers = InProcessOracle((None, "LAB_ENTERED"), GAME).label_batch([visited[0][0]])
    assert answers[0].optimal is None


def test_identity_is_stable_and_changes_with_what_decides_the_labels(policy):
    one = InProcessOracle(policy("def run(state):\n    return 'up'\n"), GAME).identity
    assert one.startswith("policy:LAB_ENTERED:")
    assert one == InProcessOracle(policy("def run(state):\n    return 'up'\n"), GAME).identity
    assert one != InProcessOracle(policy("def run(state):\n    return 'up' \n"), GAME).identity
    assert one != InProcessOracle(policy("def run(state):\n    return 'up'\n"), GAME, with_optimal=True).identity


def test_unsafe_policies_are_the_flags_meaning(policy):
    path = policy("def run(state):\n    return 'up'\n")
    with open_policy_oracle(path, GAME, unsafe=True) as oracle:
        assert type(oracle) is InProcessOracle
    with open_policy_oracle(path, GAME) as oracle:
        assert type(oracle).__name__ == "PolicyOracle"
    with pytest.raises(PolicyError, match="NO_SUCH"):
        open_policy_oracle((None, "NO_SUCH"), GAME)


class Echo(ExpertOracle):
    """Says how many calls are in it at once, and answers with the snapshot's first byte."""

    identity = "echo"

    def __init__(self):
        self.inside = self.most = 0
        self.closed = False

    def label_batch(self, situations):
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.01)
        self.inside -= 1
        return [ExpertAnswer(situation.snapshot[0]) for situation in situations]

    def close(self):
        self.closed = True


def test_a_slow_oracle_takes_its_time_for_each_question_but_several_at_once():
    echo = Echo()
    asked = [Situation(bytes([number]), "up") for number in range(8)]
    with SlowOracle(echo, 0.1, concurrency=4) as slow:
        start = time.perf_counter()
        answers = slow.label_batch(asked)
        seconds = time.perf_counter() - start
    assert [answer.action for answer in answers] == list(range(8))
    assert 0.2 <= seconds < 0.6  # two waves of four; one after the other it were 0.8
    assert slow.identity == "echo" and slow.concurrency == 4 and echo.closed


def test_batches_of_several_threads_share_a_slow_oracles_lines():
    echo = Echo()
    with SlowOracle(echo, 0.1, concurrency=2) as slow:
        start = time.perf_counter()
        threads = [threading.Thread(target=slow.label_batch, args=([Situation(b"a", "up")] * 2,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.perf_counter() - start >= 0.3
    assert echo.most == 1  # as many as it said it can take


def test_a_slow_oracle_needs_sensible_numbers():
    with pytest.raises(ValueError, match="concurrency"):
        SlowOracle(Echo(), 0.1, concurrency=0)
