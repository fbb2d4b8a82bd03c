"""Attempts on disk: `attempts/{ID}/{NN}/` holds what was asked, what came, and what its trial showed; whole, or not at all.

prompt.md      the question's text; `sent_{n}.png` are its pictures, in their order
answer.md      what the model wrote
policy.py      the file that was tried
trial.json     the attempt; `frames/` are the screens of its failures
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agent.llm.prompts import format_state_for_llm
from common.runtime.files import atomic_write, save_json, save_text
from common.runtime.kept_files import KeptFileError, read_kept, read_kept_bytes, wrong_in
from trainer.feedback import Attempt
from trainer.trial import Episode, Picture, Step, Trial

_NONE = type(None)
_EPISODE = {
    "seed": int, "noisy": bool, "success": bool, "steps": int, "kind": str, "reason": str, "abstentions": {"*": int},
    "last": [{
        "number": int, "place": str, "position": (list, _NONE), "facing": str, "text": str, "menu": str, "button": str,
        "drawn": bool, "abstained": str, "log": [str],
    }],
    "pictures": [{"number": int, "button": str, "file": str}], "state": {},
}  # fmt: skip
_TRIAL = {"planned": int, "episodes": [_EPISODE]}
_ATTEMPT = {
    "number": int, "plan": str, "error": str, "parent": (int, _NONE), "trial": (dict, _NONE), "confirmed": (dict, _NONE),
}  # fmt: skip
_FRAME = re.compile(r"frames/\w+\.png")
_MOST_PIXELS = 1024
_INSTEAD = "remove its folder, and its policy is tried again"


def folder_of(output: Path, milestone: str, number: int) -> Path:
    """Return where an attempt lies."""
    return output / "attempts" / milestone / f"{number:02d}"


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
    """Return an attempt that was saved; None if there is none, or it was cut short. Raises KeptFileError for an edited one."""
    if not os.path.lexists(folder / "trial.json"):
        return None
    content = read_attempt(folder)
    try:
        trial, confirmed = (None if content[name] is None else _trial(folder, content[name]) for name in ("trial", "confirmed"))
        code = read_kept_bytes(folder / "policy.py").decode()
        for one in (trial, confirmed):
            for episode in () if one is None else one.episodes:
                _ = episode.state and format_state_for_llm(episode.state)  # it can be told
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise KeptFileError(f"{folder}: is no attempt any more ({error}); {_INSTEAD}") from error
    return Attempt(content["number"], content["plan"], code, content["error"], trial, confirmed, content["parent"])


def read_attempt(folder: Path) -> dict[str, Any]:
    """Return what an attempt's `trial.json` holds. Raises KeptFileError if that cannot be: somebody may have edited it."""
    path = folder / "trial.json"
    content = read_kept(path, _ATTEMPT, _INSTEAD)
    if content is None:
        raise KeptFileError(f"{path}: is not there; {_INSTEAD}")
    trials = [content[name] for name in ("trial", "confirmed") if content.get(name) is not None]
    complaint = next(filter(None, (wrong_in(trial, _TRIAL, "a trial") for trial in trials)), None)
    if complaint is None and not (
        content["number"] == int(folder.name) and (content["parent"] or 0) < content["number"]
        and (content["error"] or content.get("trial")) and all(0 < len(one["episodes"]) <= one["planned"] for one in trials)
        and all(_FRAME.fullmatch(one["file"]) for trial in trials for episode in trial["episodes"] for one in episode["pictures"])
    ):  # fmt: skip
        complaint = "it holds what cannot be"
    if complaint:
        raise KeptFileError(f"{path}: {complaint}; {_INSTEAD}")
    return content


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
            Picture(picture["number"], picture["button"], _load_picture(folder / picture["file"]))
            for picture in one.pop("pictures")
        ]
        episodes.append(Episode(**one, last=steps, pictures=pictures))
    return Trial(episodes, content["planned"])


def _load_picture(path: Path) -> np.ndarray:
    with Image.open(io.BytesIO(read_kept_bytes(path))) as image:
        if image.mode != "RGB" or max(image.size) > _MOST_PIXELS:
            raise ValueError(f"{path.name} is no screen")
        return np.asarray(image)


def _save_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")
