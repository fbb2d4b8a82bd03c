"""The data set of one DAgger run: every step that was played or shown, with its picture and where its label comes from.

It is one SQLite file. What belongs to an iteration becomes visible at once, with `commit`; what a process that was killed
had appended after its last commit is gone, and the file can be read. Rows are only ever added behind those that are there,
and a committed row never changes, so an iteration writes no more to a large file than to a small one. Labels of an expert that
was found out are withdrawn: their rows stay, with `Status.WITHDRAWN` and without a label.

Tables (what the columns of `rows` mean is said at `Row`, `Label` and `agent.oracle.Answer`):

    rows           id 0, 1, 2, ... in order of appending; `previous` is the id of the row before in its episode, or its own
    frames         each picture that was seen, once (`common.picture_codec`); frame_keys holds their SHA-256
    snapshots      the memory that the expert reads, deflated, each once; snapshot_keys holds their SHA-256
    names          the words that rows refer to by number: experts, kinds of abstention, reasons
    episode_ends   the picture after an episode's last step, which no row has
    commits        iteration, and how many rows, frames, ... there were with it
    meta           milestone, buttons, ... as JSON
    withdrawn      experts whose labels don't count, with the reason; made when there is one

This is version 2. A file of version 1 has no place for the reason's words: its column `reason` is the kind of abstention. It is
read, and a run that began with one resumes in it and writes version 1, without reasons. It is not upgraded, because what is
committed never changes: the digests in the run's checkpoints still match, and the program that made the file can resume, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from agent.labelling import Label
from agent.oracle import MOST_BUTTONS
from common.demonstrations import NO_LABEL, load_episode
from common.picture_codec import decode_picture, encode_picture, picture_key
from common.runtime.archives import inflate
from common.runtime.main import UserError
from common.runtime.sqlite_files import (
    WITHDRAWN_TABLE,
    add_withdrawn,
    check_schema,
    connect,
    create,
    has_withdrawn,
    header,
    told_errors,
    withdrawn_experts,
)
from dagger.blob_table import BlobTable
from pokemon_env.builds import plays_alike

APPLICATION_ID = 0x54474444
"""What the header of such a file says in its application_id: "TGDD"."""

SCHEMA_VERSION = 2
"""What the header of a new file says in its user_version. Files of `_SCHEMAS` are read and written, others are refused."""

DEMONSTRATION_ITERATION = -1
"""The iteration of demonstrations: before the first one."""

NO_ACTION = -1
"""The previous action of an episode's first row."""

NOT_RECORDED = "not recorded"
"""The kind of the abstentions in demonstrations, whose files don't say why."""


