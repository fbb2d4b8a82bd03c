"""Where a rollout's episodes begin: hand-overs by the experts of the bundled game, and how they are mixed."""

import itertools
from pathlib import Path

import pytest

from dagger import starts as rollout_starts
from dagger.starts import ensure_handovers, given_handovers, handover_seed, mix_starts
from pokemon_env.errors import StateFileError
from pokemon_env.games.base import Game
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM
from tasks.recorded_starts import StartStateError

SETTINGS = {"tier": "T1", "worlds": "0", "start_milestone": "PLAYER_BEDROOM"}


def make(folder: Path, n_states: int = 3, seed: int = 1, milestone: str = "PLAYER_BEDROOM", **settings) -> tuple[Path, ...]:
    return ensure_handovers(folder, GAME, milestone, SETTINGS | settings, n_states, seed, rom_path=BUNDLED_ROM, num_envs=2)


def test_the_student_takes_over_where_the_expert_has_just_arrived(tmp_path):
    paths = make(tmp_path / "states")
    assert [path.name for path in paths] == ["000.state", "001.state", "002.state"]
    names = set()
    with PokemonEnv(BUNDLED_ROM, target_milestone="PLAYER_BEDROOM", tier="T1", worlds="0") as env:
        for path in paths:
            _, info = env.reset(seed=5, options={"load_state": path})
            done = {name for name, entry in info["milestones"].items() if entry["completed"]}
            assert done == {"GAME_RUNNING", "PLAYER_NAME_SET", "INTRO_CUTSCENE_COMPLETE"}
            assert info["game"]["game_state"] == "dialog"  # the line that the expert's last press brought
            names.add(info["player"]["name"])
        _, info = env.reset(seed=5, options={"start_milestone": "PLAYER_BEDROOM"})
        assert info["game"]["game_state"] == "overworld"  # and where the game draws a start, there is none
    assert len(names) > 1  # their starts are drawn


def test_what_is_there_stays_and_what_is_not_is_made_alike(tmp_path, monkeypatch):
    folder = tmp_path / "states"
    paths = make(folder)
    before = [path.read_bytes() for path in paths]
    paths[0].unlink()
    paths[1].write_bytes(before[1][:100])
    kept = paths[2].stat().st_mtime_ns
    assert make(folder) == paths
    assert [path.read_bytes() for path in paths] == before and paths[2].stat().st_mtime_ns == kept
    make(folder, seed=2)
    assert all(path.read_bytes() != content for path, content in zip(paths, before, strict=True))
    monkeypatch.setattr(rollout_starts, "make_vector_env", None)
    assert make(folder, n_states=0) == () == make(folder, milestone="GAME_RUNNING")


def test_other_tiers_have_their_own_worlds(tmp_path):
    (path,) = make(tmp_path, 1, milestone="LEAVE_HOUSE", tier="T2", worlds="train")
    with PokemonEnv(BUNDLED_ROM, target_milestone="LEAVE_HOUSE", tier="T2", worlds="train") as env:
        _, info = env.reset(seed=1, options={"load_state": path})
    assert info["game"]["world"] in range(1, 1000)


def test_an_expert_that_does_not_arrive_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(rollout_starts, "MAX_STEPS_PER_MILESTONE", 1)
    with pytest.raises(StartStateError, match="2 of 2 hand-overs to PLAYER_BEDROOM .*INTRO_CUTSCENE_COMPLETE.py does not"):
        make(tmp_path, 2)


def test_a_game_without_worlds_has_none(tmp_path):
    class Plain(Game):
        name, has_worlds, milestones = "Plain", False, GAME.milestones

    with pytest.raises(ValueError, match="Plain has no worlds"):
        ensure_handovers(tmp_path, Plain(), "PLAYER_BEDROOM", {}, 1, 1, rom_path=BUNDLED_ROM)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 2), (0.25, 5), (0.3, 6), (0.5, 10), (1.0, 20)])
def test_hand_overs_are_spread_evenly_over_all_rollouts(share, count):
    states = tuple(Path(f"{number}.state") for number in range(3))
    rollouts = [mix_starts([None] * 10, states, share, first=first) for first in (0, 10)]
    chosen = [start for rollout in rollouts for start in rollout if start is not None]
    assert len(chosen) == count and abs(sum(start is not None for start in rollouts[0]) - count / 2) <= 0.5
    assert chosen == [states[i % 3] for i in range(count)]  # the second rollout goes on where the first one ended
    assert mix_starts([None, Path("a")], (), share) == [None, Path("a")]


@pytest.mark.parametrize(
    ("shares", "counts"), [((0.25, 0.25), (5, 5)), ((0.0, 0.3), (0, 6)), ((0.5, 0.5), (10, 10)), ((1, 0), (20, 0))]
)
def test_cut_offs_take_their_share_of_what_is_left_each_once(shares, counts):
    handovers, cutoffs = ((Path("h"),), tuple(Path(f"c{number:02d}") for number in range(20)))
    mixed = mix_starts([None] * 20, handovers, shares[0], cutoffs, shares[1])
    assert (mixed.count(Path("h")), [start for start in mixed if start in cutoffs]) == (counts[0], list(cutoffs[: counts[1]]))
    few = mix_starts([None] * 20, handovers, shares[0], cutoffs[:2], shares[1])
    assert few.count(Path("h")) == counts[0] and few.count(None) == 20 - counts[0] - min(2, counts[1])


def test_each_hand_over_has_a_seed_of_its_own():
    seeds = {handover_seed(*words) for words in itertools.product((1, 2), ("PLAYER_BEDROOM", "BADGE"), range(5), range(3))}
    assert len(seeds) == 60


def test_given_hand_overs_are_checked(tmp_path):
    made = make(tmp_path / "train", 2)
    with PokemonEnv(BUNDLED_ROM) as env:
        identity = env.identity
    assert given_handovers(tmp_path, "train", identity, "PLAYER_BEDROOM") == made
    with pytest.raises(StartStateError, match="choose: has no .state files; put some there, or leave out --handovers"):
        given_handovers(tmp_path, "choose", identity, "PLAYER_BEDROOM")
    with pytest.raises(StartStateError, match="000.state: PLAYER_NAME_SET is completed there; remove it"):
        given_handovers(tmp_path, "train", identity, "PLAYER_NAME_SET")
    made[1].write_bytes(b"damaged")
    with pytest.raises(StateFileError, match="001.state"):
        given_handovers(tmp_path, "train", identity, "PLAYER_BEDROOM")
