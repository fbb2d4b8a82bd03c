"""Students on disk: which checkpoint belongs to which milestone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.networks import PolicyNetwork, build_network
from common.runtime.checkpoints import CheckpointError, load_checkpoint, shown
from pokemon_env.builds import plays_alike


def find_students(folder: Path, milestones: Sequence[str]) -> dict[str, Path]:
    """Return milestone -> its student's checkpoint.

    That is a pipeline's `models/{ID}/dagger_{ID}_best.pth`, once DAgger has ended, or `{ID}.pth` in the folder itself.

    Raises CheckpointError, which names the milestones that have none.
    """
    found = {}
    for name in milestones:
        for place in (folder / "models" / name, folder / name):
            best = place / f"dagger_{name}_best.pth"
            if best.is_file() and best.with_name(f"dagger_{name}_final.pth").is_file():  # training has ended
                found[name] = best
        if name not in found and (folder / f"{name}.pth").is_file():
            found[name] = folder / f"{name}.pth"
    if missing := [name for name in milestones if name not in found]:
        raise CheckpointError(
            f"{folder} has no student for {', '.join(missing)}: train them with auto_dagger_pipeline.py, or name another folder"
        )
    return found


def load_student(path: Path, milestone: str, rom_sha256: str, buttons: Sequence[str]) -> tuple[PolicyNetwork, bool]:
    """Return a student, and whether it presses its likeliest button.

    Raises CheckpointError for a student of another game or milestone.
    """
    content = load_checkpoint(path)
    for key, wanted in (("milestone", milestone), ("rom_sha256", rom_sha256), ("buttons", list(buttons))):
        has = content.get(key)
        if has is not None and not plays_alike(has, wanted):
            raise CheckpointError(f"{path}: its {key} is {shown(has)}, wanted {wanted}; name another folder with --students")
    if content.get("frame_stack", 1) != 1:
        raise CheckpointError(f"{path}: looks at {content['frame_stack']} screens at once, but chained students see one")
    return build_network(content, path), bool(content.get("deterministic", True))
