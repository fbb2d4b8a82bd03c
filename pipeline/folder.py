"""A pipeline's folder: whose it is, who may work in it, and what may be deleted there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from common.runtime.files import AlreadyLockedError, exclusive_lock, open_no_link, save_json
from common.runtime.flags import by_place
from common.runtime.main import Stopped, UserError
from common.runtime.plain_names import is_plain_name
from common.runtime.scripts import never
from pokemon_env.bounded_files import read_file

FILMS = ("student_videos", "expert_eval_videos", "dagger_videos")
"""Folders of films; each milestone has one of its own in them."""
SECONDS_FOR_ORPHANS = 90
"""So long is waited for what a killed pipeline left running to save and end."""


class PipelineError(UserError, ValueError):
    """The pipeline can't start; the text says why, and what to do."""


@contextmanager
def locked(path: Path, seconds: float = 0.0, refusal: str = "", should_stop: Callable[[], bool] = never) -> Iterator[IO[str]]:
    """Hold a lock file, which stays for child processes that have it open, too; waits for it for so long.

    Raises PipelineError with `refusal`, and who it is, if somebody else keeps it, and Stopped when `should_stop()` says
    so.
    """

    def stop() -> None:
        if should_stop():
            raise Stopped

    try:
        with exclusive_lock(path, seconds, stop, keep=True) as file:
            yield file
    except AlreadyLockedError as error:
        raise PipelineError(f"{refusal} ({error.holder})") from None


SETTINGS = "pipeline_settings.json"
"""Says whose a folder is."""
_MOST_SETTINGS = 1 << 24  # bytes
SCRIPT = "auto_dagger_pipeline"
"""What the names of all pipelines begin with."""
_NAME = re.compile(rf"{SCRIPT}_\d+_\d+")


def pipeline_to_continue(output: Path, settings: Mapping[str, Any], overwrite: bool) -> str | None:
    """The name of the pipeline that goes on in the folder; None if a new one begins there. Changes nothing.

    Args:
        output: the folder.
        settings: plain data that a pipeline which goes on must have been started with, too; flags by their fields' names.
        overwrite: whatever an earlier pipeline made here is to be thrown away (`claim`).

    Raises PipelineError for a folder with other settings, and for one with a models/ that no pipeline made.
    """
    path = output / SETTINGS
    settings = json.loads(json.dumps(settings))
    if path.is_file() and not overwrite:
        try:
            saved = json.loads(read_file(path, _MOST_SETTINGS))
            before, name = dict(saved["settings"]), saved["name"]
            if not is_plain_name(name) or not _NAME.fullmatch(name):  # it names a folder in runs/, which may be another run's
                raise ValueError(f"its name is {repr(name)[:40]}, which is no pipeline's")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise PipelineError(f"{path} can't be read ({error}); give another --output-dir, or --overwrite") from error
        if newer := [f"--{key.replace('_', '-')}" for key in settings if key not in before]:
            raise PipelineError(
                f"{output} belongs to a pipeline of an older version, which did not have {', '.join(newer)} yet: go on with that "
                "version, or give another --output-dir, or --overwrite without --milestone to throw away all that is there"
            )
        changes = [
            f"--{key.replace('_', '-')} was {before[key]} and is {value}"
            for key, value in settings.items()
            if by_place(before[key]) != value
        ]
        if changes:
            raise PipelineError(
                f"{output} belongs to a pipeline with other settings: {'; '.join(changes)}. Give them as they were, another "
                "--output-dir, or --overwrite without --milestone to throw away all that is there"
            )
        return name
    if not path.is_file() and (output / "models").exists():
        raise PipelineError(f"{output} holds models/ but no {path.name}, so no pipeline made it; choose another --output-dir")
    return None


def claim(output: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Make the folder a new pipeline's, and throw away what an earlier one made here."""
    if (output / SETTINGS).is_file():
        clear(output)
    save_json(output / SETTINGS, {"name": name, "settings": settings})


def clear(output: Path) -> None:
    """Delete what a pipeline made in its folder, and nothing else; the records first, so that none is without its student."""
    _check_links(output)
    for name in ("pipeline_results.csv", "pipeline_results.json", "report.html"):
        (output / name).unlink(missing_ok=True)
    for folder in sorted((output / "models").glob("*")):
        forget(output, folder.name)
    for name in ("models", "logs", *FILMS, "expert_evaluations"):
        shutil.rmtree(output / name, ignore_errors=True)
    for path in output.glob("answers.sqlite*"):
        path.unlink()
    (output / SETTINGS).unlink()  # the last, or the rest would be nobody's


def forget(output: Path, milestone: str) -> None:
    """Delete what was made for a milestone, but for its record and its log."""
    models = output / "models" / milestone
    _check_links(output, milestone)
    with locked(models / ".lock", SECONDS_FOR_ORPHANS, orphans_work(models)):
        for path in models.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != ".lock":  # whoever waits for it shall find the same one
                path.unlink()
        for name in FILMS:
            shutil.rmtree(output / name / milestone, ignore_errors=True)
        (output / "expert_evaluations" / f"{milestone}.json").unlink(missing_ok=True)


def _check_links(output: Path, milestone: str = "*") -> None:
    """Raise PipelineError for a link where something is to be deleted: the folder may be a stranger's, and lead anywhere."""
    for name in ("models", "logs", *FILMS, "expert_evaluations"):
        for path in (output / name, *(output / name).glob(milestone)):
            if path.is_symlink() and path.is_dir():
                raise PipelineError(
                    f"{path}: is a link, and nothing is deleted behind one; remove it, or choose another --output-dir"
                )


def orphans_work(models: Path) -> str:
    """What is said where a killed pipeline's DAgger does not end."""
    return f"{models}: what a killed pipeline left running still works there after {SECONDS_FOR_ORPHANS} s; end it"


def log_of(path: Path) -> IO[str]:
    """Open a milestone's log, to write on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return open_no_link(path, "a")


def films(folder: Path) -> list[Path]:
    """The folder's films, without those that are being written."""
    return sorted(path for path in folder.glob("*.mp4") if not path.name.startswith("."))
