"""Switches with words, and the repository's own files from any folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from common.runtime.flags import parse_command_line, plain_flags
from pipeline.folder import PipelineError, pipeline_to_continue

pytestmark = pytest.mark.usefixtures("forked_scripts")
ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Args:
    save_best: bool = True
    no_doubt: bool = False
    track: bool = False
    seed: int = 7
    milestones: tuple[str, ...] = ()
    rom_path: str = "tallgrass/tallgrass.gb"
    milestone_config: Path = Path("milestone_config.json")


@pytest.fixture
def parse(monkeypatch):
    def parse(*arguments, **settings):
        monkeypatch.setattr(sys, "argv", ["script.py", *map(str, arguments)])
        return parse_command_line(Args, **settings)

    return parse


@pytest.mark.parametrize(
    ("arguments", "save_best", "track"),
    [
        (("--save-best", "False"), False, False),
        (("--save-best=false", "--track=TRUE"), False, True),
        (("--save_best", "no", "--track", "on"), False, True),
        (("--save-best", "0", "--track", "1", "--seed", "1"), False, True),
        (("--no-save-best", "False", "--no-track", "true"), True, False),
        (("--no-save-best", "--track"), False, True),
        (("--milestones", "False", "--save-best", "--seed", "0"), True, False),  # words of other flags are left alone
    ],
)
def test_a_switch_takes_a_word(parse, arguments, save_best, track):
    args = parse(*arguments)
    assert (args.save_best, args.track) == (save_best, track)
    assert args.seed == (int(arguments[-1]) if "--seed" in arguments else 7)
    assert args.milestones == (("False",) if "--milestones" in arguments else ())


def test_a_switch_whose_name_begins_with_no(parse):
    assert parse("--no-doubt", "True").no_doubt and not parse("--no-doubt", "False").no_doubt


@pytest.mark.parametrize("arguments", [("--track", "maybe"), ("--track=maybe",), ("--track", "False", "False")])
def test_what_is_no_word_is_refused(parse, capsys, arguments):
    with pytest.raises(SystemExit):
        parse(*arguments)
    assert "nrecognized" in capsys.readouterr().err


def test_files_of_the_repository_are_found_from_any_folder(parse, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert parse() == Args()
    monkeypatch.chdir(tmp_path)
    args = parse()
    assert args.rom_path == str(ROOT / "tallgrass" / "tallgrass.gb") and args.milestone_config == ROOT / "milestone_config.json"
    assert parse("--rom-path", "other.gb").rom_path == "other.gb"  # an error of the script's that names it
    # A checkpoint of another folder, or machine, names them as well.
    assert plain_flags(args)["rom_path"] == "tallgrass/tallgrass.gb"
    assert parse(default=Args(rom_path="tallgrass/tallgrass.gb")).rom_path == args.rom_path
    (tmp_path / "milestone_config.json").write_text("{}")  # one's own goes first
    assert parse().milestone_config == Path("milestone_config.json")


def test_a_pipeline_goes_on_whichever_way_the_repository_s_files_were_named(tmp_path):
    for path in ("tallgrass/tallgrass.gb", str(ROOT / "tallgrass" / "tallgrass.gb")):
        settings = {"name": "auto_dagger_pipeline_1_1", "settings": {"rom_path": path}}
        (tmp_path / "pipeline_settings.json").write_text(json.dumps(settings))
        assert pipeline_to_continue(tmp_path, {"rom_path": "tallgrass/tallgrass.gb"}, overwrite=False) == "auto_dagger_pipeline_1_1"
        with pytest.raises(PipelineError, match="--rom-path was "):
            pipeline_to_continue(tmp_path, {"rom_path": "other.gb"}, overwrite=False)


def run(folder, *command):
    variables = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120)


def test_scripts_work_in_any_folder(tmp_path):
    flags = "--milestone GAME_RUNNING --tier T0 --n-episodes 2 --num-envs 1 --record-video False"
    recorded = run(tmp_path, ROOT / "collect_expert_data.py", *flags.split())
    assert recorded.returncode == 0, recorded.stderr
    flags = "--num-threads 1 --batch-size 4 --hidden-dim 8 --total-steps 1 --save-frequency 0 --num-envs 1 --eval-episodes 1"
    cloned = run(tmp_path, ROOT / "bc_pokemon.py", *flags.split(), "--best-eval-episodes", 1, "--video=False", "--cuda", "False")
    assert cloned.returncode == 0, cloned.stderr
    last = torch.load(tmp_path / "models" / "bc_pokemon_last.pth")
    assert last["args"]["rom_path"] == "tallgrass/tallgrass.gb" and last["args"]["milestone_config"] == "milestone_config.json"
    assert last["max_steps"] is not None and not list((tmp_path / "runs").rglob("*.mp4"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    models = ["--resume-from", tmp_path / "models" / "bc_pokemon_last.pth", "--eval-only", "--eval-episodes", 1]
    evaluated = run(elsewhere, ROOT / "bc_pokemon.py", *models)
    assert evaluated.returncode == 0, evaluated.stderr
    missing = run(tmp_path, ROOT / "play.py", "--rom-path", "nothing.gb")
    assert missing.stderr == (
        "play.py: there is no ROM file nothing.gb: check the path, or give none for the bundled game (which `make rom` builds).\n"
    )


def with_flags():
    """Every script, tool and benchmark that parses a command line."""
    for path in sorted([*ROOT.glob("*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*.py")]):
        text = path.read_text()
        if re.search(r"^class Args\b", text, re.MULTILINE):
            yield pytest.param(text, id=path.name)


@pytest.mark.parametrize("text", list(with_flags()))
def test_all_command_lines_are_parsed_alike(text):
    assert re.search(r"= parse_command_line\(Args, __doc__\)|return parse_flags\(", text) and "tyro.cli" not in text
