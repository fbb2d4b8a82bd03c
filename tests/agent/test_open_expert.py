"""Opening policies to play with: the game's own in this process, all others in a sandbox unless --unsafe-policies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import dagger_pokemon
from agent.demonstrate import play_episode
from agent.open_expert import SandboxedExpert, open_policy
from agent.oracle import PolicyError
from agent.policy_expert import PolicyExpert
from agent.sandbox import lockdown as sandbox_lockdown
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from tasks.episode_starts import find_starts
from tasks.recorded_starts import StartStateError, ensure_start_states

ROOT = Path(__file__).resolve().parents[2]
FIRST = "GAME_RUNNING"  # START completes it, from power-on
CRASH = """
def run(state):
    classes = ().__class__.__base__.__subclasses__()
    [c for c in classes if c.__name__ == "_wrap_close"][0].__init__.__globals__["_exit"](1)
"""


@pytest.fixture
def canary(tmp_path, monkeypatch) -> Path:
    """A file that the policy in policies/ writes, if it can, whenever it is asked; the working folder is theirs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "canary"
    Path("policies").mkdir()
    Path("policies", f"{FIRST}.py").write_text(f"""
def run(state):
    try:
        open({str(path)!r}, "w").close()
    except OSError:
        pass
    return "start"
""")
    return path


@pytest.fixture
def no_policies(monkeypatch):
    """As if the game brought no policies."""
    monkeypatch.setattr(type(GAME), "policy_dir", None)


def copied(milestone: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(GAME.policy_dir / f"{milestone}.py", folder))


# Which is trusted


def test_the_games_own_runs_in_this_process_and_any_other_in_a_sandbox(env, tmp_path, monkeypatch):
    shipped = GAME.policy_dir / "CLOCK_SET.py"
    (tmp_path / "link").symlink_to(GAME.policy_dir)
    monkeypatch.chdir(GAME.policy_dir.parent)
    for policy in (shipped, (tmp_path, "CLOCK_SET"), ("policies", "CLOCK_SET"), (tmp_path / "link", "CLOCK_SET")):
        expert = open_policy(policy, env)
        assert type(expert) is PolicyExpert and expert.path == shipped
        expert.close()
    copy = copied("CLOCK_SET", tmp_path / "copy")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "CLOCK_SET.py").symlink_to(shipped)
    for policy in (copy, (tmp_path / "copy", "CLOCK_SET"), (tmp_path / "linked", "CLOCK_SET")):
        with closing(open_policy(policy, env)) as expert:
            assert type(expert) is SandboxedExpert
        assert type(open_policy(policy, env, unsafe=True)) is PolicyExpert


def test_the_games_own_needs_no_sandbox(env, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox_lockdown.sys, "platform", "darwin")
    open_policy((tmp_path, "CLOCK_SET"), env)
    with pytest.raises(RuntimeError, match="darwin.*--unsafe-policies"):
        open_policy(copied("CLOCK_SET", tmp_path), env)


def test_a_broken_policy_is_told_at_once(env, tmp_path):
    (tmp_path / "CLOCK_SET.py").write_text("def run(state:\n")
    with pytest.raises(PolicyError, match=r"CLOCK_SET\.py: is not Python"):
        open_policy((tmp_path, "CLOCK_SET"), env)


# Where it runs makes no difference


@pytest.mark.parametrize(("milestone", "noise"), [("CLOCK_SET", 0.0), ("STARTER_CHOSEN", 0.3), ("RIVAL_BATTLE_WON", 0.2)])
def test_episodes_are_the_same_bit_for_bit(tmp_path, milestone, noise):
    recorded = []
    with PokemonEnv(target_milestone=milestone, start_milestone=milestone, tier="T1") as env:
        for policy in (GAME.policy_dir / f"{milestone}.py", copied(milestone, tmp_path)):
            with closing(open_policy(policy, env)) as expert:
                recorded.append([play_episode(env, expert, seed, None, 120, noise) for seed in (3, 4)])
                assert expert.answers == sum(map(len, recorded[-1])) and not expert.abstentions
    for own, sandboxed in zip(*recorded, strict=True):
        for name in ("observations", "actions", "executed_actions", "rewards", "dones", "optimal"):
            assert np.array_equal(getattr(own, name), getattr(sandboxed, name)), name
        assert own.metadata == sandboxed.metadata


def test_abstentions_are_counted_and_say_why_as_they_do_in_this_process(tmp_path):
    (tmp_path / f"{FIRST}.py").write_text("def run(state):\n    return {'no_op': None, 'a': 1 / 0}[state['prev_action']]\n")
    said = []
    with PokemonEnv(target_milestone=FIRST) as env:
        for unsafe in (False, True):
            with closing(open_policy((tmp_path, FIRST), env, unsafe)) as expert:
                answers = []
                play_episode(env, expert, 1, None, 3, 0.0, lambda step, answer, answers=answers: answers.append((step, answer)))
                said.append((answers, expert.answers, expert.abstentions, expert.abstention_kinds))
    assert said[0] == said[1] and said[0][2] > 0


