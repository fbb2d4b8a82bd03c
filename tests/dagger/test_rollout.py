"""What a student plays is kept as it happened, and can be labelled later: real emulators, a sandboxed expert, real files."""

import zlib

import numpy as np
import pytest
import torch

from agent.labelling import Label, Labeller
from agent.open_expert import open_policy_oracle
from agent.oracle import Answer, ExpertOracle
from common.episodes import EpisodeSpec
from common.networks import TileCNN
from common.policies import NetworkPolicy, Policy, RandomPolicy
from common.recurrent import RecurrentNetwork
from common.runtime.main import Stopped
from dagger.data import NO_ACTION, DaggerData, Row, Status
from dagger.rollout import pictures_tell_all, recall_by_button, roll_out, situations_of, unanswered
from dagger.training_set import TrainingSet
from pokemon_env.games.picture_only import PictureOnly
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.vector_env import make_vector_env

MILESTONE = "PLAYER_NAME_SET"
SETTINGS = {"target_milestone": MILESTONE, "start_milestone": MILESTONE, "tier": "T0", "worlds": "0", "state_in_info": False}
BUTTONS = list(GAME.buttons)
EPISODES = [EpisodeSpec(seed) for seed in (11, 12, 13)]


class Always(Policy):
    """Presses one button, and counts how often it was asked."""

    def __init__(self, button: str):
        self.action, self.asked = BUTTONS.index(button), 0

    def act(self, slots, screens, infos):
        self.asked += len(slots)
        return [self.action] * len(slots)


class ToAndFro(Policy):
    """Presses LEFT and RIGHT in turns."""

    def start_episode(self, slot, seed):
        self.steps = getattr(self, "steps", {}) | {slot: 0}

    def act(self, slots, screens, infos):
        self.steps |= {slot: self.steps[slot] + 1 for slot in slots}
        return [BUTTONS.index("LEFT" if self.steps[slot] % 2 else "RIGHT") for slot in slots]


class Abstains(ExpertOracle):
    identity = "abstains"

    def label_batch(self, situations):
        return [Answer(None, "none", "no idea")] * len(situations)


@pytest.fixture(scope="module")
def envs(rom_path):
    envs = make_vector_env(2, rom_path=rom_path, **SETTINGS)
    yield envs
    envs.close()


@pytest.fixture(scope="module")
def oracle():
    with open_policy_oracle((None, MILESTONE), GAME) as oracle:
        yield oracle


@pytest.fixture
def data(tmp_path):
    with DaggerData(tmp_path / "data.sqlite", "create", milestone=MILESTONE, buttons=BUTTONS) as data:
        yield data


ALL = ["action", "label", "status", "iteration", "beta", "episode", "step", "seed", "world", "prev_action", "reward", "expert"]


def play(data, envs, labeller, student=None, beta=0.5, steps=12, iteration=0, episodes=EPISODES, **more):
    student = student or RandomPolicy(len(BUTTONS))
    return roll_out(data, envs, student, labeller, episodes, steps, beta=beta, iteration=iteration, **more)


def test_each_row_tells_what_happened(data, envs, oracle, rom_path):
    """Every episode is played again from its seed, with the buttons that the rows say were pressed."""
    rollout = play(data, envs, Labeller(oracle), steps=15)
    columns, frames, snapshots = data.columns(ALL), data.frames(rollout.ids), data.snapshots(rollout.ids)
    assert rollout.ids.tolist() == list(range(len(data))) and rollout.result.steps == len(data) > 20
    assert set(columns["iteration"]) == {0} and set(columns["beta"]) == {0.5} and set(columns["world"]) == {0}
    asked = columns["status"] == Status.VALID
    assert 0.2 < asked.mean() < 0.8 and (columns["status"][~asked] == Status.NOT_ASKED).all()
    assert (columns["action"][asked] == columns["label"][asked]).all()  # where he was asked in order to act, he acted
    with PokemonEnv(rom_path, **SETTINGS) as env:
        for number, spec in enumerate(EPISODES):
            rows = np.flatnonzero(columns["episode"] == number)
            assert columns["step"][rows].tolist() == list(range(len(rows))) and set(columns["seed"][rows]) == {spec.seed}
            screen, info = env.reset(seed=spec.seed)
            before = NO_ACTION
            for row in rows:
                assert np.array_equal(screen, frames[row]) and env.snapshot() == snapshots[row]
                assert columns["prev_action"][row] == before
                assert info["prev_action"] == ("no_op" if before == NO_ACTION else BUTTONS[before].lower())
                before = int(columns["action"][row])
                screen, reward, terminated, _, info = env.step(before)
                assert columns["reward"][row] == reward
            end, ended = data.episode_end(number)
            assert np.array_equal(end, screen) and ended == terminated == rollout.result.episodes[number].success
    answers = oracle.label_batch(list(situations_of(data, rollout.ids[asked], with_frames=False)))
    assert [answer.action for answer in answers] == columns["label"][asked].tolist()
    assert {data.names[number] for number in columns["expert"][asked]} == {oracle.identity}


