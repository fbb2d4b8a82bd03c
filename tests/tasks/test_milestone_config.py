"""milestone_config.json, and what is said when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import collect_expert_data
from pokemon_env.games.picture_only import PictureOnly
from pokemon_env.games.tallgrass import GAME
from tasks.milestone_config import MilestoneConfigError, limits_of_game, load_milestone_config

CONFIG = Path(__file__).resolve().parents[2] / "milestone_config.json"


def test_ids_and_order_equal_the_games():
    assert list(load_milestone_config(CONFIG)) == [milestone.id for milestone in GAME.milestones]


def test_descriptions_equal_the_games():
    entries = load_milestone_config(CONFIG)
    assert {name: entry.description for name, entry in entries.items()} == {m.id: m.description for m in GAME.milestones}


def test_each_starts_where_the_one_before_ends():
    entries = list(load_milestone_config(CONFIG).values())
    assert entries[0].starting_state is None
    for before, entry in zip(entries, entries[1:], strict=False):
        assert entry.starting_state == f"milestone_states/{before.id}_completed.state"


def test_it_has_the_promised_keys_and_no_others():
    content = json.loads(CONFIG.read_text())
    assert content.keys() == {"stop_on_failure", "milestones"} and content["stop_on_failure"] is True
    keys = ["id", "description", "starting_state", "max_steps", "max_retries", "timeout", "stuck_threshold"]
    assert all(list(entry) == keys for entry in content["milestones"])


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda c: c.pop("milestones"), "milestones"),
        (lambda c: c["milestones"][0].pop("max_steps"), "GAME_RUNNING has no 'max_steps'"),
        (lambda c: c["milestones"][1].update(max_steps="many"), "PLAYER_NAME_SET has max_steps 'many', wanted int"),
        (lambda c: c["milestones"][1].update(max_steps=True), "max_steps True"),
        (lambda c: c["milestones"][1].update(max_steps=0), "at least 1"),
        (lambda c: c["milestones"][1].update(starting_state=3), "str or null"),
        (lambda c: c["milestones"][1].update(id="GAME_RUNNING"), "two milestones"),
        (lambda c: c["milestones"].append("FIRST_CATCH"), "wanted an object"),
    ],
)
def test_errors_name_the_file_and_the_entry(tmp_path, change, words):
    content = json.loads(CONFIG.read_text())
    change(content)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    with pytest.raises(MilestoneConfigError, match=words) as error:
        load_milestone_config(path)
    assert str(path) in str(error.value)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(MilestoneConfigError, match=r"no such file; the bundled game's is /.*milestone_config\.json$"):
        load_milestone_config(tmp_path / "no.json")
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(MilestoneConfigError, match="not JSON"):
        load_milestone_config(path)


def test_limits_belong_to_the_game(tmp_path):
    entries = load_milestone_config()  # the repository's, wherever one is
    assert limits_of_game(CONFIG, GAME, "--max-steps") == {name: entry.max_steps for name, entry in entries.items()}

    class Sequel(PictureOnly):
        """A game that has some of the ids, and so no limit of the file's."""

        name = "Sequel"
        milestones = GAME.milestones[:5]

    for game, missing in ((PictureOnly(), "GAME_RUNNING"), (Sequel(), "GO_DOWNSTAIRS_TO_1F")):
        told = f"{CONFIG}: is another game's, for {game.name} has no milestone {missing}; give its own with .*, or --max-steps$"
        with pytest.raises(MilestoneConfigError, match=told):
            limits_of_game(CONFIG, game, "--max-steps")
        assert collect_expert_data.limits(collect_expert_data.Args(milestone_config=str(CONFIG)), game) == {}
    content = json.loads(CONFIG.read_text())
    content["milestones"] = content["milestones"][:5]
    (tmp_path / "own.json").write_text(json.dumps(content))
    for game in (Sequel(), GAME):  # a part of a game's is the game's
        assert list(limits_of_game(tmp_path / "own.json", game, "--max-steps")) == [one.id for one in GAME.milestones[:5]]
