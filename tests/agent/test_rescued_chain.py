"""Whole games by the students, in which experts finish what a student does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.chain import ChainedExperts
from agent.policy_expert import PolicyExpert
from agent.rescued_chain import ChainRun, RescuedChain, limits_of, rescues
from agent.students import find_students, load_student
from common.episodes import EpisodeSpec
from common.evaluation import evaluate
from pokemon_env.games.tallgrass import GAME
from pokemon_env.rom import BUNDLED_ROM, Rom
from pokemon_env.state_files import read_state
from pokemon_env.vector_env import make_vector_env

NAMES = [milestone.id for milestone in GAME.milestones]
STUDENTS = GAME.policy_dir.parent / "students"


@pytest.fixture(scope="module")
def chained(tmp_path_factory):
    """Two games in which the student of the clock may take three steps; the states of one of them are kept."""
    folder, sha256 = tmp_path_factory.mktemp("states"), Rom.read(BUNDLED_ROM).header.sha256
    students = {name: load_student(path, name, sha256, GAME.buttons) for name, path in find_students(STUDENTS, NAMES).items()}
    settings = {"rom_path": BUNDLED_ROM, "target_milestone": NAMES[-1], "tier": "T1", "worlds": "0"}
    envs = make_vector_env(2, state_in_info=True, **settings)
    experts = ChainedExperts({name: PolicyExpert(GAME.policy_dir / f"{name}.py", GAME) for name in NAMES}, envs.envs)
    limits = dict.fromkeys(NAMES, 1000) | {"CLOCK_SET": 3}
    try:
        policy = RescuedChain(students, experts, limits, envs, folder, "train")
        result = evaluate(envs, policy, [EpisodeSpec(3), EpisodeSpec(4)], 5000)
        yield policy, result, folder, envs.envs[0].identity
    finally:
        envs.close()


def test_an_expert_finishes_what_the_student_does_not_and_the_run_goes_on(chained):
    policy, result, _, _ = chained
    for episode in result.episodes:
        run = policy.runs[episode.seed]
        assert episode.success and "CLOCK_SET" in run.rescued and run.steps["CLOCK_SET"] > 3
        assert list(run.steps) == [name for name in NAMES if name in run.steps]  # in the story's order
        assert sum(run.steps.values()) == episode.length


def test_states_are_kept_where_students_take_over_and_where_they_are_stuck(chained):
    policy, _, folder, identity = chained
    place = NAMES.index("CLOCK_SET")
    for seed in (3, 4):
        for what in ("over", "stuck"):
            done = read_state(folder / "CLOCK_SET" / "train" / f"{seed}_{what}.state", identity).milestones
            assert sorted(done) == sorted(NAMES[:place])
        assert not list(folder.glob(f"{NAMES[0]}/train/*_over.state"))  # power-on is no hand-over
        after = folder / NAMES[place + 1] / "train"
        assert (after / f"{seed}_over.state").is_file() and not (after / f"{seed}_stuck.state").exists()


def test_without_a_folder_nothing_is_kept_and_nobody_is_rescued_within_the_limit():
    assert rescues([ChainRun(1, {}, ["A", "B"]), ChainRun(2, {}, ["B"])]) == {"A": 1, "B": 2}
    assert limits_of([{"A": 10, "B": 0}, {"A": 20, "B": 1}], 3.0) == {"A": 65, "B": 22}


def test_the_limit_is_of_the_student_not_of_the_run(chained):
    policy, _, folder, _ = chained
    assert isinstance(folder, Path) and all(run.steps["LEAVE_HOUSE"] < 1000 for run in policy.runs.values())
    assert all("LEAVE_HOUSE" not in run.rescued for run in policy.runs.values())
