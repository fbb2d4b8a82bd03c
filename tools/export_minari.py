#!/usr/bin/env python3
"""Export a DAgger run's data set, or a folder of demonstrations, to Minari, without loss.

    python -m tools.export_minari expert_data --dataset-id tallgrass/clock_set-v0
    python -m tools.export_minari runs/.../data.sqlite --dataset-id tallgrass/dagger-v0 --output-dir exported

Needs `pip install -r requirements-minari.txt`. An episode of T steps has T+1 screens, the T buttons that were pressed, and infos
about the labels with T+1 entries each (the last entry, after the last step, has no label). The infos are `label` (-1 for none),
`status` ("valid", "abstained", "not asked", "withdrawn"), `kind` (of the abstention) and `reason` (in words; a label may have one,
too), both "" for none, `expert`, `optimal` (bit i is set if button i is as good as the label; 0 if the expert gave no set),
`cached`, `source`, `iteration`, `beta`, `world` (-1 for none) and `prev_action`. If the screen after the last step is unknown,
that step is left out.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from common.runtime.flags import parse_command_line


@dataclass
class Args:
    path: tyro.conf.Positional[str]
    """A data set's .sqlite, or a folder with episode_*.npz."""
    dataset_id: str
    """Name in Minari: (namespace/)name-v0."""
    output_dir: str | None = None
    """Folder for Minari's data sets. None takes $MINARI_DATASETS_PATH, or ~/.minari/datasets."""
    milestone: str | None = None
    """Export only the demonstrations of this milestone, of a folder of them. None exports all."""
    author: str | None = None
    """Author of the data, for Minari's metadata. None leaves it out."""
    author_email: str | None = None
    """The author's e-mail address. None leaves it out."""
    code_permalink: str | None = None
    """Link to the code that made the data. None leaves it out."""
    description: str | None = None
    """Description of the data. None describes their kind and milestone."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import gymnasium as gym
import numpy as np

from common.demonstrations import NO_LABEL, count_steps, load_episode, select_episodes
from common.runtime.files import exclusive_lock, named_errors
from common.runtime.main import UserError, run_main
from common.runtime.progress import ProgressReport
from dagger.data import (
    DEMONSTRATION_ITERATION,
    NO_ACTION,
    NOT_RECORDED,
    DaggerData,
    Source,
    Status,
)

if TYPE_CHECKING:
    from minari import MinariDataset
    from minari.data_collector import EpisodeBuffer

_FOLDER_VARIABLE = "MINARI_DATASETS_PATH"
STATUS_NAMES = {
    Status.VALID: "valid", Status.ABSTAINED: "abstained", Status.NOT_ASKED: "not asked", Status.WITHDRAWN: "withdrawn"
}  # fmt: skip


class ExportError(UserError, ValueError):
    """The export cannot be made; the text says what to do."""


@dataclass
class Recording:
    """One episode of T steps, ready to be exported."""

    pictures: np.ndarray
    """(T+1, H, W, 3) uint8."""
    actions: np.ndarray
    """(T,) int64, as pressed."""
    rewards: np.ndarray
    """(T,)."""
    terminated: bool
    """Whether the last step ended it; otherwise it was cut off."""
    seed: int | None
    infos: dict[str, Any]
    """Name -> T values; the names are those of the module's docstring."""


@dataclass
class Contents:
    """What is exported."""

    recordings: Iterator[Recording]
    n_episodes: int
    n_steps: int
    buttons: list[str]
    kind: str
    milestone: str | None


def export(args: Args) -> MinariDataset:
    """Write the Minari data set, an episode at a time, and return it. It gets its place when it is whole.

    Raises ExportError, DaggerDataError, DemonstrationError, and ValueError (Minari's, for a name that it does not accept or
    has already).
    """
    missing = [name for name in ("minari", "h5py") if importlib.util.find_spec(name) is None]
    if missing:
        command = f"{sys.executable} -m pip install -r requirements-minari.txt"
        raise ExportError(f"{' and '.join(missing)} is not installed; install it with: {command}")
    if args.output_dir is not None:
        os.environ[_FOLDER_VARIABLE] = str(Path(args.output_dir).absolute())
    import minari
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage import get_dataset_path

    try:
        parse_dataset_id(args.dataset_id)
    except TypeError as error:  # Minari's, for a name without a version
        raise ExportError(f"--dataset-id {args.dataset_id}: has no version; give {args.dataset_id}-v0") from error

    folder = get_dataset_path(args.dataset_id)
    with exclusive_lock(folder.with_name(f".{folder.name}.lock")):  # a failed export deletes the folder: it must be its own
        if Path(args.path).is_dir():
            return _write(args, read_demonstrations(Path(args.path), args.milestone), minari, folder)
        with DaggerData(args.path, "read") as data:
            if args.milestone not in (None, data.milestone):
                raise ExportError(f"{args.path} is of milestone {data.milestone}, not {args.milestone}; leave --milestone out")
            return _write(args, read_dagger(data), minari, folder)


