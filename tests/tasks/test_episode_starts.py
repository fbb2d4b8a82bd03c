"""Where the scripts' episodes start."""

import pytest

from pokemon_env.games.picture_only import PictureOnly
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from tasks import episode_starts
from tasks.episode_starts import EpisodeStarts, choose_starts


def starts(milestone="RIVAL_HOUSE", purpose="train", game=GAME, rom="rom.gb", **given):
    return choose_starts(game, milestone, rom, purpose=purpose, **given)


@pytest.mark.parametrize(("purpose", "t2"), [("train", "train"), ("choose", "choose"), ("test", "test")])
def test_the_game_draws_them_in_worlds_of_the_purpose(purpose, t2):
    whole = {"tier": "T1", "worlds": "0", "start_milestone": "RIVAL_HOUSE"}
    assert starts(purpose=purpose) == EpisodeStarts(whole)
    assert starts(purpose=purpose, tier="T2").settings["worlds"] == t2
    assert starts(purpose=purpose, tier="T2", worlds="5-7").settings["worlds"] == "5-7"
    assert starts(purpose=purpose, tier="T3").settings == whole | {"tier": "T3"}


def test_power_on():
    for given in ({"kind": "power-on"}, {"milestone": None}):
        assert starts(**given).settings == {"tier": "T1", "worlds": "0"} and starts(**given).files == (None,)


def test_recorded_states(tmp_path, bedroom_state, monkeypatch):
    assert starts(load_state=bedroom_state) == EpisodeStarts({}, (bedroom_state,))
    asked = []

    class Recorded:
        def files(self, split):
            return (tmp_path / split,)

    monkeypatch.setattr(episode_starts, "ensure_start_states", lambda *names, **more: asked.append((names, more)) or Recorded())
    assert starts(kind="first", num_threads=3) == EpisodeStarts({}, (tmp_path / "first",))
    assert asked == [(("RIVAL_HOUSE", "rom.gb"), {"num_threads": 3})]
    other = PictureOnly()
    assert starts(game=other).files == (tmp_path / "train",)
    assert starts(game=other, purpose="test").files == (tmp_path / "heldout",)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "first", "tier": "T2"}, "a recorded state holds its own world and tier: leave out --tier"),
        ({"kind": "train", "worlds": "3", "tier": "T1"}, "leave out --worlds and --tier"),
        ({"load_state": "a.state", "kind": "worlds"}, "both given: leave one out"),
    ],
)
def test_contradictions(given, told):
    with pytest.raises(ValueError, match=told):
        starts(**given)


def test_what_is_chosen_can_be_played(rom_path):
    chosen = starts(purpose="test", tier="T2", rom=rom_path)
    with PokemonEnv(rom_path, target_milestone="RIVAL_HOUSE", **chosen.settings) as env:
        worlds = set()
        for seed in range(4):
            info = env.reset(seed=seed)[1]
            worlds.add(info["game"]["world"])
            assert info["milestones"]["LEAVE_HOUSE"]["completed"] and not info["milestones"]["RIVAL_HOUSE"]["completed"]
    assert len(worlds) > 1 and min(worlds) >= 10_000