def test_a_policy_that_is_given_up_plays_no_further(tmp_path):
    (tmp_path / f"{FIRST}.py").write_text(CRASH)
    with PokemonEnv(target_milestone=FIRST) as env, closing(open_policy((tmp_path, FIRST), env)) as expert:
        with pytest.raises(PolicyError, match=r"GAME_RUNNING\.py: was killed"):
            play_episode(env, expert, 1, None, 8)


# Everything that plays experts


def run(*command: str | Path) -> subprocess.CompletedProcess:
    variables = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run([sys.executable, *map(str, command)], env=variables, capture_output=True, text=True, timeout=120)


LIMITS = ("--milestone-config", ROOT / "milestone_config.json")
ROM = ("--rom-path", ROOT / "tallgrass" / "tallgrass.gb", *LIMITS)
PLAYERS = {
    "collect": (ROOT / "collect_expert_data.py", "--milestone", FIRST, "--n-episodes", "2", *ROM),
    "expert_table": ("-m", "benchmarks.expert_table", "--milestones", FIRST, "--episodes", "1", "--random-starts", "1", *ROM),
    "realisability": ("-m", "benchmarks.realisability", "--milestones", FIRST, "--episodes", "1", *ROM),
    "audit": (
        "-m", "benchmarks.audit", "--milestones", FIRST, "--tiers", "T1", "--audits", "replay", "identical",
        "--episodes", "1", "--demonstrations", "1", "--parallel", "1", *LIMITS,
    ),
}  # fmt: skip


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in PLAYERS if name != "collect"]


@pytest.mark.parametrize("player", ["collect", *SLOW])
def test_what_plays_experts_keeps_them_in_a_sandbox(canary, player):
    command = (*PLAYERS[player], "--policy-dir", "policies")
    done = run(*command)
    assert "Traceback" not in done.stderr and done.returncode in (0, 1), done.stderr  # 1: a gate that so few episodes can't pass
    assert not canary.exists() and "--unsafe-policies" not in done.stdout
    assert (f"{FIRST}: policies/{FIRST}.py, in a sandbox\n" in done.stdout) == (player == "collect")
    shutil.rmtree("expert_data", ignore_errors=True)
    done = run(*command, *(["--fresh"] if player in ("expert_table", "audit") else []), "--unsafe-policies")
    assert done.returncode in (0, 1), done.stderr
    assert canary.exists() and "--unsafe-policies: policy files run in this process" in done.stdout


def test_start_states_are_made_in_a_sandbox_where_the_game_brings_no_policies(canary, no_policies, rom_path):
    settings = dict(n_train=1, n_heldout=1, state_dir="states", start_states_dir="start_states", policy_dir="policies")
    made = []
    for unsafe in (False, True):
        states = ensure_start_states("PLAYER_NAME_SET", rom_path, **settings, unsafe_policies=unsafe, show_progress=False)
        made.append([path.read_bytes() for split in ("first", "train", "heldout") for path in states.files(split)])
        assert canary.exists() == unsafe
        shutil.rmtree("states")
        shutil.rmtree("start_states")
    assert made[0] == made[1]


def test_where_there_is_no_sandbox_no_start_states_are_made_and_it_is_said_how(canary, no_policies, rom_path, monkeypatch):
    monkeypatch.setattr(sandbox_lockdown.sys, "platform", "darwin")
    with pytest.raises(StartStateError, match="no start states: .*darwin.*`python -m tools.record_start_states` takes that flag"):
        ensure_start_states("PLAYER_NAME_SET", rom_path, policy_dir="policies", show_progress=False)
    assert not list(Path().rglob("*.state"))


def test_daggers_own_start_states_heed_its_flags(canary, no_policies, rom_path, monkeypatch):
    monkeypatch.setattr(type(GAME), "has_worlds", False)
    for number in ("n_train", "n_heldout"):
        monkeypatch.setitem(ensure_start_states.__kwdefaults__, number, 1)
    for unsafe in (False, True):
        args = dagger_pokemon.Args(rom_path=str(rom_path), policy_dir="policies", unsafe_policies=unsafe)
        where = {"policy_dir": args.policy_dir, "unsafe_policies": args.unsafe_policies}
        assert find_starts(args, GAME, "PLAYER_NAME_SET", None, None, "train", **where).files
        assert canary.exists() == unsafe
        shutil.rmtree(".milestone_trainer_cache")


def test_the_command_that_makes_start_states_ends_with_one_line(canary, tmp_path):
    done = run("-m", "tools.record_start_states", "--rom-path", "none.gb")
    assert done.returncode == 1 and done.stderr.startswith("record_start_states.py: ") and done.stderr.count("\n") == 1


def test_a_policy_that_cannot_be_trusted_ends_a_recording_with_one_line(tmp_path, monkeypatch, canary):
    Path("policies", f"{FIRST}.py").write_text(CRASH)
    done = run(*PLAYERS["collect"], "--policy-dir", "policies", "--max-steps", "8", "--num-envs", "1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("collect_expert_data.py: policies/GAME_RUNNING.py: was killed 5 times")
