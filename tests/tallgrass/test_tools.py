"""The tools that build the bundled game: the asset compiler and the check of what the compiler made of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TALLGRASS = Path(__file__).resolve().parents[2] / "tallgrass"


def run(tool: str, *flags: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(TALLGRASS / "tools" / tool), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the game's art, maps and texts."""
    for folder in ("art", "data", "maps"):
        shutil.copytree(TALLGRASS / folder, tmp_path / "sources" / folder)
    return tmp_path / "sources"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has changed: look for another place to break"
    path.write_text(text.replace(old, new))


def built(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_sources_give_the_same_files(sources: Path, tmp_path: Path) -> None:
    for out in ("one", "other"):
        done = run("build_assets.py", "--root", sources, "--out", tmp_path / out)
        assert done.returncode == 0, done.stderr
    files = built(tmp_path / "one")
    assert set(files) == {"art.c", "pics.c", "maps.c", "text.c", "data.c", "ids.h"}
    assert files == built(tmp_path / "other")
    run("build_assets.py", "--root", sources, "--out", tmp_path / "one")  # again, over what is there
    assert files == built(tmp_path / "one")


@pytest.mark.skipif(shutil.which("sdcc") is None, reason="SDCC is not installed")
@pytest.mark.skipif(shutil.which("sdcc") and "4.2.0" not in subprocess.getoutput("sdcc --version"), reason="another SDCC")
def test_the_rom_is_that_of_its_sources(tmp_path: Path) -> None:
    command = [TALLGRASS / "tools" / "build_rom.sh", tmp_path / "again.gb"]
    environment = os.environ | {"BUILD": str(tmp_path / "build"), "PYTHON": sys.executable}
    subprocess.run(command, check=True, capture_output=True, timeout=120, env=environment)
    assert (tmp_path / "again.gb").read_bytes() == (TALLGRASS / "tallgrass.gb").read_bytes(), "run `make rom`"


STRANGER = """
[[people]]
at = [{x}, 0]
sprite = "{sprite}"
facing = "down"
movement = "still"
range = 0
script = "T_TOWN_ELDER"
"""
STRANGERS = "".join(STRANGER.format(x=x, sprite=s) for x, s in enumerate(("NURSE", "LEADER", "TRAINER", "RIVAL", "PROF")))
BROKEN = {
    "a line too long": ("data/text.toml", "Do wipe your feet.", "Do wipe your feet, please.", "T_INTRO"),
    "an unknown script": ("maps/town.toml", '"T_SIGN_POND"', '"T_SIGN_LAKE"', "'T_SIGN_LAKE' is unknown"),
    "a row too short": ("maps/bedroom.toml", ".b.789.k", ".b.789.", "row 3 of the layout has 7 letters, row 0 has 8"),
    "a person in a doorway": ("maps/town.toml", "at = [10, 19]", "at = [4, 5]", "stands where one arrives or leaves"),
    "a strip's line too long": ("data/story.toml", '"of PROF YARROW"', '"of PROF M YARROW"', "at most 15 characters"),
    "a mark in a tree": ("maps/route_1.toml", "mark = [8, 17]", "mark = [0, 0]", "the mark at (0, 0) is solid"),
    "a place without a way back": (
        "maps/town_2.toml",
        "T.........,,...........T\nT..f......,,......f....T\nT.........,,S",
        "T.....T...,,...........T\nT..f..T...,,......f....T\nT.....T...,,S",
        "one cannot get back to",
    ),
    "a text too long": ("data/text.toml", "He moves chairs.", "He moves chairs." + "\n\nHe does." * 90, "768 fit"),
    "too many kinds of people": ("maps/town.toml", 'script = "T_TOWN_ELDER"\n', f'script = "T_TOWN_ELDER"\n{STRANGERS}', "8 kinds"),
    "no TOML": ("data/story.toml", "maps = ", "maps == ", "story.toml"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_source_is_told_in_one_line(sources: Path, tmp_path: Path, broken: str) -> None:
    file, old, new, told = BROKEN[broken]
    change(sources / file, old, new)
    done = run("build_assets.py", "--root", sources, "--out", tmp_path / "out")
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert done.stderr.count("\n") == 1 and Path(file).name in done.stderr and told in done.stderr, done.stderr


def test_nobody_may_cut_the_way(sources: Path, tmp_path: Path) -> None:
    town = sources / "maps" / "town.toml"
    change(town, "T........T.,,.T........T", "T........TT,TTT........T")  # the way north is one tile wide
    assert run("build_assets.py", "--root", sources, "--out", tmp_path / "narrow").returncode == 0
    change(town, "at = [12, 13]", "at = [12, 4]")  # and the elder wanders there
    done = run("build_assets.py", "--root", sources, "--out", tmp_path / "out")
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert done.stderr.count("\n") == 1
    assert all(told in done.stderr for told in ("town.toml: the pe", "(12, 4)", "can cut the way", "(11, 2)")), done.stderr


CLEAN = "_main::\n\tscf\n\tccf\n\tpush\taf\n\tld\thl, #0x0001\n\tpush\thl\n\tret\n"


def test_the_compilers_fault_is_found(tmp_path: Path) -> None:
    (tmp_path / "clean.asm").write_text(CLEAN)
    done = run("check_rom.py", "--assembly", tmp_path)
    assert done.returncode == 0 and not done.stderr
    # Blank lines, comments and spaces in between don't hide it.
    (tmp_path / "wrong.asm").write_text(CLEAN + "_other::\n\tscf ; a carry\n\n;a comment\n    push   af\n\tret\n")
    done = run("check_rom.py", "--assembly", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"check_rom.py: {tmp_path / 'wrong.asm'}:12: the compiler pushed a constant wrongly; put it in a variable"
    ]


def test_no_assembly_is_a_fault(tmp_path: Path) -> None:
    done = run("check_rom.py", "--assembly", tmp_path)
    assert done.returncode == 1 and "no assembly (*.asm) to look at" in done.stderr


@pytest.mark.slow
def test_battles_are_measured() -> None:
    done = run("measure_battles.py", "--battles", 3)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "| all | all |" in line]
    assert [row.split(" | ")[0] for row in rows] == ["| RIVAL", "| ROUTE", "| GYM", "| LEADER"]
    assert all(row.split(" | ")[4].startswith(("2/3", "3/3")) for row in rows), done.stdout
