"""The ablation of the trainer's feedback: what one kind is needed for is not reached without it, and all else is."""

from __future__ import annotations

import pytest

from agent.llm import client as client_module
from benchmarks import policy_writing
from benchmarks.policy_writing import asked_again, lacking
from pokemon_env.gym_env import PokemonEnv
from tools.scripted_model import KINDS, STORY, right
from trainer import policy_writer
from trainer.feedback import Attempt, feedback_parts
from trainer.trial import Episode, Picture, Step, Trial


@pytest.fixture(scope="module")
def title(rom_path):
    with PokemonEnv(rom_path) as env:
        yield env.reset(seed=1)[0].copy()


def attempts(title) -> dict[str, tuple[str, Attempt]]:
    """Kind -> a milestone whose last wrong policy needs it, and what came of that policy."""
    won = Episode(0, False, True, 5)

    def failed(kind="stuck", reason="nothing changed, at BEDROOM (1, 3), pressing b", noisy=False, log=(), **further):
        step = Step(1, "BEDROOM", (1, 3), "up", "", "", "b", False, further.pop("abstained", ""), log)
        return Episode(1, noisy, False, 20, kind, reason, last=[step], **further)

    error = "policy.py: TypeError: no (line 4)"
    told = {
        "exception": ("LEADER_BEATEN", [failed("exception", error, abstained=f"exception: {error}", abstentions={"exception": 9})]),
        "answers": ("EXIT_LAB", [failed("no answer", "no button (no_op 9)", abstained="no_op: x", abstentions={"no_op": 9})]),
        "log": ("CLOCK_SET", [failed(log=("keys: clock_target, wish",))]),
        "place": ("PLAYER_BEDROOM", [failed()]),
        "picture": ("GAME_RUNNING", [failed(pictures=[Picture(1, "a", title)])]),
        "seed": ("STARTER_CHOSEN", [won, failed()]),
        "noise": ("ROUTE_1", [won, failed(noisy=True)]),
    }
    found = {}
    for kind, (milestone, episodes) in told.items():
        wrong = STORY[milestone][-1]
        assert wrong.kind == kind
        found[kind] = milestone, Attempt(1, wrong.plan, wrong.code, "", Trial(episodes, 8))
    return found


@pytest.mark.parametrize("left_out", KINDS)
def test_what_is_left_out_is_missed_where_it_is_needed_and_nowhere_else(title, left_out):
    for kind, (milestone, attempt) in attempts(title).items():
        solved = asked_again(milestone, lacking(left_out, attempt), []).strip() == right(milestone).strip()
        assert solved == (kind != left_out), (kind, left_out)


def test_the_reason_of_a_file_that_was_not_loaded_is_an_exceptions():
    wrong = STORY["RIVAL_BEDROOM"][0]
    attempt = Attempt(1, wrong.plan, wrong.code.strip(), "policy.py: fails while it is loaded: PermissionError: no (line 1)")
    assert asked_again("RIVAL_BEDROOM", lacking("noise", attempt), []).strip() == right("RIVAL_BEDROOM").strip()
    assert asked_again("RIVAL_BEDROOM", lacking("exception", attempt), []).strip() == wrong.code.strip()


def test_a_milestone_is_played_with_and_without_what_it_needs(capsys, monkeypatch):
    monkeypatch.setattr(client_module, "BACK_OFF_SECONDS", 0.005)
    flags = dict(milestones=("GAME_RUNNING",), trial_episodes=2, confirm_episodes=2)
    assert policy_writing.main(policy_writing.Args(ablation="played", kinds=("picture",), **flags)) == 0
    said = capsys.readouterr().out
    assert "without picture: GAME_RUNNING: failed, 4 attempts" in said and "GAME_RUNNING: won, 2 attempts" in said
    assert policy_writer.feedback_parts is feedback_parts
    # A script that is another makes it fail: the count of attempts is told, not believed.
    monkeypatch.setitem(STORY, "GAME_RUNNING", ())
    assert policy_writing.main(policy_writing.Args(ablation="none", **flags)) == 0
    monkeypatch.setattr(policy_writing.scripted_model, "attempts_of", lambda milestone: 2)
    assert policy_writing.main(policy_writing.Args(ablation="none", **flags)) == 1
