"""Builds of the ROM that play alike: what one made, the other takes."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from common.demonstrations import DemonstrationError, check_demonstrations, common_metadata
from common.runtime.checkpoints import CheckpointError, check_fits
from pokemon_env.builds import plays_alike, same_builds
from pokemon_env.games.tallgrass.benchmark_v1 import ROM_SHA256
from pokemon_env.rom import BUNDLED_ROM
from tools import compare_roms

OLD = "d94e991694def581a668869fe6d9d95404db4e63d716d7c5486fde9c7d734ee3"
FIRST_COMMIT_WITH_OLD = "71d1e0c"


def test_the_bundled_rom_plays_like_the_one_before_it():
    assert hashlib.sha256(BUNDLED_ROM.read_bytes()).hexdigest() == ROM_SHA256
    assert same_builds(OLD) == same_builds(ROM_SHA256) == {OLD, ROM_SHA256}
    assert plays_alike(OLD, ROM_SHA256) and plays_alike(ROM_SHA256, OLD) and plays_alike(OLD, OLD)
    assert not plays_alike(OLD, "0" * 64) and not plays_alike(None, OLD) and not plays_alike(["A"], OLD)
    assert plays_alike(["A"], ["A"]) and same_builds("0" * 64) == {"0" * 64}


def test_what_the_older_build_made_is_taken():
    check_fits({"rom_sha256": OLD}, "x.pth", rom_sha256=same_builds(ROM_SHA256))
    with pytest.raises(CheckpointError, match="x.pth: has rom_sha256 0000.* another build"):
        check_fits({"rom_sha256": "0" * 64}, "x.pth", rom_sha256=same_builds(ROM_SHA256))
    facts = {"game": "tallgrass", "buttons": ["A"], "rom_sha256": OLD}
    check_demonstrations("folder", facts, facts | {"rom_sha256": ROM_SHA256})
    with pytest.raises(DemonstrationError, match="folder: recorded with another rom_sha256"):
        check_demonstrations("folder", facts, facts | {"rom_sha256": "0" * 64})
    mixed = [(Path("a"), facts), (Path("b"), facts | {"rom_sha256": ROM_SHA256})]
    assert common_metadata(mixed, ("game", "rom_sha256"))["rom_sha256"] == OLD
    with pytest.raises(DemonstrationError, match="a has rom_sha256 .*, b has"):
        common_metadata([mixed[0], (Path("b"), facts | {"rom_sha256": "0" * 64})], ("rom_sha256",))


def compare(old: Path, new: Path, **flags: object) -> int:
    return compare_roms.main(compare_roms.Args(old, new, tiers=("T1",), episodes=1, parallel=1, **flags))


def test_two_builds_are_compared_screen_by_screen(tmp_path, capsys):
    """A changed letter is seen, and so is a build that plays otherwise."""
    assert compare(BUNDLED_ROM, BUNDLED_ROM, milestones=("GO_DOWNSTAIRS_TO_1F",)) == 0
    assert "all screens equal" in capsys.readouterr().out
    data = bytearray(BUNDLED_ROM.read_bytes())
    data[data.index(b"GO DOWNSTAIRS")] ^= 1  # of the strip
    other = tmp_path / "other.gb"
    other.write_bytes(data)
    with pytest.raises(compare_roms.RomsDifferError, match=r"T1/GO_DOWNSTAIRS_TO_1F, seed 70000, at the start: \d+ pixels differ"):
        compare(BUNDLED_ROM, other, milestones=("GO_DOWNSTAIRS_TO_1F",))


def test_the_older_build_plays_alike(tmp_path):
    """A few episodes of what `python -m tools.compare_roms` plays whole; its outcome is in tallgrass/README.md."""
    show = ["git", "show", f"{FIRST_COMMIT_WITH_OLD}:tallgrass/tallgrass.gb"]
    shown = subprocess.run(show, cwd=BUNDLED_ROM.parent, capture_output=True)
    if shown.returncode:
        pytest.skip("this clone does not reach back to the older build")
    old = tmp_path / "old.gb"
    old.write_bytes(shown.stdout)
    assert hashlib.sha256(shown.stdout).hexdigest() == OLD
    assert compare(old, BUNDLED_ROM, milestones=("RIVAL_HOUSE", "FIRST_CATCH")) == 0