def test_an_episode_does_not_depend_on_what_is_played_beside_it(data, envs, oracle, rom_path, tmp_path):
    play(data, envs, Labeller(oracle))
    alone = make_vector_env(1, rom_path=rom_path, **SETTINGS)
    with DaggerData(tmp_path / "alone.sqlite", "create", milestone=MILESTONE, buttons=BUTTONS) as other:
        play(other, alone, Labeller(oracle))
        both = []
        for one in (data, other):
            columns = one.columns(ALL)
            order = np.lexsort((columns["step"], columns["episode"]))
            both.append({name: values[order].tolist() for name, values in columns.items() if name != "expert"})
        assert both[0] == both[1]
    alone.close()


def test_beta_of_one_is_the_expert_and_of_none_the_student(data, envs, oracle):
    student, labeller = Always("SELECT"), Labeller(oracle)
    rollout = play(data, envs, labeller, student, beta=1.0, steps=40)
    columns = data.columns(ALL)
    assert rollout.result.successes == 3 and (columns["action"] == columns["label"]).all()
    assert labeller.counts.labels == len(data) and rollout.repeats == 0
    data.commit(0)
    rollout = play(data, envs, labeller, student, beta=0.0, iteration=1)
    columns = data.columns(ALL, start=int(rollout.ids[0]))
    assert set(columns["action"]) == {BUTTONS.index("SELECT")} and set(columns["status"]) == {Status.NOT_ASKED}
    assert labeller.counts.labels == rollout.ids[0] and student.asked == len(data)  # of what the expert did as well
    assert sorted(set(columns["episode"])) == [3, 4, 5]  # episodes are numbered on


def test_where_the_expert_abstains_the_student_acts(data, envs):
    labeller = Labeller(Abstains())
    play(data, envs, labeller, Always("B"), beta=1.0, steps=5)
    columns = data.columns(ALL)
    assert set(columns["action"]) == {BUTTONS.index("B")} and set(columns["status"]) == {Status.ABSTAINED}
    assert labeller.counts.abstained == {"none": 15}


def test_a_student_that_remembers_sees_what_the_expert_does(data, envs, oracle, monkeypatch):
    """Left alone by an expert without an answer, it acts on the pictures that its rows say: the last three of the episode."""
    torch.manual_seed(0)
    network = TileCNN(len(BUTTONS), 64, image_size=(144, 160), in_channels=3, dropout=0)
    with torch.no_grad():  # one that presses this and that, not the same everywhere
        network.head[-1].weight *= 100
        network.head[-1].bias *= 0
    label = oracle.label_batch

    def at_times(situations):
        return [
            Answer(None, "none", "no idea") if zlib.crc32(situation.snapshot) % 2 else answer
            for situation, answer in zip(situations, label(situations), strict=True)
        ]

    monkeypatch.setattr(oracle, "label_batch", at_times)
    rollout = play(data, envs, Labeller(oracle), NetworkPolicy(network, frame_stack=3), beta=1.0, steps=15)
    columns = data.columns(["status", "action"])
    alone = np.flatnonzero(columns["status"] == Status.ABSTAINED)
    training = TrainingSet(data, network.preprocess, frame_stack=3)
    with torch.inference_mode():
        acted = network.eval()(training.observations(alone)).argmax(dim=1).tolist()
    assert 5 < len(alone) < len(rollout.ids) and len(set(acted)) > 1 and acted == columns["action"][alone].tolist()


def test_when_the_budget_is_used_up_the_student_acts(data, envs, oracle):
    labeller = Labeller(oracle, budget=7)
    play(data, envs, labeller, Always("SELECT"), beta=1.0, steps=6)
    columns = data.columns(ALL)
    assert labeller.counts.labels == 7 and (columns["status"] == Status.VALID).sum() == 7
    late = columns["status"] == Status.NOT_ASKED
    assert late.sum() == len(data) - 7 and set(columns["action"][late]) == {BUTTONS.index("SELECT")}


def test_a_stuck_student_s_situation_is_one_question(data, envs, oracle):
    rollout = play(data, envs, Labeller(oracle), Always("SELECT"), beta=0.0, steps=20)  # which does nothing there
    new = unanswered(data, rollout.ids)
    pictures = len(np.unique(data.columns(["frame"])["frame"]))
    assert len(rollout.ids) == 60 and 1 <= len(new) <= 3 * pictures <= 6
    assert rollout.repeats > 50 and rollout.repeat_rate == rollout.repeats / 60
    assert new[0] == 0 and (np.diff(new) > 0).all()
    # What the expert answered while he acted is no question any more, nor is what has an answer by now.
    data.set_answers(new[:1], [Label(0, expert="somebody")])
    assert unanswered(data, rollout.ids).tolist() == new[1:].tolist()
    assert len(unanswered(data, rollout.ids, repeats=True)) == len(rollout.ids) - 1  # all but the one that has an answer
    data.set_answers(new, [Label(0, expert="somebody")] * len(new))
    assert len(unanswered(data, rollout.ids)) == 0 == len(unanswered(data, rollout.ids[:0]))


