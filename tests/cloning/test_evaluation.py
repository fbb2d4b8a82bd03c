"""Where clones are evaluated, and that it is the demonstrations' game."""

import pytest
import torch

from cloning.evaluation import check_game, open_evaluator
from cloning.flags import PlayFlags
from common.demonstrations import DemonstrationError
from common.runtime.flag_types import FlagError
from pokemon_env.games.tallgrass import GAME
from tasks.evaluation import evaluation_starts


def test_where_training_and_the_test_are_played(rom_path, monkeypatch):
    made = []
    monkeypatch.setattr("tasks.evaluation.make_vector_env", lambda n, **settings: made.append(settings))

    def settings(demonstrated=None, **more):
        flags = PlayFlags(rom_path=str(rom_path), **more)
        facts = {"milestone": "RIVAL_HOUSE", "tier": more.get("tier"), "worlds": demonstrated, "buttons": GAME.buttons}
        evaluator, _ = open_evaluator(flags, GAME, facts, max_steps=1, frame_stack=1, device=torch.device("cpu"))
        assert evaluator.start_states == (None,)
        return {key: made[-1].get(key) for key in ("start_milestone", "tier", "worlds")}

    assert settings() == {"start_milestone": "RIVAL_HOUSE", "tier": "T1", "worlds": "0"}
    assert settings(tier="T2")["worlds"] == "choose" and settings(tier="T2", eval_only=True)["worlds"] == "test"
    assert settings(tier="T2", worlds="7")["worlds"] == "7"
    for tier in (None, "T0", "T1", "T3"):
        assert settings("5", tier=tier)["worlds"] == settings("5", tier=tier, eval_only=True)["worlds"] == "5"
        assert settings("5", tier=tier, worlds="7")["worlds"] == "7"
    assert settings("5", tier="T2")["worlds"] == "choose" and settings("5", tier="T2", eval_only=True)["worlds"] == "test"
    flags = PlayFlags(rom_path=str(rom_path))
    with pytest.raises(FlagError, match="has no milestone NOPE; choose another with --milestone"):
        evaluation_starts(flags, GAME, "NOPE", None, None, "choose")


def test_the_demonstrations_are_of_the_game(rom_path):
    facts = {"buttons": list(GAME.buttons), "rom_sha256": None}
    assert check_game(str(rom_path), "shown", [], facts, plays=True).id == GAME.id
    assert check_game("nowhere.gb", "shown", [], facts | {"rom_sha256": "00"}, plays=False) is None
    for wrong, message in (
        ({"buttons": None}, "^a.npz: its metadata does not name the buttons"),
        ({"rom_sha256": "00"}, "^shown: recorded with another ROM"),
        ({"buttons": ["RIGHT"]}, "^shown: its buttons are .*RIGHT.*, but those of .* A, B, START"),
    ):
        with pytest.raises(DemonstrationError, match=message):
            check_game(str(rom_path), "shown", ["a.npz"], facts | wrong, plays=True)
