"""What a checkpoint, which may be a stranger's, stands in for on the command line, and what it never does."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
import torch

import bc_pokemon
import dagger_pokemon
from common.runtime.checkpoints import CheckpointError, saved_run_name
from common.runtime.flags import NEVER_FROM_FILE, not_given_again, resume_command
from common.runtime.plain_names import LONGEST_NAME, is_plain_name

SCRIPTS = {"bc": bc_pokemon, "dagger": dagger_pokemon}
GUARDS = {
    "policy_dir": "theirs",
    "unsafe_policies": True,
    "expert": "code-agent",
    "expert_model": "dear",
    "expert_backend": "openai",
    "expert_base_url": "http://theirs.example/v1",
    "expert_key_env": "YOUR_KEY",
    "max_cost": 1e6,
    "prices": "theirs.json",
    "model_calls": "theirs.sqlite",
    "replay": True,
    "track": True,
    "wandb_project_name": "theirs",
    "wandb_entity": "them",
}


@pytest.fixture(params=SCRIPTS)
def script(request):
    return request.param


@pytest.fixture
def resume(tmp_path, monkeypatch, script):
    """Write a checkpoint with these flags to models/x_last.pth, and parse a command line that resumes it."""
    monkeypatch.chdir(tmp_path)

    def resume(saved: dict, *words: str, path: str = "models/x_last.pth"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        torch.save({"model_state_dict": {}, "algorithm": script, "args": saved}, path)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [f"{script}_pokemon.py", "--resume-from", path, *words])
            return SCRIPTS[script].parse_args()

    return resume


def of(script: str, flags: dict) -> dict:
    """Those flags that the script has."""
    return {name: value for name, value in flags.items() if hasattr(SCRIPTS[script].Args, name)}


def test_no_guard_is_taken_from_a_checkpoint(resume, script, capsys):
    guards = of(script, GUARDS)
    args = resume(guards | {"batch_size": 8})
    defaults = SCRIPTS[script].Args()
    assert args.batch_size == 8
    for name in guards:
        assert getattr(args, name) == getattr(defaults, name), name
    assert not_given_again(args) == guards
    taken, missing = capsys.readouterr().out.splitlines()
    assert taken == "taken over from models/x_last.pth: --batch-size 8"
    assert missing.startswith("not taken over, as it is never taken from a file: ") and "--wandb-entity them" in missing
    assert ("--unsafe-policies" in missing) == (script == "dagger") and missing.endswith("give it again")


def test_all_guards_are_tried_here():
    assert set(GUARDS) == set(NEVER_FROM_FILE)


def test_what_is_said_again_holds(resume, script, capsys):
    if script == "bc":
        words = ["--track", "--wandb-project-name", "theirs", "--wandb-entity", "them"]
    else:
        words = ["--policy-dir", "theirs", "--unsafe-policies", "--no-track", "--wandb-project-name", "mine"]
    models = ("expert", "max_cost", "prices", "model_calls", "replay")
    guards = {name: value for name, value in of(script, GUARDS).items() if not name.startswith(models)}
    args = resume(guards, *words)
    if script == "bc":
        assert args.track and args.wandb_entity == "them" and not not_given_again(args)
        assert capsys.readouterr().out == ""
    else:
        assert args.unsafe_policies and args.policy_dir == "theirs" and not args.track and args.wandb_project_name == "mine"
        assert not_given_again(args) == {"wandb_entity": "them"}


def test_a_run_with_the_defaults_has_nothing_to_say_again(resume, script, capsys):
    defaults = vars(SCRIPTS[script].Args())
    here = vars(resume({}))  # where the repository's files are named by their whole path
    assert vars(resume(dict(defaults))) == here and here["resume_from"] == "models/x_last.pth"
    assert {name for name in here if here[name] != defaults[name]} == {"resume_from", "rom_path", "milestone_config"}
    assert capsys.readouterr().out == ""


def test_an_evaluation_takes_no_guard_either_and_asks_for_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    guards = of("bc", GUARDS) | {"model_dir": "/elsewhere", "exp_name": "a/b"}  # of which it writes and sends nothing
    torch.save({"model_state_dict": {}, "args": guards}, "x.pth")
    monkeypatch.setattr(sys, "argv", ["bc_pokemon.py", "--eval-only", "--resume-from", "x.pth"])
    assert not bc_pokemon.parse_args().track
    assert "never taken" not in capsys.readouterr().out


# Where a resumed run writes

ELSEWHERE = ["/elsewhere", "../elsewhere", "models/../../elsewhere", "link/x", ".ssh", "models/.hidden", "a\0b", "~/../x\n", "/"]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_checkpoint_does_not_say_where_else_to_write(resume, script, tmp_path, path):
    (tmp_path / "link").symlink_to("/tmp")
    for name in of(script, dict.fromkeys(("model_dir", "answer_cache", "rollout_videos"))):
        with pytest.raises(SystemExit, match=f"^{script}_pokemon.py: models/x_last.pth: its run wrote to --{name[:5]}") as ending:
            resume({name: path})
        assert "\n" not in str(ending.value) and "give that flag again" in str(ending.value)
        assert getattr(resume({name: path}, "--" + name.replace("_", "-"), "/elsewhere"), name) == "/elsewhere"


def test_a_run_goes_on_where_it_wrote(resume, script, tmp_path):
    """Below the working folder, or where the checkpoint itself lies."""
    saved = {"model_dir": str(tmp_path / "far" / ".off")}
    if script == "dagger":
        saved |= {"answer_cache": "own/answers.sqlite", "rollout_videos": "far/films"}
    args = resume(saved, path=str(tmp_path / "far" / ".off" / "x_last.pth"))
    assert {name: getattr(args, name) for name in saved} == saved
    for cache in ("", ".milestone_trainer_cache/answers.sqlite"):
        if script == "dagger":
            assert resume({"answer_cache": cache}).answer_cache == cache


# Names

NO_NAMES = [
    "../../x",
    "/etc/x",
    "a/b",
    "",
    ".",
    "..",
    ".hidden",
    "a\0b",
    "a\nb",
    "\x1b[2J",
    "x" * 201,
    "é" * 101,
    "\ud800",
    None,
    7,
    b"x",
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_plain_name(name):
    assert not is_plain_name(name)
    with pytest.raises(CheckpointError, match="^x.pth: its run_name is .*, which is no plain name") as ending:
        saved_run_name({"run_name": name}, "x.pth")
    assert str(ending.value).isprintable() and len(str(ending.value)) < 200


@pytest.mark.parametrize("name", ["bc_pokemon_1_1764000000", "a b", "ä", "-x", "a..b", "x" * LONGEST_NAME, "C:\\x"])
def test_what_is_one(name):
    assert is_plain_name(name) and saved_run_name({"run_name": name}, "x.pth") == name


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", ""])
def test_a_checkpoint_s_exp_name_is_no_path(resume, script, name):
    with pytest.raises(SystemExit, match="its exp_name is .*, which is no plain name; give --exp-name"):
        resume({"exp_name": name})
    assert resume({"exp_name": name}, "--exp-name", "mine").exp_name == "mine"


def test_what_is_printed_of_a_checkpoint_can_be_printed(resume, capsys):
    resume({"milestone": "\x1b[2J\nfake line", "expert_data_dir": "a b"})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.isprintable() and "--expert-data-dir 'a b'" in line


@pytest.mark.parametrize("flags", [{"expert_data_dir": "x" * 5000}, {"milestone": "a\0b"}])
def test_a_checkpoint_s_texts_are_no_longer_than_a_path(resume, script, flags):
    with pytest.raises(SystemExit, match="in its 'args', .*, which is no text; use another checkpoint") as error:
        resume(flags)
    assert str(error.value).isprintable() and len(str(error.value)) < 300


@pytest.mark.parametrize("name", ["num_threads", "num_envs", "eval_episodes"])
def test_a_checkpoint_s_numbers_are_not_larger_than_the_machine_s(resume, script, name):
    with pytest.raises(SystemExit, match=f"--{name.replace('_', '-')} is {2**70}, but must be at most"):
        resume({name: 2**70})


def test_what_is_typed_to_go_on_is_taken(resume, script, tmp_path):
    """It names all that a checkpoint does not stand in for, and nothing else."""
    settings = {"track": True, "model_dir": "models", "batch_size": 8}
    if script == "dagger":
        settings |= {"policy_dir": "my policies", "answer_cache": "/elsewhere/a.sqlite", "rollout_videos": "films"}
    args = SCRIPTS[script].Args(**settings)
    typed = resume_command(f"{script}_pokemon.py", "models/x_last.pth", args)
    python, name, flag, path, *words = shlex.split(typed)
    assert (python, name, flag, path) == ("python", f"{script}_pokemon.py", "--resume-from", "models/x_last.pth")
    given = {"bc": ["--track"], "dagger": ["--policy-dir", "my policies", "--track", "--answer-cache", "/elsewhere/a.sqlite"]}
    assert words == given[script]
    again = resume(settings, *words)
    assert {name: getattr(again, name) for name in settings} == settings and not not_given_again(again)
