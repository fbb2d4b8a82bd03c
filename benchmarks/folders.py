"""What the tables share: their rows, the folders that they may empty, and an end that leaves no process running."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from common.episodes import Evaluation
from common.runtime.files import exclusive_lock, save_text
from common.runtime.kept_files import wrong_in
from common.runtime.main import run_main
from common.runtime.scripts import ROOT, ScriptFailed
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games.tallgrass.benchmark_v1 import NotTallgrassV1

NUMBER = (int, float)
SUMMARY = {
    "episodes": int, "successes": int, "mean_steps": (*NUMBER, type(None)), "std_steps": (*NUMBER, type(None)),
    "max_steps_taken": (int, type(None)),
}  # fmt: skip
"""The types in what `summary` returns, for `check_kept`."""
PLAY_SOURCES = ("agent/**/*.py", "cloning/*.py", "common/**/*.py", "dagger/*.py", "tasks/*.py", "pokemon_env/**/*.py")
"""Files that may change how an episode is played, besides the ROM and the policies."""


def summary(result: Evaluation) -> dict[str, Any]:
    """Return what a table needs of an evaluation, in plain types. Steps are those of the successes."""
    lengths = [episode.length for episode in result.episodes if episode.success]
    return {
        "episodes": result.n_episodes,
        "successes": result.successes,
        "interval": list(result.success_interval),
        "mean_steps": float(np.mean(lengths)) if lengths else None,
        "std_steps": float(np.std(lengths)) if lengths else None,
        "max_steps_taken": max(lengths, default=None),
        "failed_seeds": [episode.seed for episode in result.episodes if not episode.success],
    }


def source_files(*patterns: str) -> list[Path]:
    """Return the repository's files that match these patterns, sorted."""
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def fingerprint(settings: Any, files: Iterable[str | os.PathLike]) -> str:
    """Return a hash that changes with the settings (plain data) and the content of the files.

    Results with the same fingerprint need not be made again.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in map(Path, files):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def check_own_folder(folder: Path, marker: str) -> None:
    """Raise ValueError unless `folder` is missing, empty, or carries `marker`, which says that a benchmark made it."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; choose another --output-dir")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / marker).is_file():
        hint = "it stays as it is; empty it, or choose another --output-dir"
        raise ValueError(f"{folder} is not empty and has no {marker}, so no benchmark made it: {hint}")


def own_folder(folder: Path, marker: str, key: str, fresh: bool = False) -> None:
    """Make `folder` ready for results with the fingerprint `key`, kept in its file `marker`.

    What an earlier run with another key made there is deleted; with `fresh`, whatever an earlier run made. Raises ValueError,
    and deletes nothing, where `check_own_folder` raises it.
    """
    check_own_folder(folder, marker)
    path = folder / marker
    if path.is_file() and path.read_bytes() == key.encode() and not fresh:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name == marker:  # deleted last: a partly emptied folder is still known as the benchmark's own
            continue
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()
    save_text(path, key)


def claim_folder(folder: Path, marker: str, key: str, fresh: bool) -> None:
    """Make a folder ready whose content took hours: what was made with another key is deleted only with `fresh`.

    What was made with the same key stays even then, so that a stopped command resumes also if it was given --fresh. Raises
    ValueError where it would have to delete something without `fresh`, and where `check_own_folder` raises it.
    """
    check_own_folder(folder, marker)
    path = folder / marker
    if path.is_file() and path.read_bytes() != key.encode() and not fresh:
        raise ValueError(
            f"{folder} was made with other settings, another game or other code; give another --output-dir, or --fresh to "
            "delete what is there"
        )
    own_folder(folder, marker, key)


def kept_result(path: Path) -> dict[str, Any]:
    """Return the result that a command has kept in a file: a JSON object; {} without a file. Raises ValueError for others."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no result ({error}); remove it, or choose another --output-dir") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no result but {str(content)[:40]!r}; remove it, or choose another --output-dir")
    return content


def check_kept(row: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Raise ValueError if a kept result, which somebody may have edited, holds other types than it should.

    Args:
        wanted: types, as in `wrong_in`.
        path: of the file, for the message.
    """
    if complaint := wrong_in(row, wanted, "it"):
        raise ValueError(f"{path} is no result ({complaint}); remove it, and it is made again, or choose another --output-dir")


def known_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Return milestone -> row of a table's JSON file, {} without a file. Raises ValueError if it is no table of milestones.

    The file holds a list of rows, or a dictionary with such a list as "milestones".
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
        return {row["milestone"]: row for row in (content["milestones"] if isinstance(content, dict) else content)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no table of milestones ({error!r}); remove it, or choose another --output-dir") from error


def run_table(script: str, main: Callable[[], int], output: str | os.PathLike | None = None) -> NoReturn:
    """Run a table's `main` as `run_main` does. SIGTERM and SIGHUP end it as Ctrl-C does, so that what it started is ended, too.

    With `output` (a folder, or the beginning of its tables' names), another run of the script that writes there is refused: each
    would delete the other's files, or write its rows into a table that lacks the other's. The lock lies next to `output`, because
    a benchmark may only empty a folder of its own.
    """

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    def alone() -> int:
        with ExitStack() as held:
            if output is not None:
                place = Path(output).absolute()
                held.enter_context(exclusive_lock(place.with_name(f".{place.name}.{script}.lock")))
            try:
                return main()
            except ScriptFailed as error:
                raise ScriptFailed(f"{error}; once that is fixed, run the same command again to resume") from error

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    errors = (PokemonEnvError, NotTallgrassV1, ValueError)
    run_main(script, alone, errors=errors, interrupted="stopped; to resume, run the same command again")