@pytest.mark.parametrize("frame_stack", [1, 3])
def test_a_student_that_walks_to_and_fro_is_asked_about_each_picture_once(data, rom_path, oracle, frame_stack):
    """The memory differs at every step: it counts the steps, and people walk about off the screen."""
    envs = make_vector_env(2, rom_path=rom_path, start_milestone="RIVAL_HOUSE", tier="T1", worlds="0", state_in_info=False)
    rollout = play(data, envs, Labeller(oracle), ToAndFro(), beta=0.0, steps=40, episodes=EPISODES[:2])
    envs.close()
    columns = data.columns(["episode", "frame", "snapshot", "prev_action"])
    training = TrainingSet(data, frame_stack=frame_stack)
    sights = [
        (episode, picture.numpy().tobytes())
        for episode, picture in zip(columns["episode"].tolist(), training.observations(rollout.ids), strict=True)
    ]
    first = [row for row, sight in enumerate(sights) if sight not in sights[:row]]
    questions = set(zip(columns["snapshot"].tolist(), columns["prev_action"].tolist(), strict=True))
    assert len(first) < 0.6 * len(questions) and len(questions) > 60  # the expert would be told something new at most steps
    assert unanswered(data, rollout.ids, frame_stack=frame_stack).tolist() == first
    # Where it does not matter what the student sees, all questions are.
    assert len(unanswered(data, rollout.ids, frame_stack=None)) == len(questions)
    # Rows are found whichever part of the rollout is looked at.
    assert unanswered(data, rollout.ids[7:], frame_stack=frame_stack)[0] == 7


def test_equal_pictures_of_two_episodes_are_two_questions_if_the_expert_is_told_other_things(data):
    """And with a stack of two, a picture that was come to another way is another sight."""
    dark, light = np.zeros((144, 160, 3), np.uint8), np.full((144, 160, 3), 255, np.uint8)
    for episode, pictures in enumerate(([dark, dark, light, dark], [dark, light])):
        data.append(
            Row(picture, 0, 0, episode, step, snapshot=b"%d %d" % (episode, step)) for step, picture in enumerate(pictures)
        )
    ids = np.arange(6)
    assert unanswered(data, ids).tolist() == [0, 2, 4, 5]
    assert unanswered(data, ids, frame_stack=2).tolist() == [0, 2, 3, 4, 5]
    assert unanswered(data, ids, frame_stack=None).tolist() == ids.tolist()
    data.set_answers([3], [Label(1, expert="somebody")])  # a later one has its answer: the earlier ones need none
    assert unanswered(data, ids).tolist() == [2, 4, 5]
    data.set_answers([4], [Label(None, "timeout", expert="somebody")])
    assert unanswered(data, ids).tolist() == [2, 5]


def test_whose_pictures_tell_all():
    network, remembers = TileCNN(8, 8), RecurrentNetwork(8, 8, network="tiles")
    assert [pictures_tell_all(GAME, tier, network) for tier in ("T0", "T1", "T2", "T3")] == [True, True, True, False]
    assert not any(pictures_tell_all(GAME, tier, remembers) for tier in ("T0", "T1", "T2", "T3"))
    assert not pictures_tell_all(GAME, None, network)  # recorded states, of which tier?
    assert pictures_tell_all(PictureOnly(), None, network) and not pictures_tell_all(PictureOnly(), None, remembers)


def test_questions_of_a_later_rollout_are_new(data, envs, oracle):
    first = play(data, envs, Labeller(oracle), Always("SELECT"), beta=0.0, steps=5)
    data.set_answers(first.ids, [Label(0, expert="somebody")] * len(first.ids))
    data.commit(0)
    second = play(data, envs, Labeller(oracle), Always("SELECT"), beta=0.0, steps=5, iteration=1)
    new = unanswered(data, second.ids)
    assert 0 < len(new) < len(second.ids) and new.min() == second.ids[0]  # the cache knows them, and they are rows of their own


def test_situations_with_frames(data, envs, oracle):
    rollout = play(data, envs, Labeller(oracle), steps=4)
    some = rollout.ids[[5, 2, 2]]
    plain, seen = (list(situations_of(data, some, with_frames)) for with_frames in (False, True))
    assert [one.snapshot for one in plain] == [one.snapshot for one in seen] == data.snapshots(some)
    assert plain[0].frame is None and all(map(np.array_equal, [one.frame for one in seen], data.frames(some)))
    assert plain[1] == plain[2] and list(situations_of(data, some[:0], True)) == []


def test_a_rollout_that_is_stopped_leaves_nothing_behind(data, envs, oracle):
    calls = iter(range(100))
    with pytest.raises(Stopped):
        play(data, envs, Labeller(oracle), should_stop=lambda: next(calls) > 4)
    assert len(data) > 0
    data.discard()
    assert len(data) == 0
    rollout = play(data, envs, Labeller(oracle))
    data.commit(0)
    assert rollout.ids[0] == 0 and data.next_episode == 3


def test_recall_by_button():
    assert recall_by_button([0, 0, 2, 2, 2], [0, 1, 2, 2, 0], "ABC") == {"A": 0.5, "C": pytest.approx(2 / 3)}
    assert recall_by_button([], [], "ABC") == {}
