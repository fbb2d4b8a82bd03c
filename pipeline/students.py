"""The students that a pipeline has made: whether they exist, and belong to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from common.runtime.checkpoints import CheckpointError, check_fits, load_checkpoint, saved_run_name, shown
from pipeline.records import Record
from pokemon_env.builds import same_builds
from pokemon_env.games.base import Game


def check_student(best: Path, final: Path, milestone: str, game: Game, rom_sha256: str) -> None:
    """Raise CheckpointError unless DAgger's two checkpoints are of one run, and of this game and milestone."""
    wanted = {"algorithm": "dagger", "milestone": milestone, "game": game.id, "buttons": list(game.buttons)}
    contents = {path: load_checkpoint(path) for path in (best, final)}
    for path, content in contents.items():
        check_fits(content, path, rom_sha256=same_builds(rom_sha256), **wanted)
    if len({saved_run_name(content, path) for path, content in contents.items()}) > 1:
        raise CheckpointError(f"{best}: is of another run than {final.name}; put the right one there, or give --overwrite")
    counts = {"labels": (contents[final].get("labels") or {}).get("labels"), "step": contents[final].get("global_step")}
    for name, value in counts.items():
        if type(value) is not int or not 0 <= value < 1 << 53:
            raise CheckpointError(f"{final}: its number of {name}s is {shown(value)}; use another checkpoint")


def run_name_of(checkpoint: Path) -> str | None:
    """Return the run of a checkpoint, for the learning curve of a failed milestone; None without a usable checkpoint."""
    try:
        return saved_run_name(load_checkpoint(checkpoint), checkpoint)
    except CheckpointError:
        return None


def students_gone(records: Iterable[Record], output: Path) -> list[str]:
    """Return a line for each milestone whose record names a student that does not exist any more."""
    kept = [(one.milestone_id, output / one.student) for one in records if one.status == "completed" and one.student]
    return [
        f"{milestone}: completed, but its student is gone ({student}): put it back, or make it again with "
        f"--milestone {milestone} --overwrite"
        for milestone, student in kept
        if not student.is_file()
    ]
