"""A pipeline's folder: which pipeline it belongs to, which process may work in it, and what may be deleted there."""

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
"""Folders of films, each with a folder for every milestone."""
SECONDS_FOR_ORPHANS = 90
"""How long to wait until processes that a killed pipeline left running have saved and ended."""


class PipelineError(UserError, ValueError):
    """The pipeline cannot start; the text says why, and what to do."""


@contextmanager
def locked(path: Path, seconds: float = 0.0, refusal: str = "", should_stop: Callable[[], bool] = never) -> Iterator[IO[str]]:
    """Hold a lock file, waiting up to `seconds` for it. Child processes that have it open may keep the lock for longer.

    Raises PipelineError with `refusal` and the holder if another process keeps it, and Stopped if `should_stop()` is true.
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
"""The file that says which pipeline a folder belongs to."""
_MOST_SETTINGS = 1 << 24  # bytes
SCRIPT = "auto_dagger_pipeline"
"""The beginning of every pipeline's name."""
_NAME = re.compile(rf"{SCRIPT}_\d+_\d+")


def pipeline_to_continue(output: Path, settings: Mapping[str, Any], overwrite: bool) -> str | None:
    """Return the name of the pipeline to resume in the folder; None if a new one begins there. Changes nothing.

    Args:
        output: the folder.
        settings: plain data with which the pipeline to resume must have been started, too; flags by their fields' names.
        overwrite: whether everything that an earlier pipeline made here is to be deleted (`claim`).

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
            raise PipelineError(f"{path} cannot be read ({error}); give another --output-dir, or --overwrite") from error
        if newer := [f"--{key.replace('_', '-')}" for key in settings if key not in before]:
            raise PipelineError(
                f"{output} belongs to a pipeline of an older version, which did not have {', '.join(newer)} yet: continue "
                "with that version, give another --output-dir, or delete all that is there by --overwrite without --milestone"
            )
        changes = [
            f"--{key.replace('_', '-')} was {before[key]} and is {value}"
            for key, value in settings.items()
            if by_place(before[key]) != value
        ]
        if changes:
            raise PipelineError(
                f"{output} belongs to a pipeline with other settings: {'; '.join(changes)}. Give them as they were, give "
                "another --output-dir, or delete all that is there by --overwrite without --milestone"
            )
        return name
    if not path.is_file() and (output / "models").exists():
        raise PipelineError(f"{output} holds models/ but no {path.name}, so no pipeline made it; choose another --output-dir")
    return None


def claim(output: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Assign the folder to a new pipeline, and delete what an earlier one made here."""
    if (output / SETTINGS).is_file():
        clear(output)
    save_json(output / SETTINGS, {"name": name, "settings": settings})


def clear(output: Path) -> None:
    """Delete what a pipeline made in its folder, and nothing else. Records go first, so that none remains without its student."""
    _check_links(output)
    for name in ("pipeline_results.csv", "pipeline_results.json", "report.html"):
        (output / name).unlink(missing_ok=True)
    for folder in sorted((output / "models").glob("*")):
        forget(output, folder.name)
    for name in ("models", "logs", *FILMS, "expert_evaluations"):
        shutil.rmtree(output / name, ignore_errors=True)
    for path in output.glob("answers.sqlite*"):
        path.unlink()
    (output / SETTINGS).unlink()  # last: without it the rest would belong to no pipeline


def forget(output: Path, milestone: str) -> None:
    """Delete what was made for a milestone, except its record and its log."""
    models = output / "models" / milestone
    _check_links(output, milestone)
    with locked(models / ".lock", SECONDS_FOR_ORPHANS, orphans_work(models)):
        for path in models.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != ".lock":  # a process that waits for the lock must find the same file
                path.unlink()
        for name in FILMS:
            shutil.rmtree(output / name / milestone, ignore_errors=True)
        (output / "expert_evaluations" / f"{milestone}.json").unlink(missing_ok=True)


def _check_links(output: Path, milestone: str = "*") -> None:
    """Raise PipelineError for a link where something is to be deleted: in a stranger's folder it may lead anywhere."""
    for name in ("models", "logs", *FILMS, "expert_evaluations"):
        for path in (output / name, *(output / name).glob(milestone)):
            if path.is_symlink() and path.is_dir():
                raise PipelineError(
                    f"{path}: is a link, and nothing is deleted behind one; remove it, or choose another --output-dir"
                )


def orphans_work(models: Path) -> str:
    """Return the message for a killed pipeline's DAgger that does not end."""
    return f"{models}: a process that a killed pipeline left running still works there after {SECONDS_FOR_ORPHANS} s; end it"


def log_of(path: Path) -> IO[str]:
    """Open a milestone's log, to append to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return open_no_link(path, "a")


def films(folder: Path) -> list[Path]:
    """Return the folder's films, without those that are still being written."""
    return sorted(path for path in folder.glob("*.mp4") if not path.name.startswith("."))