def _write(args: Args, contents: Contents, minari: Any, folder: Path) -> MinariDataset:
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.namespace import create_namespace, list_local_namespaces

    recording = next(contents.recordings, None)
    if recording is None:
        raise ExportError(f"{args.path}: has no episode with two pictures, so there is nothing to export")
    needed, free = contents.n_steps * recording.pictures[0].nbytes, shutil.disk_usage(_existing(folder)).free
    if needed > free:
        raise ExportError(
            f"the pictures of {args.path} take {needed / 1e9:.1f} GB in Minari, which doesn't compress them without loss, but "
            f"{folder.parent} has {free / 1e9:.1f} GB free; choose another --output-dir, or export less"
        )
    if folder.exists():
        raise ExportError(f"{folder} exists already; choose another --dataset-id, for example the next version, or delete it")
    dataset = None
    what = f"{contents.kind} for {contents.milestone or 'the whole game'}"
    making = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)  # of a killed export: only this process holds the lock
    try:
        with named_errors(folder), _minaris_folder(making), ProgressReport("export", contents.n_episodes) as report:
            while recording is not None:
                buffer = _buffer(recording)
                if dataset is None:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", UserWarning)  # on each entry that is not given
                        dataset = minari.create_dataset_from_buffers(
                            args.dataset_id,
                            [buffer],
                            observation_space=gym.spaces.Box(0, 255, recording.pictures.shape[1:], np.uint8),
                            action_space=gym.spaces.Discrete(len(contents.buttons)),
                            algorithm_name=contents.kind,
                            author=args.author,
                            author_email=args.author_email,
                            code_permalink=args.code_permalink,
                            description=args.description or what,
                            data_format="hdf5",
                            jpeg_encoding=False,  # JPEG, the default, would change every pixel of tile art
                        )
                    dataset.storage.update_metadata({"buttons": contents.buttons, "milestone": contents.milestone})
                else:
                    dataset.update_dataset_from_buffer([buffer])
                report.update(dataset.total_episodes)
                recording = next(contents.recordings, None)
        namespace = parse_dataset_id(args.dataset_id)[0]
        if namespace is not None and namespace not in list_local_namespaces():
            create_namespace(namespace)
        os.rename(making / args.dataset_id, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return minari.load_dataset(args.dataset_id)


@contextlib.contextmanager
def _minaris_folder(path: Path) -> Iterator[None]:
    """Let Minari write into another folder than its own."""
    before = os.environ.get(_FOLDER_VARIABLE)
    os.environ[_FOLDER_VARIABLE] = str(path)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FOLDER_VARIABLE]
        else:
            os.environ[_FOLDER_VARIABLE] = before


def _buffer(recording: Recording) -> EpisodeBuffer:
    from minari.data_collector import EpisodeBuffer

    steps = len(recording.actions)
    terminations, truncations = np.zeros(steps, bool), np.zeros(steps, bool)
    terminations[-1], truncations[-1] = recording.terminated, not recording.terminated
    # The screen after the last step has infos, too, because Minari's infos belong to observations.
    after = {
        "label": NO_LABEL, "status": STATUS_NAMES[Status.NOT_ASKED], "kind": "", "reason": "", "expert": "", "optimal": 0,
        "cached": False, "prev_action": int(recording.actions[-1]),
    }  # fmt: skip
    infos = {}
    for name, values in recording.infos.items():
        last = after.get(name, values[-1])
        infos[name] = [*values, last] if isinstance(values, list) else np.append(values, np.asarray(last, values.dtype))
    return EpisodeBuffer(
        seed=recording.seed,
        observations=recording.pictures,
        actions=recording.actions,
        rewards=recording.rewards,
        terminations=terminations,
        truncations=truncations,
        infos=infos,
    )


