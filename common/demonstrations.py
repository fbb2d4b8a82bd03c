"""Demonstrations on disk: one recorded episode per `episode_0001.npz`.

Arrays of a file (T steps):

    observations      (T+1, H, W, 3) uint8   the screens before each step, and the one after the last
    actions           (T,) int64             the label: the expert's button for that screen, -1 where it abstained
    executed_actions  (T,) int64             the button pressed; only there if it can differ (noise, a student)
    optimal           (T,) uint16            the label set: bit i is set if button i lies on a shortest path, as the label does;
                                             0 where it is not known. Only there if the game knows any
    rewards           (T,) float32
    dones             (T,) bool              True at the step that ended the episode (target reached)
    episode_return    () float64
    episode_length    () int64
    metadata          () str                 JSON text: where the episode comes from (see `Episode.metadata`)

Nothing is pickled, and readers never allow pickles, so a file from a stranger can do no harm. Files of older tools
that hold T observations instead of T+1 are read as well; their last action is dropped, because the screen after it is
missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import random
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.runtime.archives import told_damage
from common.runtime.files import is_running, link_complaint, make_folder, name_new_file, named_errors, open_no_link
from common.runtime.flag_types import FlagError
from common.runtime.main import UserError
from common.runtime.npz_files import NpzReader, PickledError, open_npz
from common.runtime.plain_text import LONGEST_TEXT
from common.runtime.seeding import derive
from pokemon_env.builds import plays_alike
from pokemon_env.tiers import DEFAULT_TIER

NO_LABEL = -1
"""The entry of `actions` where the expert gave no answer. Such steps are kept, but never trained on."""

ARRAYS = (
    "observations", "actions", "rewards", "dones", "executed_actions", "optimal", "episode_return", "episode_length", "metadata",
)  # fmt: skip
"""The arrays that a file may hold. A file with any other is refused: if the pressed buttons had another name, the labels would be
taken for them."""

_METADATA: dict[str, tuple[type, ...]] = {
    "milestone": (str,), "seed": (int,), "game": (str,), "rom_sha256": (str,), "buttons": (list,), "noise": (int, float),
    "env": (dict,), "start_state": (str,), "success": (bool,), "versions": (dict,), "recorder": (str,), "tier": (str,),
    "worlds": (str,), "world": (int,), "start_milestone": (str,), "recording": (str,), "first_step": (int,), "steps": (int,),
    "attempt": (int,), "run_seed": (int,),
}  # fmt: skip
"""Key of the metadata -> the types that its value may have, unless it is missing or null."""

_COUNTS = ("attempt", "first_step", "steps")
"""Keys whose values are numbers from 0 on, which are added to."""

_TEXTS = ("milestone", "game", "rom_sha256", "recorder", "tier", "worlds", "start_milestone", "buttons")
"""Keys whose values are shown, and kept in checkpoints, which hold printable texts of no more than LONGEST_TEXT characters."""

_MOST_METADATA = 1 << 24
_MOST_BUTTONS = 1000
_BITS = 16
"""Of a set in `optimal`."""
_FILE_NAME = re.compile(r"episode_(\d+)\.npz")


class DemonstrationError(UserError, ValueError):
    """A demonstration, or a folder of them, that cannot be used; the text names the file, the value and what to do."""


_BY_STEP = ("actions", "rewards", "dones", "executed_actions", "optimal")
"""Fields of an episode with a value for each step."""


@dataclass
class Episode:
    """One recorded episode of T steps.

    `metadata` is plain JSON data. The recorder writes these keys, and readers treat each as optional: `milestone`
    (ID), `seed`, `game` (id), `rom_sha256`, `buttons` (list of names, in the order of the action numbers), `noise`
    (probability of a random action), `env` (the settings of the environment), `start_state` (file name or null),
    `success` (bool), `versions` (package to version) and `recorder` (who played).
    """

    observations: np.ndarray
    """(T+1, H, W, 3) uint8 screens."""
    actions: np.ndarray
    """(T,) int64 labels; -1 (`NO_LABEL`) where the expert abstained."""
    rewards: np.ndarray
    """(T,) float32."""
    dones: np.ndarray
    """(T,) bool."""
    executed_actions: np.ndarray | None = None
    """(T,) int64, the buttons that were pressed; None means the same as `actions`."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """JSON data about the recording."""
    optimal: np.ndarray | None = None
    """(T,) int64 label sets: bit i is set if button i is as good as the label, 0 where that is not known; None: nowhere."""

    def __len__(self) -> int:
        """Return the number of steps, T."""
        return len(self.actions)

    def first(self, steps: int) -> Episode:
        """Return the episode cut off after `steps` steps."""
        cut: dict[str, Any] = {name: None if (values := getattr(self, name)) is None else values[:steps] for name in _BY_STEP}
        return replace(self, observations=self.observations[: steps + 1], **cut)

    def labelled_at(self, steps: np.ndarray) -> Episode:
        """Return the episode with the labels of these steps alone, (n,) int64. What was pressed stays as it is."""
        kept = np.isin(np.arange(len(self)), steps)
        optimal = None if self.optimal is None else np.where(kept, self.optimal, 0)
        return replace(self, actions=np.where(kept, self.actions, NO_LABEL), executed_actions=self.pressed, optimal=optimal)

    @property
    def episode_return(self) -> float:
        return float(np.sum(self.rewards, dtype=np.float64))

    @property
    def pressed(self) -> np.ndarray:
        """The actions that were executed, (T,) int64, whatever the labels are."""
        return self.actions if self.executed_actions is None else self.executed_actions


def episode_files(expert_data_dir: str | os.PathLike) -> list[Path]:
    """Return the `episode_*.npz` files of a folder, sorted by number.

    Raises DemonstrationError if the folder is missing or holds none.
    """
    folder = Path(expert_data_dir)
    if complaint := link_complaint(folder):
        raise DemonstrationError(f"{complaint}; mount it, or name another folder of demonstrations")
    if not folder.is_dir():
        raise DemonstrationError(f"{folder}: no such folder of demonstrations; record some with collect_expert_data.py")
    try:
        os.listdir(folder)  # where it is not ours to read, glob finds nothing
    except OSError as error:
        raise DemonstrationError(f"{folder}: can't be read ({error.strerror}); is it yours to read?") from error
    files = sorted(folder.glob("episode_*.npz"), key=lambda path: (_number(path), path.name))
    if not files:
        under_way = sorted(path.name for path in folder.glob("under_way.*.jsonl"))
        if under_way:
            hint = f" ({under_way[0]} is an unfinished recording: the command that began it resumes it)"
        else:
            below = sorted({str(path.parent) for path in folder.glob("*/episode_*.npz")})
            hint = f", or name a folder in it that does: {', '.join(below[:3])}{', ...' if below[3:] else ''}" if below else ""
        raise DemonstrationError(f"{folder}: holds no episode_*.npz; record some with collect_expert_data.py{hint}")
    return files


def clear_unfinished(expert_data_dir: str | os.PathLike) -> None:
    """Delete the files that killed recorders left half written.

    In another container, or on another machine, a process number says nothing: a recorder that still writes holds a lock.
    """
    for path in Path(expert_data_dir).glob(".recording.*.tmp"):
        pid = path.name.split(".")[2]
        if pid.isdecimal() and not is_running(int(pid)):
            with contextlib.suppress(OSError), open_no_link(path, "r") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)


def next_episode_number(expert_data_dir: str | os.PathLike) -> int:
    """Return the number after the highest one in the folder (which need not exist): 1 for the first."""
    folder = Path(expert_data_dir)
    return max((_number(path) for path in folder.glob("episode_*.npz")), default=0) + 1


def save_episode(expert_data_dir: str | os.PathLike, episode: Episode) -> Path:
    """Write `episode` under the next free number and return the file's path.

    The file appears whole or not at all, and never replaces another, even when two processes record into one folder.
    Raises DemonstrationError if the episode's arrays don't fit together.
    """
    folder = Path(expert_data_dir)
    make_folder(folder)
    _check(episode, "the episode to be saved")
    arrays: dict[str, Any] = {
        "observations": np.asarray(episode.observations, dtype=np.uint8),
        "actions": np.asarray(episode.actions, dtype=np.int64),
        "rewards": np.asarray(episode.rewards, dtype=np.float32),
        "dones": np.asarray(episode.dones, dtype=bool),
        "episode_return": np.float64(episode.episode_return),
        "episode_length": np.int64(len(episode)),
        "metadata": np.array(json.dumps(episode.metadata, sort_keys=True)),
    }
    if episode.executed_actions is not None:
        arrays["executed_actions"] = np.asarray(episode.executed_actions, dtype=np.int64)
    if episode.optimal is not None:
        arrays["optimal"] = np.asarray(episode.optimal, dtype=np.uint16)

    # The number of a process is not enough of a name: containers that share the folder all begin to count at 1.
    temporary = folder / f".recording.{os.getpid()}.{uuid.uuid4().hex}.tmp"
    try:
        with named_errors(folder / f"episode_{next_episode_number(folder):04d}.npz"), open(temporary, "xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            np.savez_compressed(file, **arrays)
            file.flush()
            while not name_new_file(temporary, path := folder / f"episode_{next_episode_number(folder):04d}.npz"):
                pass
            return path
    finally:
        temporary.unlink(missing_ok=True)


def load_episode(path: str | os.PathLike) -> Episode:
    """Read and check one file.

    Raises DemonstrationError (with the file's name) if it is missing, broken or not an episode.
    """
    path = Path(path)
    with _opened(path) as data:
        missing = [key for key in ("observations", "actions", "rewards", "dones") if key not in data]
        if missing:
            raise DemonstrationError(f"{path}: lacks {', '.join(missing)}; it is not an episode of collect_expert_data.py")
        # Checked by the headers alone, so that screens that fit nothing are not unpacked.
        (shape, dtype), steps = data.header("observations"), math.prod(data.header("actions")[0])
        _check_pictures(shape, dtype, steps - (shape[:1] == (steps,)), str(path))
        sides: dict[str, tuple[int, ...]] = {**dict.fromkeys(_BY_STEP, (steps,)), "episode_length": ()}
        for key, wanted in sides.items():
            has, dtype = data.header(key) if key in data else (wanted, np.dtype(int))
            if has != wanted or dtype.kind == "U":
                of = " of text" if dtype.kind == "U" else ""
                raise DemonstrationError(f"{path}: {key} has shape {has}{of}, wanted {wanted}")
        if "episode_length" in data and (length := data["episode_length"].item()) not in (steps, shape[0] - 1):
            raise DemonstrationError(f"{path}: says that it has {length} steps, but has {steps}; record it again")
        episode = Episode(
            observations=data["observations"],
            actions=data["actions"],
            rewards=data["rewards"],
            dones=data["dones"],
            executed_actions=data["executed_actions"] if "executed_actions" in data else None,
            metadata=_metadata(data, path),
            optimal=data["optimal"] if "optimal" in data else None,
        )

    if len(episode.observations) == len(episode.actions) and len(episode) > 0:  # an older tool's file: T observations
        for name in _BY_STEP:
            values = getattr(episode, name)
            setattr(episode, name, None if values is None else values[:-1])
    _check(episode, str(path))
    episode.actions = episode.actions.astype(np.int64)
    episode.rewards = episode.rewards.astype(np.float32)
    episode.dones = episode.dones != 0
    if episode.executed_actions is not None:
        episode.executed_actions = episode.executed_actions.astype(np.int64)
    if episode.optimal is not None:
        episode.optimal = episode.optimal.astype(np.int64)
    return episode


def load_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """Read only a file's metadata, without its screens; {} if it has none.

    Raises DemonstrationError as `load_episode` does.
    """
    with _opened(Path(path)) as data:
        return _metadata(data, Path(path))


def count_steps(path: str | os.PathLike) -> int:
    """Return the number of steps in a file, read without its screens. Raises DemonstrationError as `load_episode` does."""
    return len(_actions(Path(path)))


def count_labelled(path: str | os.PathLike) -> int:
    """Return the number of steps in a file that have a label. Raises DemonstrationError as `count_steps` does."""
    return int(np.count_nonzero(_actions(Path(path)) != NO_LABEL))


def limit_labels(files: Sequence[Path], max_labels: int | None, because: str = "") -> tuple[list[Path], int | None]:
    """Return the first files that together hold `max_labels` labels, and how many steps of the last file to use.

    The number is None if the whole last file is used, as it is with `max_labels` None.

    Raises DemonstrationError if there are fewer labels; it says why so many are wanted, `because`.
    """
    if max_labels is None:
        return list(files), None
    left = max_labels
    for position, path in enumerate(files):
        labelled = np.flatnonzero(_actions(path) != NO_LABEL)
        if len(labelled) >= left:
            return list(files[: position + 1]), int(labelled[left - 1]) + 1
        left -= len(labelled)
    raise DemonstrationError(
        f"{files[0].parent}: holds {max_labels - left} labels, fewer than the {max_labels} wanted{because}; record more with "
        f"collect_expert_data.py --n-labels {max_labels}"
    )


def choose_labels(
    files: Sequence[Path], max_labels: int | None, spread: int = 1, seed: int = 0
) -> tuple[list[Path], dict[Path, int], dict[Path, np.ndarray] | None]:
    """Return which labels of demonstrations are learned from: of the first `max_labels * spread` a random one in `spread`.

    Args:
        files: in order.
        max_labels: how many; None takes all.
        spread: from how many times as many labels they are drawn; 1 takes the first ones as they are.
        seed: of the draw.

    Returns the files, how many steps of some of them to use, and the steps that keep their labels, (n,) int64 for each file; None
    instead of these if all do.

    Raises FlagError for a spread without a number of labels, DemonstrationError if there are too few.
    """
    if spread > 1 and max_labels is None:
        raise FlagError(f"--spread-labels {spread} is of {spread} times --max-labels, which is not given: give it, too")
    because = f", {spread} (--spread-labels) times {max_labels} (--max-labels)" if spread > 1 else ""
    files, last_steps = limit_labels(files, None if max_labels is None else max_labels * spread, because)
    steps_of = {} if last_steps is None else {files[-1]: last_steps}
    if spread == 1 or max_labels is None:
        return files, steps_of, None
    labelled = [np.flatnonzero(_actions(path)[: steps_of.get(path)] != NO_LABEL) for path in files]
    drawn = np.zeros(max_labels * spread, bool)
    drawn[np.random.default_rng(derive(seed, "spread labels")).permutation(len(drawn))[:max_labels]] = True
    ends = np.cumsum([len(steps) for steps in labelled])[:-1]
    return files, steps_of, {
        path: steps[kept] for path, steps, kept in zip(files, labelled, np.split(drawn, ends), strict=True)
    }  # fmt: skip


def holds_sets(path: str | os.PathLike) -> bool:
    """Return whether a file has label sets that are not empty. Raises DemonstrationError as `load_episode` does."""
    with _opened(Path(path)) as data:
        return "optimal" in data and data.header("optimal")[1].kind in "iu" and bool(data["optimal"].any())


def _actions(path: Path) -> np.ndarray:
    with _opened(path) as data:
        if "actions" not in data:
            raise DemonstrationError(f"{path}: lacks actions; it is not an episode of collect_expert_data.py")
        actions = data["actions"]
    if actions.ndim != 1 or not np.issubdtype(actions.dtype, np.integer):
        raise DemonstrationError(f"{path}: actions must be whole numbers from {NO_LABEL} (button numbers)")
    return actions


def common_metadata(metadata: Iterable[tuple[Path, Mapping[str, Any]]], keys: Iterable[str]) -> dict[str, Any]:
    """Return the values of `keys` that a set of episodes agrees on; files that don't carry a key are ignored.

    Args:
        metadata: pairs of file and its metadata.
        keys: for example `("game", "rom_sha256", "buttons")`.

    Raises DemonstrationError naming the first two files that disagree.
    """
    found: dict[str, tuple[Path, Any]] = {}
    for path, entries in metadata:
        for key in keys:
            if key not in entries:
                continue
            first_path, first = found.setdefault(key, (path, entries[key]))
            if not plays_alike(first, entries[key]):
                raise DemonstrationError(
                    f"{first_path.name} has {key} {first!r}, {path.name} has {entries[key]!r}: demonstrations of "
                    f"different games cannot be mixed; put them into folders of their own"
                )
    return {key: value for key, (_, value) in found.items()}


def select_episodes(
    expert_data_dir: str | os.PathLike, milestone: str | None = None, max_episodes: int | None = None
) -> tuple[list[Path], dict[str, Any]]:
    """Return the demonstrations to learn from, and what is known about them.

    Args:
        expert_data_dir: folder with `episode_*.npz`.
        milestone: only those of this milestone.
        max_episodes: only this many (of this milestone), the first ones.

    Returns:
        The files in order, and a dict with `milestone`, `tier` and `worlds` (each None if there are several), `milestones`
        (of each file), `tiers` (tier -> number of files) and, if the files name them, `game`, `rom_sha256` and `buttons`.

    Raises DemonstrationError if there are none, or they are of different games.
    """
    entries = [(path, load_metadata(path)) for path in episode_files(expert_data_dir)]
    if milestone is not None:
        present = sorted({metadata.get("milestone") or "the whole game" for _, metadata in entries})
        entries = [(path, metadata) for path, metadata in entries if metadata.get("milestone") == milestone]
        if not entries:
            meant = [name for name in present if name.lower() == milestone.lower()]
            hint = f"write {meant[0]}" if meant else f"record some with collect_expert_data.py --milestone {milestone}"
            raise DemonstrationError(f"{expert_data_dir}: no demonstrations of {milestone}, only of {', '.join(present)}; {hint}")
    entries = entries[:max_episodes]
    facts = common_metadata(entries, ("game", "rom_sha256", "buttons"))
    for key in ("milestone", "tier", "worlds"):
        found = {metadata.get(key) for _, metadata in entries}
        facts[key] = found.pop() if len(found) == 1 else None
    facts["tiers"] = Counter(metadata["tier"] for _, metadata in entries if metadata.get("tier") is not None)
    facts["milestones"] = [metadata.get("milestone") for _, metadata in entries]
    return [path for path, _ in entries], facts


def say_which_tier(tiers: Mapping[str, int], chosen: str | None) -> None:
    """Print on which tier it is played after demonstrations of several, of which none was chosen."""
    if chosen is None and len(tiers) > 1:
        there = " and ".join(f"{count} of {tier}" for tier, count in sorted(tiers.items()))
        print(f"the demonstrations are of several tiers, {there}: played on {DEFAULT_TIER}; choose with --tier")


def split_episodes(
    files: Sequence[Path], val_fraction: float, seed: int, milestones: Sequence[str | None] | None = None
) -> tuple[list[Path], list[Path]]:
    """Return files for training and for validation, drawn by episode: screens of one episode are too similar to be on both
    sides.

    At least one file of each milestone is for training. At least one is for validation if there are two and `val_fraction`
    is not 0.

    Args:
        files: in order.
        val_fraction: the share that is held out, 0 or more and less than 1.
        seed: of the draw.
        milestones: of each file. Each milestone's episodes are split separately; None splits all together.

    Raises ValueError unless 0 <= val_fraction < 1.
    """
    if not 0 <= val_fraction < 1:
        raise ValueError(f"val_fraction is {val_fraction}, wanted 0 or more and less than 1")
    groups: dict[str | None, list[int]] = {}
    for place, milestone in enumerate([None] * len(files) if milestones is None else milestones):
        groups.setdefault(milestone, []).append(place)
    rng, held_out = random.Random(seed), set()
    for places in groups.values():
        n_val = min(max(round(val_fraction * len(places)), 1), len(places) - 1) if val_fraction > 0 else 0
        held_out.update(rng.sample(places, n_val))
    return [f for i, f in enumerate(files) if i not in held_out], [f for i, f in enumerate(files) if i in held_out]


def copies_held_out(train_files: Sequence[Path], val_files: Sequence[Path]) -> dict[Path, Path]:
    """Return validation file -> the training file that it equals byte for byte.

    Such copies are made by hand, or by merging folders of one seed. They would validate what was memorised.
    """
    sizes = {path: path.stat().st_size for path in (*train_files, *val_files)}
    alike = {sizes[path] for path in train_files} & {sizes[path] for path in val_files}

    def digest(path: Path) -> bytes:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    trained = {digest(path): path for path in train_files if sizes[path] in alike}
    held = {path: digest(path) for path in val_files if sizes[path] in alike}
    return {path: trained[content] for path, content in held.items() if content in trained}


def _number(path: Path) -> int:
    match = _FILE_NAME.fullmatch(path.name)
    return int(match.group(1)) if match else 0


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[NpzReader]:
    """Open a file; any error while it is read becomes a DemonstrationError."""
    broken = "delete it and record it again"
    try:
        with open_npz(path, ARRAYS) as data:
            yield data
    except DemonstrationError:
        raise
    except FileNotFoundError:
        raise DemonstrationError(f"{path}: no such file") from None
    except PickledError as error:
        raise DemonstrationError(
            f"{path}: holds pickled Python objects, which are never loaded because they could run code; {broken}"
        ) from error
    except OSError as error:  # of opening it: what is not ours to read is not to be deleted
        reason = error.strerror or error
        raise DemonstrationError(f"{path}: can't be read ({reason}); is it yours to read, and its disk there?") from error
    except ValueError as error:
        raise DemonstrationError(f"{path}: broken or cut short ({error}); {broken}") from error


def _metadata(data: NpzReader, path: Path) -> dict[str, Any]:
    if "metadata" not in data:
        return {}
    shape, dtype = data.header("metadata")
    if shape != () or dtype.kind != "U" or dtype.itemsize > _MOST_METADATA:
        raise DemonstrationError(f"{path}: its metadata is {str(dtype)[:20]} {str(shape)[:40]}, wanted one text; record it again")
    with told_damage():  # invalid code points crash numpy's own conversion
        text = data["metadata"].tobytes().decode("utf-32-be" if dtype.str[0] == ">" else "utf-32-le").rstrip("\0")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DemonstrationError(f"{path}: its metadata is not JSON ({error}); record it again") from error
    if not isinstance(metadata, dict):
        raise DemonstrationError(f"{path}: its metadata is {text[:40]!r}, not a JSON object; record it again")
    for key, kinds in _METADATA.items():
        value = metadata.get(key)
        if value is not None and (type(value) not in kinds or (type(value) is int and abs(value) >= 1 << 63)):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise DemonstrationError(f"{path}: in its metadata, {key} is {repr(value)[:40]}, wanted {wanted}; record it again")
        if key in _COUNTS and value is not None and not 0 <= value < 1 << 53:
            raise DemonstrationError(f"{path}: in its metadata, {key} is {value}, which it cannot be; record it again")
    names = metadata.get("buttons")
    if "buttons" in metadata and not (names and all(isinstance(name, str) for name in names)):
        raise DemonstrationError(f"{path}: in its metadata, buttons are {str(metadata['buttons'])[:40]}, wanted names")
    for key in _TEXTS:
        for text in names or () if key == "buttons" else [metadata.get(key) or ""]:
            if not text.isprintable() or len(text) > LONGEST_TEXT:
                shown = ascii(text)[:40]
                raise DemonstrationError(f"{path}: in its metadata, {key} is {shown}, wanted printable text; record it again")
    return metadata


def _check_pictures(shape: tuple[int, ...], dtype: np.dtype, steps: int, name: str) -> None:
    """Raise DemonstrationError unless these are the screens of `steps` steps."""
    if steps < 1:
        raise DemonstrationError(f"{name}: has no steps")
    if len(shape) != 4 or shape[-1] != 3 or 0 in shape or dtype != np.uint8:
        raise DemonstrationError(f"{name}: observations are {dtype} {shape}, wanted uint8 (T+1, height, width, 3)")
    if shape[0] != steps + 1:
        raise DemonstrationError(f"{name}: has {shape[0]} observations for {steps} actions, wanted {steps + 1}")


def _check(episode: Episode, name: str) -> None:
    """Raise DemonstrationError unless the arrays of `episode` fit together; `name` says which episode."""
    steps = len(episode.actions)
    _check_pictures(episode.observations.shape, episode.observations.dtype, steps, name)
    for key in _BY_STEP:
        values = getattr(episode, key)
        if values is not None and np.shape(values) != (steps,):
            raise DemonstrationError(f"{name}: {key} has shape {np.shape(values)}, wanted ({steps},)")
    for key in ("rewards", "dones"):
        values = np.asarray(getattr(episode, key))
        if values.dtype.kind not in "biuf" or not np.isfinite(values.astype(np.float32)).all():
            raise DemonstrationError(f"{name}: {key} must be finite numbers")
    for key in ("actions", "executed_actions"):
        values = getattr(episode, key)
        if values is None:
            continue
        lowest = NO_LABEL if key == "actions" else 0
        if not np.issubdtype(np.asarray(values).dtype, np.integer) or np.min(values) < lowest:
            raise DemonstrationError(f"{name}: {key} must be whole numbers from {lowest} (button numbers)")
        if np.max(values) >= _MOST_BUTTONS:  # code that counts buttons makes a table of this length
            raise DemonstrationError(f"{name}: {key} has button {np.max(values)}, but nothing has {_MOST_BUTTONS} buttons")
        buttons = episode.metadata.get("buttons")
        if buttons and np.max(values) >= len(buttons):
            raise DemonstrationError(f"{name}: {key} has button {np.max(values)}, but there are only {len(buttons)} buttons")
    if episode.optimal is not None:
        _check_sets(np.asarray(episode.optimal), episode, name)


def _check_sets(sets: np.ndarray, episode: Episode, name: str) -> None:
    """Raise DemonstrationError unless each of the sets is empty, or one of buttons that has the label in it."""
    if not np.issubdtype(sets.dtype, np.integer) or np.min(sets) < 0:
        raise DemonstrationError(
            f"{name}: optimal are {sets.dtype}, wanted whole numbers from 0 (a bit for each button); record again"
        )
    buttons = episode.metadata.get("buttons")
    n_buttons = min(len(buttons), _BITS) if buttons else _BITS
    if np.max(sets) >> n_buttons:
        raise DemonstrationError(
            f"{name}: optimal has bits beyond those of {n_buttons} buttons ({np.max(sets):#x}); record it again"
        )
    labels = np.asarray(episode.actions)
    has_label = (labels != NO_LABEL) & (sets.astype(np.int64) >> np.clip(labels, 0, _BITS) & 1 == 1)
    if (wrong := np.flatnonzero((sets != 0) & ~has_label)).size:
        step = int(wrong[0])
        raise DemonstrationError(
            f"{name}: at step {step}, the label {labels[step]} is not in its own set of optimal buttons ({int(sets[step]):#b}); "
            "record it again"
        )


def check_demonstrations(folder: str, facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise DemonstrationError if demonstrations are of another game, ROM or buttons, before anything is played."""
    for key in ("game", "rom_sha256", "buttons"):
        has = facts.get(key)
        if has is not None and not plays_alike(has, wanted[key]):
            raise DemonstrationError(
                f"{folder}: recorded with another {key} ({has}, here it is {wanted[key]}); record again, or give the "
                "right ROM with --rom-path"
            )