_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE frames (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE frame_keys (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL);
CREATE TABLE snapshots (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE snapshot_keys (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL);
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, previous INTEGER NOT NULL, frame INTEGER NOT NULL, action INTEGER NOT NULL, label INTEGER,
    status INTEGER NOT NULL, kind INTEGER, reason INTEGER, optimal INTEGER, expert INTEGER, cached INTEGER NOT NULL,
    iteration INTEGER NOT NULL, beta REAL NOT NULL, episode INTEGER NOT NULL, step INTEGER NOT NULL, seed INTEGER,
    world INTEGER, prev_action INTEGER NOT NULL, snapshot INTEGER, reward REAL NOT NULL, source INTEGER NOT NULL
);
CREATE TABLE episode_ends (episode INTEGER PRIMARY KEY, frame INTEGER NOT NULL, terminated INTEGER NOT NULL);
CREATE TABLE commits (
    id INTEGER PRIMARY KEY, iteration INTEGER NOT NULL, rows INTEGER NOT NULL, frames INTEGER NOT NULL,
    snapshots INTEGER NOT NULL, names INTEGER NOT NULL, episodes INTEGER NOT NULL
);
"""

_SCHEMAS = {1: _SCHEMA.replace("kind INTEGER, reason INTEGER", "reason INTEGER"), 2: _SCHEMA}

COLUMNS: dict[str, type] = {
    "previous": np.int64, "frame": np.int64, "action": np.int16, "label": np.int16, "status": np.uint8, "kind": np.int32,
    "reason": np.int32, "optimal": np.int64, "expert": np.int32, "cached": np.bool_, "iteration": np.int32,
    "beta": np.float64, "episode": np.int64, "step": np.int32, "seed": np.int64, "world": np.int64, "prev_action": np.int16,
    "snapshot": np.int64, "reward": np.float64, "source": np.uint8,
}  # fmt: skip
"""What `DaggerData.columns` gives, and its dtype. Where the file has NULL, it is -1; in `optimal`, 0. In `kind`, `reason` and
`expert` it is the word's number in `DaggerData.names`.
"""

_AS_NAMED = {name: name for name in COLUMNS}
_STORED = {1: _AS_NAMED | {"kind": "reason", "reason": "NULL"}, 2: _AS_NAMED}
"""Version of a file -> what stands for each of `COLUMNS` in its table `rows`."""

_OF_A_LABEL = ("label", "status", "kind", "reason", "optimal", "expert", "cached")

_NOT_DIGESTED = ("cached", "reason")
"""Columns that `DaggerData.digest` leaves out where it reads the others. Reasons have a part of their own, so that rows without
any have the same digest as in version 1.
"""

_CHUNK = 50_000
_MOST_SNAPSHOT = 1 << 24
"""Bytes of a memory snapshot at most; a Game Boy's take tens of thousands."""


class DaggerDataError(UserError, ValueError):
    """A data set that can't be used, or rows that it can't take; the text names the file, the value and what to do."""


class Status(IntEnum):
    """What is known of a row's label."""

    VALID = 0
    ABSTAINED = 1
    NOT_ASKED = 2
    WITHDRAWN = 3
    """Its expert was found out. Never in the file's `rows`; `DaggerData.columns` says it."""


class Source(IntEnum):
    """Where a row comes from."""

    ROLLOUT = 0
    DEMONSTRATION = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One step: the picture, what was pressed, and what the expert says."""

    observation: np.ndarray
    """(H, W, 3) uint8, the screen before the step."""
    action: int
    """The button pressed."""
    iteration: int
    episode: int
    """The episode's number, at least `DaggerData.next_episode`. All its rows belong to one commit; those of several may
    alternate.
    """
    step: int
    """0, 1, 2, ... within the episode."""
    beta: float = 0.0
    """Probability with which the expert's button was to be pressed."""
    seed: int | None = None
    """Of the episode."""
    world: int | None = None
    """The game's world; None for a game without."""
    prev_action: int = NO_ACTION
    """The button of the step before, which the expert is told; -1 before the first."""
    snapshot: bytes | None = None
    """The memory that the expert reads, so that it can be asked later."""
    label: Label | None = None
    """None if the expert was not asked."""
    reward: float = 0.0
    """Of the step."""
    source: Source = Source.ROLLOUT


@dataclass(frozen=True, slots=True)
class Commit:
    """How many of everything there were with a commit; none with the one before the first."""

    id: int = 0
    rows: int = 0
    frames: int = 0
    snapshots: int = 0
    names: int = 0
    episodes: int = 0


class DaggerData:
    """The data set of one run, for one writer; others may read what is committed meanwhile.

    A writer's own reads see what it has appended and not committed. To be used by one thread at a time, as a context
    manager or with `close`, which drops what is not committed.

    Args:
        path: the file, by custom with the ending .sqlite. Beside it SQLite keeps `-wal` and `-shm` while it is open (and
            after a kill): they belong to it.
        mode: "create" a file that isn't there, "open" one to append to, or "read".
        milestone: id of the milestone that the run learns, None for the whole game. Needed to create; otherwise, if given,
            it must be the file's.
        buttons: their names, in the order of the action numbers. Needed to create; otherwise, if given, they must be the
            file's.
        facts: more that is to be remembered, as JSON data, for example `game` and `rom_sha256`. Demonstrations are held
            against those two.

    Attributes: path, mode, milestone, buttons, facts; `version`, the file's; and `generation`, which changes when rows are dropped:
    what somebody remembers by row or by number of a picture holds only within one.

    Raises DaggerDataError if the file is there (create) or isn't (open, read), is foreign, broken or of another version,
    holds another milestone or other buttons, or is being written by another process.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        mode: Literal["create", "open", "read"] = "open",
        *,
        milestone: str | None | Literal[False] = False,
        buttons: Sequence[str] | None = None,
        facts: Mapping[str, Any] | None = None,
    ):
        if mode not in ("create", "open", "read"):
            raise ValueError(f"mode is {mode!r}, but can be 'create', 'open' or 'read'")
        self.path, self.mode = Path(path), mode
        if mode == "create":
            if milestone is False or not buttons:
                raise ValueError("a new data set needs milestone= and buttons=")
            self._create({"milestone": milestone, "buttons": list(buttons), "facts": dict(facts or {})})
        elif not self.path.is_file():
            hint = "a run without --resume-from makes one" if mode == "open" else "is its name right?"
            raise DaggerDataError(f"{self.path}: no such data set; {hint}")
        with self._errors():
            self._connection = connect(self.path, write=mode != "read", timeout=1.0 if mode != "read" else 30.0)
        self._stat = self.path.stat()
        try:
            with self._errors():
                self._check_header()
                # A writer's lasts until it is closed: there is one. A reader's, that all that follows is of one commit.
                self._connection.execute("BEGIN" if mode == "read" else "BEGIN IMMEDIATE")
                meta = dict(self._connection.execute("SELECT key, value FROM meta"))
                self.milestone, self.buttons, self.facts = (json.loads(meta[key]) for key in ("milestone", "buttons", "facts"))
                self._check_meta()
                self._check_whole()
                self._check_values()
                if mode == "read":
                    self._connection.execute("COMMIT")
            for name, wanted, has in (
                ("milestone", self.milestone if milestone is False else milestone, self.milestone),
                ("buttons", self.buttons if buttons is None else list(buttons), self.buttons),
            ):
                if wanted != has:
                    raise DaggerDataError(f"{self.path}: was made for {name} {has!r}, not {wanted!r}; give another file")
            self._frames = BlobTable(self._connection, "frames", "frame_keys")
            self._snapshots = BlobTable(self._connection, "snapshots", "snapshot_keys")
            self.generation = 0
            self._digested: tuple[Commit, list[Any]] | None = None
            self._previous: np.ndarray
            self._reset()
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            self._connection.close()
            if isinstance(error, DaggerDataError):
                raise
            raise DaggerDataError(f"{self.path}: is damaged ({error!r}); delete it and start over") from error

    # Writing

    def append(self, rows: Iterable[Row]) -> np.ndarray:
        """Add rows, behind those that are there; they count with `commit`.

        Returns their ids, (n,) int64. Raises DaggerDataError for a row that doesn't fit; those before it stay appended.
        """
        self._must_write()
        with self._errors():
            first = self._n_rows
            for row in rows:
                self._append(row)
            return np.arange(first, self._n_rows)

    def set_answers(self, ids: Iterable[int], labels: Iterable[Label]) -> None:
        """Give appended rows the expert's answers, which may come later than the rows, but not later than the commit.

        Raises DaggerDataError for a row that is committed, or isn't there, and for a label that doesn't fit.
        """
        self._must_write()
        with self._errors():
            for row_id, label in zip(ids, labels, strict=True):
                if not self._n_committed <= row_id < self._n_rows:
                    raise DaggerDataError(
                        f"{self.path}: row {row_id} can't be given an answer, only {self._n_committed} to {self._n_rows - 1} "
                        "can: a committed row never changes"
                    )
                values = self._label_values(label)
                changes = ", ".join(f"{self._stored[name]} = ?" for name in values)
                self._connection.execute(f"UPDATE rows SET {changes} WHERE id = ?", (*values.values(), int(row_id)))

    def end_episode(self, episode: int, observation: np.ndarray, terminated: bool) -> None:
        """Keep the picture after the last step of an episode, and whether the step ended it (True) or it was cut off.

        Only an export needs it. Raises DaggerDataError if no row of the episode was appended since the last commit.
        """
        self._must_write()
        if episode not in self._last_rows:
            raise DaggerDataError(f"{self.path}: episode {episode} has no rows since the last commit; append them first")
        if episode in self._ended:
            raise DaggerDataError(f"{self.path}: episode {episode} has been ended already")
        self._ended.add(episode)
        with self._errors():
            values = (int(episode), self._add_frame(observation), int(terminated))
            self._connection.execute("INSERT INTO episode_ends VALUES (?, ?, ?)", values)

    def add_demonstrations(
        self,
        files: Iterable[str | os.PathLike],
        steps_of: Mapping[Path, int] | None = None,
        kept: Mapping[Path, np.ndarray] | None = None,
    ) -> int:
        """Append demonstrations (`episode_*.npz`), as rows of `DEMONSTRATION_ITERATION`; commit them under that number.

        Args:
            files: in the order wanted.
            steps_of: file -> how many of its first steps are added; all of a file that is not named.
            kept: file -> the steps whose labels are taken, (n,) int64; the others are not asked. None takes all of all files.

        Returns the number of rows. Raises DaggerDataError if one is of another milestone, game or buttons, and
        DemonstrationError if one is broken.
        """
        self._must_write()
        before = self._n_rows
        for path in map(Path, files):
            episode = load_episode(path)
            if steps_of is not None and path in steps_of:
                episode = episode.first(steps_of[path])
            metadata = episode.metadata
            ours = {"milestone": self.milestone, "buttons": self.buttons, **self.facts}
            for key in ("milestone", "buttons", "game", "rom_sha256"):
                if key in metadata and key in ours and not plays_alike(metadata[key], ours[key]):
                    raise DaggerDataError(
                        f"{path}: has {key} {metadata[key]!r}, but {self.path} was made for {ours[key]!r}; leave the file out"
                    )
            number = self.next_episode
            expert = f"demonstrations by {metadata.get('recorder', 'somebody')}"
            seed, world = metadata.get("seed"), metadata.get("world")
            sets = [0] * len(episode) if episode.optimal is None else episode.optimal.tolist()
            taken = range(len(episode)) if kept is None else frozenset(kept[path].tolist())
            rows = []
            for step, (action, optimal) in enumerate(zip(episode.actions.tolist(), sets, strict=True)):
                label: Label | None = Label(action, optimal=actions_of(optimal) or None, expert=expert)
                if action == NO_LABEL:
                    label = Label(None, NOT_RECORDED, expert=expert)
                elif step not in taken:
                    label = None
                rows.append(
                    Row(
                        observation=episode.observations[step],
                        action=int(episode.pressed[step]),
                        iteration=DEMONSTRATION_ITERATION,
                        episode=number,
                        step=step,
                        beta=1.0,
                        seed=seed,
                        world=world,
                        prev_action=int(episode.pressed[step - 1]) if step else NO_ACTION,
                        label=label,
                        reward=float(episode.rewards[step]),
                        source=Source.DEMONSTRATION,
                    )
                )
            try:
                self.append(rows)
                self.end_episode(number, episode.observations[len(rows)], bool(episode.dones[-1]))
            except DaggerDataError as error:
                raise DaggerDataError(f"{path}: {error}") from error
        return self._n_rows - before

    def commit(self, iteration: int) -> None:
        """Make all that was appended visible and lasting, at once.

        Raises DaggerDataError if nothing was appended, if rows carry another iteration, or if this one isn't later than the
        last.
        """
        self._must_write()
        self.check_in_place()
        if self._n_rows == self._n_committed:
            raise DaggerDataError(f"{self.path}: nothing was appended, so iteration {iteration} can't be committed")
        if self._iterations != {iteration}:
            raise DaggerDataError(
                f"{self.path}: rows of iterations {sorted(self._iterations)} can't be committed as iteration {iteration}"
            )
        with self._errors():
            last = self._last_commit()
            if last is not None and iteration <= last[0]:
                raise DaggerDataError(f"{self.path}: iteration {iteration} can't be committed after {last[0]}; truncate() first")
            counts = [self._n_rows, *(self._count(table) for table in ("frames", "snapshots", "names")), self.next_episode]
            self._connection.execute(
                "INSERT INTO commits (iteration, rows, frames, snapshots, names, episodes) VALUES (?, ?, ?, ?, ?, ?)",
                (int(iteration), *counts),
            )
            self._connection.execute("COMMIT")
            self._connection.execute("BEGIN IMMEDIATE")
            self._begin()

    def check_in_place(self) -> None:
        """Raise DaggerDataError if the file is no longer the one of its name: what is written then is found by nobody."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(self.path.stat(), self._stat):
                return
        raise DaggerDataError(
            f"{self.path}: was moved, deleted or replaced while this run writes it; put it back where it was, with the checkpoints "
            "next to it, and resume with --resume-from"
        )

    def discard(self) -> None:
        """Drop all that is not committed."""
        self._must_write()
        with self._errors():
            self._connection.execute("ROLLBACK")
            self._connection.execute("BEGIN IMMEDIATE")
            self._reset()

    def truncate(self, n_rows: int) -> None:
        """Return to the commit that ended with `n_rows` rows (0: before the first one), to resume from a checkpoint.

        Raises DaggerDataError if there was no such commit.
        """
        self.discard()
        with self._errors():
            end = self._commit_of(n_rows)
            for table, first in (
                ("rows", n_rows), ("frames", end.frames), ("frame_keys", end.frames), ("snapshots", end.snapshots),
                ("snapshot_keys", end.snapshots), ("names", end.names), ("commits", end.id + 1),
            ):  # fmt: skip
                self._connection.execute(f"DELETE FROM {table} WHERE id >= ?", (first,))
            self._connection.execute("DELETE FROM episode_ends WHERE episode >= ?", (end.episodes,))
            self._connection.execute("COMMIT")
            self._connection.execute("BEGIN IMMEDIATE")
            self._digested = None
            self._reset()

    def withdraw(self, expert: str, reason: str) -> None:
        """Let no label of this expert count any more, those that are committed included; lasting at once.

        Rows that are not committed are dropped.
        """
        self.discard()
        with self._errors():
            add_withdrawn(self._connection, expert, reason)
            self._connection.execute("COMMIT")
            self._connection.execute("BEGIN IMMEDIATE")

    # Reading

    @property
    def withdrawn(self) -> dict[str, str]:
        """expert -> why its labels were withdrawn."""
        with self._errors():
            return withdrawn_experts(self._connection)

    def __len__(self) -> int:
        """Rows, with a writer's own that are not committed."""
        if self.mode == "read":
            with self._errors():
                last = self._last_commit()
            return last[1] if last else 0
        return self._n_rows

    @property
    def n_committed(self) -> int:
        """Rows that are committed: what a checkpoint has to remember for `truncate`."""
        return len(self) if self.mode == "read" else self._n_committed

    @property
    def next_episode(self) -> int:
        """The lowest number that is free for a new episode."""
        if self.mode == "read":
            with self._errors():
                last = self._last_commit()
            return last[2] if last else 0
        return max(self._last_rows, default=self._first_episode - 1) + 1

    @property
    def iterations(self) -> dict[int, int]:
        """iteration -> rows that there were with its commit."""
        with self._errors():
            return dict(self._connection.execute("SELECT iteration, rows FROM commits ORDER BY id"))

    @property
    def names(self) -> list[str]:
        """The words that the columns `kind`, `reason` and `expert` refer to by number."""
        with self._errors():
            return [name for (name,) in self._connection.execute("SELECT name FROM names ORDER BY id")]

    def columns(self, names: Iterable[str], start: int = 0) -> dict[str, np.ndarray]:
        """Columns of the rows from id `start` on, each (n,) with the dtype in `COLUMNS`; a million rows take some MB each.

        A row whose label was withdrawn has `Status.WITHDRAWN`, and no label, optimal set, kind or reason.

        Raises ValueError for a name that is none.
        """
        names = list(names)
        if unknown := [name for name in names if name not in COLUMNS]:
            raise ValueError(f"no columns {unknown}; there are {', '.join(COLUMNS)}")
        n = len(self)
        arrays: dict[str, np.ndarray] = {name: np.empty(max(n - start, 0), COLUMNS[name]) for name in names}
        columns = {name: f"ifnull({self._stored[name]}, {0 if name == 'optimal' else -1})" for name in names}
        if self.withdrawn:
            theirs = "expert IN (SELECT names.id FROM names JOIN withdrawn ON names.name = withdrawn.expert)"
            hidden = {"status": int(Status.WITHDRAWN), "label": -1, "optimal": 0, "kind": -1, "reason": -1}
            for name, value in hidden.items():
                if name in columns:
                    columns[name] = f"CASE WHEN {theirs} THEN {value} ELSE {columns[name]} END"
        wanted = ", ".join(columns[name] for name in names)
        with self._errors():
            cursor = self._connection.execute(
                f"SELECT {wanted or 1} FROM rows WHERE id >= ? AND id < ? ORDER BY id", (int(start), n)
            )
            done = 0
            while chunk := cursor.fetchmany(_CHUNK):
                for name, values in zip(names, zip(*chunk, strict=True), strict=False):
                    arrays[name][done : done + len(chunk)] = values
                done += len(chunk)
        if done != max(n - start, 0):
            raise DaggerDataError(f"{self.path}: is damaged (has {done} rows of {n - start}); delete it and start over")
        return arrays

    def frames(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, H, W, 3) uint8: the pictures of the rows `ids`, in any order, each as often as wanted.

        Raises IndexError for a row that isn't there.
        """
        return self.pictures(self._numbers("frame", ids))

    def pictures(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, H, W, 3) uint8: the pictures with these numbers, which the column `frame` holds."""
        numbers = np.asarray(numbers, np.int64)
        if not len(numbers):
            return np.empty((0, *(self._shape or (0, 0, 3))), np.uint8)
        distinct, places = np.unique(numbers, return_inverse=True)
        with self._errors():
            stored = self._frames.get(distinct)
        if missing := [number for number in distinct.tolist() if number not in stored]:
            raise DaggerDataError(f"{self.path}: is damaged (it has no picture {missing[0]}); delete it and start over")
        try:
            pictures = np.stack([decode_picture(stored[number]) for number in distinct.tolist()])
            if self._shape not in (None, pictures.shape[1:]):
                raise ValueError(f"it is {pictures.shape[1:]}, the first is {self._shape}")
            self._check_keys(self._frames, dict(zip(distinct.tolist(), map(picture_key, pictures), strict=True)))
            return pictures[places]
        except ValueError as error:
            raise DaggerDataError(f"{self.path}: a picture is damaged ({error}); delete the file and start over") from error

    def snapshots(self, ids: Sequence[int] | np.ndarray) -> list[bytes | None]:
        """The memory that the expert reads at the rows `ids`; None where it was not kept."""
        numbers = self._numbers("snapshot", ids).tolist()
        with self._errors():
            stored = self._snapshots.get({number for number in numbers if number >= 0})
        try:
            unpacked = {number: inflate(data, _MOST_SNAPSHOT) for number, data in stored.items()}
            self._check_keys(self._snapshots, {number: hashlib.sha256(data).digest() for number, data in unpacked.items()})
            return [None if number < 0 else unpacked[number] for number in numbers]
        except (KeyError, ValueError) as error:
            raise DaggerDataError(f"{self.path}: a snapshot is damaged ({error!r}); delete the file and start over") from error

    def previous(self, ids: Sequence[int] | np.ndarray, k: int = 1) -> np.ndarray:
        """(n,) int64: the rows k steps before the rows `ids` in their episodes; an episode's first where it is shorter."""
        rows = np.asarray(ids, np.int64)
        if k:
            if len(self._previous) < len(self):
                more = self.columns(["previous"], start=len(self._previous))["previous"]
                self._previous = np.concatenate([self._previous, more])
            for _ in range(k):
                rows = self._previous[rows]
        return rows

    def episode_end(self, episode: int) -> tuple[np.ndarray, bool] | None:
        """What `end_episode` was given: the last picture, and whether the episode ended there; None if nothing was."""
        with self._errors():
            found = self._connection.execute(
                "SELECT frame, terminated FROM episode_ends WHERE episode = ?", (int(episode),)
            ).fetchone()
        return None if found is None else (self.pictures([found[0]])[0], bool(found[1]))

    def digest(self, n_rows: int | None = None) -> str:
        """SHA-256 of all that can be learnt from what is committed: two runs that did the same have the same, whatever was killed
        between.

        For that `cached` doesn't count: a run that was killed after it had asked finds the answers in the cache. Experts whose
        labels were withdrawn do, but not when that was. Reasons do, word for word; rows without any have the same digest in
        both versions. Of a file that another process is writing to, it tells nothing. A writer that asks again reads only what
        came since.

        Args:
            n_rows: up to the commit that ended with this number of rows, withdrawn labels included; all rows by default.

        Raises DaggerDataError if there was no such commit.
        """
        content = ", ".join(self._stored[name] for name in COLUMNS if name not in _NOT_DIGESTED)
        reason = self._stored["reason"]
        with self._errors():
            end = self._commit_of(self.n_committed if n_rows is None else n_rows)
            begin, digests = self._digested or (Commit(), [hashlib.sha256() for _ in range(7)])
            if begin.id > end.id:
                begin, digests = Commit(), [hashlib.sha256() for _ in range(7)]
            self._digested = None  # whatever goes wrong between
            for digest, query, first, last in zip(
                digests,
                (
                    f"SELECT {content} FROM rows WHERE id >= ? AND id < ? ORDER BY id",
                    "SELECT name FROM names WHERE id >= ? AND id < ? ORDER BY id",
                    "SELECT sha256 FROM frame_keys WHERE id >= ? AND id < ? ORDER BY id",
                    "SELECT sha256 FROM snapshot_keys WHERE id >= ? AND id < ? ORDER BY id",
                    "SELECT episode, frame, terminated FROM episode_ends WHERE episode >= ? AND episode < ? ORDER BY episode",
                    "SELECT iteration, rows FROM commits WHERE id > ? AND id <= ? ORDER BY id",
                    f"SELECT id, {reason} FROM rows WHERE id >= ? AND id < ? AND {reason} IS NOT NULL ORDER BY id",
                ),
                *((at.rows, at.names, at.frames, at.snapshots, at.episodes, at.id, at.rows) for at in (begin, end)),
                strict=True,
            ):
                cursor = self._connection.execute(query, (first, last))
                while chunk := cursor.fetchmany(_CHUNK):
                    digest.update("".join(map(repr, chunk)).encode())
        if self.mode != "read":  # a reader's file may be truncated by somebody else
            self._digested = end, digests
        if digests[-1].digest() == hashlib.sha256().digest():  # no row has a reason
            digests = digests[:-1]
        parts = [self.milestone, self.buttons, self.facts, *(digest.hexdigest() for digest in digests)]
        if n_rows is None and (withdrawn := self.withdrawn):
            parts.append(sorted(withdrawn))
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def bytes_on_disk(self) -> int:
        """The file's size in bytes, with that of its write-ahead log."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close the file; what is not committed is dropped. May be called again."""
        self._connection.close()

    def __enter__(self) -> DaggerData:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # Within

    def _errors(self):
        return told_errors(self.path, DaggerDataError, "a data set of DAgger", "delete it and start over")

    def _create(self, meta: dict[str, Any]) -> None:
        if len(meta["buttons"]) > MOST_BUTTONS:
            raise DaggerDataError(f"{len(meta['buttons'])} buttons are more than {MOST_BUTTONS}, the most that fit into a row")
        texts = {key: json.dumps(value, sort_keys=True).replace("'", "''") for key, value in meta.items()}
        script = _SCHEMA + "".join(f"INSERT INTO meta VALUES ('{key}', '{text}');\n" for key, text in texts.items())
        with self._errors():
            made = create(self.path, APPLICATION_ID, SCHEMA_VERSION, script)
        if not made:
            raise DaggerDataError(f"{self.path}: exists already, and a data set is never overwritten; resume it or delete it")

    def _check_header(self) -> None:
        application, version = header(self._connection)
        if application != APPLICATION_ID:
            raise DaggerDataError(f"{self.path}: is an SQLite file, but not a data set of DAgger; give another file")
        if version not in _SCHEMAS:
            known = " and ".join(map(str, _SCHEMAS))
            raise DaggerDataError(
                f"{self.path}: has schema version {version}, this program reads {known}; use the program that made it"
            )
        check_schema(self._connection, _SCHEMAS[version], optional=[WITHDRAWN_TABLE])
        self.version, self._stored = version, _STORED[version]
        self._not_asked: dict[str, int | None] = {name: None for name in _OF_A_LABEL if self._stored[name] != "NULL"}
        self._not_asked |= {"status": int(Status.NOT_ASKED), "cached": 0}

    def _check_meta(self) -> None:
        for name, value, right in (
            ("milestone", self.milestone, self.milestone is None or isinstance(self.milestone, str)),
            ("buttons", self.buttons, isinstance(self.buttons, list) and all(isinstance(name, str) for name in self.buttons)),
            ("facts", self.facts, isinstance(self.facts, dict)),
        ):
            if not right:
                raise DaggerDataError(f"{self.path}: is damaged (its {name} are {str(value)[:40]!r}); delete it and start over")
        if not 0 < len(self.buttons) <= MOST_BUTTONS:
            raise DaggerDataError(f"{self.path}: is damaged (it has {len(self.buttons)} buttons); delete it and start over")

    def _check_values(self) -> None:
        """Raise DaggerDataError if a table holds what this program doesn't write, so that none of it is used as a number of
        something that isn't there. One pass over the rows (a quarter of a second for 100,000)."""
        end = self._commit_of(self._count("rows"))
        button, named = f"BETWEEN 0 AND {len(self.buttons) - 1}", f"BETWEEN 0 AND {end.names - 1}"
        whole = [self._stored[name] for name, dtype in COLUMNS.items() if dtype is not np.float64 and name not in ("seed", "world")]
        kind, reason = self._stored["kind"], self._stored["reason"]
        counted = [field.name for field in fields(Commit)][1:]
        tables = {  # table -> its key, how many rows it should have, and column -> what is right of it
            "rows": ("id", end.rows, {
                "previous": "previous BETWEEN 0 AND id AND (previous = id) = (step = 0)",
                "frame": f"frame BETWEEN 0 AND {end.frames - 1}",
                "action": f"action {button}",
                "status": "status IN (0, 1, 2)",
                "label": f"CASE status WHEN 0 THEN label {button} ELSE label IS NULL END",
                kind: f"CASE status WHEN 1 THEN {kind} {named} ELSE {kind} IS NULL END",
                reason: f"{reason} IS NULL OR status <> 2 AND {reason} {named}",
                "optimal": f"optimal IS NULL OR (optimal BETWEEN 1 AND {(1 << len(self.buttons)) - 1} AND optimal >> label & 1)",
                "expert": f"CASE status WHEN 2 THEN expert IS NULL ELSE expert {named} END",
                "cached": "cached IN (0, 1)",
                "iteration": f"iteration BETWEEN {DEMONSTRATION_ITERATION} AND {2**31 - 1}",
                "beta": "beta BETWEEN 0 AND 1",
                "episode": f"episode BETWEEN 0 AND {end.episodes - 1}",
                "step": f"step BETWEEN 0 AND min(id, {2**31 - 1})",
                "seed": "typeof(seed) IN ('integer', 'null')",
                "world": "typeof(world) IN ('integer', 'null')",
                "prev_action": f"prev_action = {NO_ACTION} OR prev_action {button}",
                "snapshot": f"snapshot IS NULL OR snapshot BETWEEN 0 AND {end.snapshots - 1}",
                "reward": "typeof(reward) = 'real' AND abs(reward) < 1e308",
                "source": "source IN (0, 1)",
                # Text and blobs are above all numbers; a fraction is not, but makes the sum one.
                "one": f"typeof({' + '.join(f'ifnull({name}, 0)' for name in whole)}) = 'integer'",
            }),
            "names": ("id", end.names, {"name": "typeof(name) = 'text'"}),
            "frame_keys": ("id", end.frames, {"sha256": "typeof(sha256) = 'blob' AND length(sha256) = 32"}),
            "snapshot_keys": ("id", end.snapshots, {"sha256": "typeof(sha256) = 'blob' AND length(sha256) = 32"}),
            "episode_ends": ("episode", None, {
                "episode": f"episode BETWEEN 0 AND {end.episodes - 1}",
                "frame": f"typeof(frame) = 'integer' AND frame BETWEEN 0 AND {end.frames - 1}",
                "terminated": "terminated IN (0, 1)",
            }),
            "commits": ("id", None, {
                **{name: f"{name} BETWEEN 0 AND {getattr(end, name)}" for name in counted},
                "one": f"typeof({' + '.join(('iteration', *counted))}) = 'integer'",
            }),
        }  # fmt: skip
        if has_withdrawn(self._connection):
            tables["withdrawn"] = ("id", None, {name: f"typeof({name}) = 'text'" for name in ("expert", "reason", "time")})
        for table, (key, count, columns) in tables.items():
            right = " AND ".join(f"ifnull({condition}, 0)" for condition in columns.values())
            query = f"SELECT {key}, {', '.join(columns.values())} FROM {table} WHERE NOT ({right})"
            wrong = self._connection.execute(query).fetchone()
            if wrong is not None:
                column = next(name for name, right in zip(columns, wrong[1:], strict=True) if not right)
                raise DaggerDataError(
                    f"{self.path}: is damaged ({table}, {key} {wrong[0]}: {column} can't be what it is); delete it and start over"
                )
            if table == "rows":
                self._check_episodes()
            if count is not None and self._connection.execute(f"SELECT count(*), min({key}) FROM {table}").fetchone() != (
                count, 0 if count else None,
            ):  # fmt: skip
                raise DaggerDataError(f"{self.path}: is damaged ({table} lacks some of its {count}); delete it and start over")

    def _check_episodes(self) -> None:
        """Raise DaggerDataError unless the rows of each episode follow one another, from step 0 on."""
        for what, query in {
            "the row before it is of another episode or step":
                "SELECT a.id FROM rows a JOIN rows b ON b.id = a.previous WHERE a.step > 0 AND "
                "(a.episode <> b.episode OR a.step <> b.step + 1)",
            "another is the same step of its episode": "SELECT max(id) FROM rows GROUP BY episode, step HAVING count(*) > 1",
        }.items():  # fmt: skip
            wrong = self._connection.execute(query).fetchone()
            if wrong is not None:
                raise DaggerDataError(f"{self.path}: is damaged (rows, id {wrong[0]}: {what}); delete it and start over")

    def _check_whole(self) -> None:
        """Raise DaggerDataError if the tables end elsewhere than the last commit says: the file was cut short."""
        last = self._connection.execute("SELECT rows, frames, snapshots, names FROM commits ORDER BY id DESC LIMIT 1").fetchone()
        commits = self._connection.execute("SELECT iteration, rows FROM commits ORDER BY id").fetchall()
        if any(values != sorted(set(values)) for values in map(list, zip(*commits, strict=True))):
            raise DaggerDataError(f"{self.path}: is damaged (its commits don't follow one another); delete it and start over")
        if self.mode == "open":  # what is written would else be written over it
            told = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0].splitlines()[-1]
            if told != "ok":
                raise DaggerDataError(f"{self.path}: is damaged ({told[:80]}); delete it and start over")
        found = tuple(self._count(table) for table in ("rows", "frames", "snapshots", "names"))
        self._connection.execute("SELECT data FROM frames ORDER BY id DESC LIMIT 1").fetchone()
        if found != (last or (0, 0, 0, 0)):
            raise DaggerDataError(
                f"{self.path}: is damaged: it has {found} rows, frames, snapshots and names, but should have {last}; delete it "
                "and start over"
            )

    def _count(self, table: str) -> int:
        return self._connection.execute(f"SELECT ifnull(max(id) + 1, 0) FROM {table}").fetchone()[0]

    def _commit_of(self, n_rows: int) -> Commit:
        """Return the commit that ended with this number of rows. Raises DaggerDataError if there was none."""
        if not n_rows:
            return Commit()
        names = ", ".join(field.name for field in fields(Commit))
        made = {row[1]: Commit(*row) for row in self._connection.execute(f"SELECT {names} FROM commits ORDER BY id")}
        if n_rows not in made:
            raise DaggerDataError(
                f"{self.path}: no commit ended with {n_rows} rows, only with {', '.join(map(str, made)) or 'none'}; the "
                "checkpoint belongs to another data set"
            )
        return made[n_rows]

    def _last_commit(self) -> tuple[int, int, int] | None:
        return self._connection.execute("SELECT iteration, rows, episodes FROM commits ORDER BY id DESC LIMIT 1").fetchone()

    def _begin(self) -> None:
        """Be ready for what follows a commit."""
        last = self._last_commit()
        self._n_rows = self._n_committed = last[1] if last else 0
        self._first_episode = last[2] if last else 0
        self._last_rows: dict[int, tuple[int, int]] = {}  # episode -> id and step of its last row; only since the commit
        self._ended: set[int] = set()
        self._iterations: set[int] = set()

    def _reset(self) -> None:
        """Forget what was read before rows were dropped."""
        self.generation += 1
        self._previous = np.empty(0, np.int64)
        self._frames.forget()
        self._snapshots.forget()
        self._name_numbers = {name: number for number, name in enumerate(self.names)}
        first = self._frames.get([0])
        self._shape: tuple[int, ...] | None = decode_picture(first[0]).shape if first else None
        self._begin()

    def _must_write(self) -> None:
        if self.mode == "read":
            raise DaggerDataError(f"{self.path}: was opened to be read; open it with mode='open' to change it")

    def _append(self, row: Row) -> None:
        n_actions = len(self.buttons)
        if not 0 <= row.action < n_actions or not NO_ACTION <= row.prev_action < n_actions:
            raise DaggerDataError(
                f"{self.path}: actions {row.action} and {row.prev_action} (before) are not of 0 to {n_actions - 1} "
                f"({', '.join(self.buttons)})"
            )
        row_id = self._n_rows
        previous, step = self._last_rows.get(row.episode, (row_id, -1))
        if row.step != step + 1 or row.episode < self._first_episode:
            raise DaggerDataError(
                f"{self.path}: step {row.step} of episode {row.episode} can't follow step {step} (-1: none since the last "
                f"commit); new episodes have numbers from {self._first_episode} on, and steps 0, 1, 2, ..."
            )
        label = self._label_values(row.label)
        snapshot = None
        if (memory := row.snapshot) is not None:
            snapshot = self._snapshots.add(hashlib.sha256(memory).digest(), lambda: zlib.compress(memory, 6))
        frame = self._add_frame(row.observation)
        values = (
            row_id, previous, frame, int(row.action), *label.values(), int(row.iteration), float(row.beta), int(row.episode),
            int(row.step), _int_or_none(row.seed), _int_or_none(row.world), int(row.prev_action), snapshot,
            float(row.reward), int(row.source),
        )  # fmt: skip
        self._connection.execute(f"INSERT INTO rows VALUES ({', '.join('?' * len(values))})", values)
        self._last_rows[row.episode] = (row_id, row.step)
        self._iterations.add(row.iteration)
        self._n_rows += 1

    def _label_values(self, label: Label | None) -> dict[str, int | None]:
        """Column -> what the file holds there of a label, in the order of `rows`."""
        values = dict(self._not_asked)
        if label is None:
            return values
        n_actions = len(self.buttons)
        values |= {"expert": self._name(label.expert), "cached": int(label.cached)}
        if label.action is None:
            if not label.kind or label.optimal:
                raise DaggerDataError(f"{self.path}: an abstention needs its kind and has no optimal actions, but it is {label}")
            values |= {"status": int(Status.ABSTAINED), "kind": self._name(label.kind)}
        else:
            if label.kind is not None:
                raise DaggerDataError(f"{self.path}: a label with an action has no kind of abstention, but it is {label}")
            optimal = None if label.optimal is None else {int(action) for action in label.optimal}
            if not all(0 <= action < n_actions for action in {int(label.action), *(optimal or ())}):
                raise DaggerDataError(f"{self.path}: {label} names an action that is not of 0 to {n_actions - 1}")
            if optimal is not None and label.action not in optimal:
                raise DaggerDataError(f"{self.path}: {label} has an action that is not among its optimal ones")
            mask = None if optimal is None else sum(1 << action for action in optimal)
            values |= {"label": int(label.action), "status": int(Status.VALID), "optimal": mask}
        if label.reason is not None and "reason" in values:
            values["reason"] = self._name(label.reason)
        return values

    def _add_frame(self, picture: np.ndarray) -> int:
        if self._shape is not None and picture.shape != self._shape:
            raise DaggerDataError(f"{self.path}: a picture has shape {picture.shape}, but those before have {self._shape}")
        try:
            number = self._frames.add(picture_key(picture), lambda: encode_picture(picture))
        except ValueError as error:
            raise DaggerDataError(f"{self.path}: {error}") from error
        self._shape = picture.shape
        return number

    def _name(self, name: str) -> int:
        number = self._name_numbers.get(name)
        if number is None:
            number = len(self._name_numbers)
            self._connection.execute("INSERT INTO names VALUES (?, ?)", (number, name))
            self._name_numbers[name] = number
        return number

    def _check_keys(self, table: BlobTable, found: Mapping[int, bytes]) -> None:
        """Raise ValueError unless each blob is the one that the file's digest, which holds the keys, was made of."""
        with self._errors():
            foreign = table.foreign(found)
        if foreign is not None:
            raise ValueError(f"number {foreign} is another one than its SHA-256 says")

    def _numbers(self, column: str, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n,) int64: a column's values at the rows `ids`. Raises IndexError for a row that isn't there."""
        wanted = [int(row_id) for row_id in ids]
        with self._errors():
            found = dict(
                self._connection.execute(
                    f"SELECT id, ifnull({column}, -1) FROM rows WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(wanted),)
                )
            )
        if missing := [row_id for row_id in wanted if row_id not in found]:
            raise IndexError(f"{self.path}: has no row {missing[0]}, only 0 to {len(self) - 1}")
        return np.array([found[row_id] for row_id in wanted], np.int64)


def _int_or_none(value: int | None) -> int | None:
    return None if value is None else int(value)


def actions_of(mask: int) -> tuple[int, ...]:
    """The actions in a set of the column `optimal`."""
    return tuple(action for action in range(MOST_BUTTONS) if int(mask) >> action & 1)
