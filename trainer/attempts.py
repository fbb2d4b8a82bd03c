"""Attempts on disk: `attempts/{ID}/{NN}/` holds what was asked, what came, and what its trial showed; whole, or not at all.

    prompt.md      the question's text; `sent_{n}.png` are its pictures, in their order
    answer.md      what the model wrote
    policy.py      the file that was tried
    trial.json     the attempt; `frames/` are the screens of its failures
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.runtime.files import atomic_write, save_json, save_text
from common.runtime.flag_types import FlagError
from trainer.feedback import Attempt
from trainer.trial import Episode, Picture, Step, Trial


def folder_of(output: Path, milestone: str, number: int) -> Path:
    """Return where an attempt lies."""
    return output / "attempts" / milestone / f"{number:02d}"


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a trainer's file. Raises FlagError if it is damaged."""
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise FlagError(f"{path}: is damaged ({error}); restore it, or begin again with --overwrite") from error
    if not isinstance(content, dict):
        raise FlagError(f"{path}: is damaged (it is no object); restore it, or begin again with --overwrite")
    return content


def save_question(folder: Path, parts: Sequence[str | np.ndarray]) -> None:
    """Write what is asked: texts as one file, in which pictures are named, and pictures as they are sent."""
    texts, pictures = [], 0
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        else:
            pictures += 1
            _save_picture(folder / f"sent_{pictures}.png", part)
            texts.append(f"![picture {pictures}](sent_{pictures}.png)")
    save_text(folder / "prompt.md", "\n".join(texts) + "\n")


def save_attempt(folder: Path, attempt: Attempt) -> None:
    """Write an attempt, its frames first: one that has its `trial.json` is whole."""
    content: dict[str, Any] = {name: getattr(attempt, name) for name in ("number", "plan", "error", "parent")}
    for name in ("trial", "confirmed"):
        trial: Trial | None = getattr(attempt, name)
        content[name] = None if trial is None else _plain(folder, name, trial)
    save_text(folder / "policy.py", attempt.code)
    save_json(folder / "trial.json", content)


def load_attempt(folder: Path) -> Attempt | None:
    """Return an attempt that was saved; None if there is none, or it was cut short."""
    path = folder / "trial.json"
    if not path.is_file():
        return None
    content = read_json(path)
    trial, confirmed = (None if content[name] is None else _trial(folder, content[name]) for name in ("trial", "confirmed"))
    code = (folder / "policy.py").read_text()
    return Attempt(content["number"], content["plan"], code, content["error"], trial, confirmed, content["parent"])


def _plain(folder: Path, name: str, trial: Trial) -> dict[str, Any]:
    episodes = []
    for number, episode in enumerate(trial.episodes):
        pictures = []
        for picture in episode.pictures:
            file = f"frames/{name}_{number}_{picture.number}.png"
            _save_picture(folder / file, picture.pixels)
            pictures.append({"number": picture.number, "button": picture.button, "file": file})
        episodes.append(episode.record() | {"pictures": pictures, "state": episode.state})
    return {"planned": trial.planned, "successes": trial.successes, "episodes": episodes}


def _trial(folder: Path, content: dict[str, Any]) -> Trial:
    episodes = []
    for one in content["episodes"]:
        steps = [
            Step(**step | {"log": tuple(step["log"]), "position": None if step["position"] is None else tuple(step["position"])})
            for step in one.pop("last")
        ]
        pictures = [
            Picture(picture["number"], picture["button"], np.asarray(Image.open(folder / picture["file"])))
            for picture in one.pop("pictures")
        ]
        episodes.append(Episode(**one, last=steps, pictures=pictures))
    return Trial(episodes, content["planned"])


def _save_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")