def read_demonstrations(folder: Path, milestone: str | None) -> Contents:
    """Return the demonstrations of a folder, read one after the other."""
    files, facts = select_episodes(folder, milestone)
    if not facts.get("buttons"):
        raise ExportError(f"{folder}: its files don't name their buttons, so the meaning of the actions is unknown")

    def recordings() -> Iterator[Recording]:
        for path in files:
            episode = load_episode(path)
            steps, abstained = len(episode), episode.actions == NO_LABEL
            world = episode.metadata.get("world")
            yield Recording(
                pictures=episode.observations,
                actions=episode.pressed,
                rewards=episode.rewards,
                terminated=bool(episode.dones[-1]),
                seed=episode.metadata.get("seed"),
                infos={
                    "label": episode.actions,
                    "status": [STATUS_NAMES[Status.ABSTAINED if flag else Status.VALID] for flag in abstained],
                    "kind": [NOT_RECORDED if flag else "" for flag in abstained],
                    "reason": [""] * steps,
                    "expert": [f"demonstrations by {episode.metadata.get('recorder', 'somebody')}"] * steps,
                    "optimal": np.zeros(steps, np.int64) if episode.optimal is None else episode.optimal,
                    "cached": np.zeros(steps, bool),
                    "source": [Source.DEMONSTRATION.name.lower()] * steps,
                    "iteration": np.full(steps, DEMONSTRATION_ITERATION, np.int32),
                    "beta": np.ones(steps),
                    "world": np.full(steps, -1 if world is None else world, np.int64),
                    "prev_action": np.concatenate([[NO_ACTION], episode.pressed[:-1]]),
                },
            )

    n_steps = sum(count_steps(path) + 1 for path in files)
    return Contents(recordings(), len(files), n_steps, facts["buttons"], "demonstrations", facts["milestone"])


def read_dagger(data: DaggerData) -> Contents:
    """Return the episodes of a data set in order of their numbers, each read when it is needed."""
    # HDF5 holds no text with a zero in it. Number -1, for none, is the last.
    names = [*(name.replace("\0", "\\0") for name in data.names), ""]
    columns = data.columns(
        ("action", "label", "status", "kind", "reason", "expert", "optimal", "cached", "source", "iteration", "beta", "world",
         "seed", "prev_action", "reward", "episode", "step")
    )  # fmt: skip
    order = np.lexsort((columns["step"], columns["episode"]))
    starts = np.flatnonzero(np.diff(columns["episode"][order], prepend=-1))

    def recordings() -> Iterator[Recording]:
        for ids in np.split(order, starts[1:]) if len(order) else []:
            pictures, end = data.frames(ids), data.episode_end(int(columns["episode"][ids[0]]))
            if end is None:
                ids = ids[:-1]
            else:
                pictures = np.concatenate([pictures, end[0][None]])
            if not len(ids):
                continue
            of = {name: values[ids] for name, values in columns.items()}
            seed = int(of["seed"][0])
            infos = {name: of[name] for name in ("label", "optimal", "cached", "iteration", "beta", "world", "prev_action")}
            yield Recording(
                pictures=pictures,
                actions=of["action"].astype(np.int64),
                rewards=of["reward"],
                terminated=end is not None and end[1],
                seed=None if seed < 0 else seed,
                infos={
                    **infos,
                    "status": [STATUS_NAMES[Status(status)] for status in of["status"]],
                    **{name: [names[number] for number in of[name]] for name in ("kind", "reason", "expert")},
                    "source": [Source(source).name.lower() for source in of["source"]],
                },
            )

    return Contents(recordings(), len(starts), len(order) + len(starts), data.buttons, "DAgger", data.milestone)


def _existing(path: Path) -> Path:
    """Return the nearest folder above that exists."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def main(args: Args) -> None:
    dataset = export(args)
    size = sum(path.stat().st_size for path in dataset.storage.data_path.rglob("*") if path.is_file())
    print(
        f"{args.dataset_id}: {dataset.total_episodes} episodes, {dataset.total_steps:,} steps, {size / 1e6:.1f} MB in "
        f"{dataset.storage.data_path}"
    )


if __name__ == "__main__":
    run_main("export_minari.py", lambda: main(args), errors=(ValueError,))
