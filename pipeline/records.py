"""The result of each milestone of a pipeline: `pipeline_results.json` and `.csv`, each rewritten atomically after every change."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_type_hints

from common.runtime.files import atomic_write, save_json
from common.runtime.main import UserError
from common.runtime.plain_names import is_plain_name
from common.runtime.plain_text import printable
from common.runtime.value_types import is_of_type
from pokemon_env.bounded_files import read_file

Status = Literal["completed", "failed", "skipped"]
_MOST_BYTES = 1 << 26
_MOST_NUMBER = 1 << 53


class PipelineRecordsError(UserError, ValueError):
    """The records cannot be read; the text names the file, and says what to do."""


@dataclass(frozen=True)
class Record:
    """One milestone. The fields are the CSV's columns, in their order. None is an empty cell there, and null in the JSON file."""

    milestone_id: str
    index: int
    """Its place among the game's milestones, from 0."""
    timestamp: str
    """When the record was made, ISO 8601 in UTC."""
    status: Status
    expert_success_rate: float | None = None
    """Over --eval-episodes episodes."""
    expert_mean_steps: float | None = None
    """Of its successes."""
    max_episode_steps: int | None = None
    """Step limit of the student's episodes: the expert's mean steps times --step-multiplier."""
    dagger_final_success_rate: float | None = None
    """Of the student that DAgger kept, over --test-episodes episodes that it never saw."""
    expert_std_steps: float | None = None
    expert_episodes: int | None = None
    reason: str | None = None
    """Why it failed or was skipped."""
    student_success_low: float | None = None
    """Wilson's 95 % interval of dagger_final_success_rate."""
    student_success_high: float | None = None
    student_mean_steps: float | None = None
    """Of its successes."""
    expert_test_success_rate: float | None = None
    """The expert's success rate on the student's test episodes, within the student's limit."""
    test_episodes: int | None = None
    labels: int | None = None
    """Labels that DAgger queried, including answers from the cache."""
    training_steps: int | None = None
    minutes: float | None = None
    """From the expert's evaluation to the student's. If the pipeline was stopped in between, only those of the last start."""
    student: str | None = None
    """The student's checkpoint, relative to the output folder."""
    run_name: str | None = None
    """DAgger's folder in runs/."""
    videos: tuple[str, ...] = ()
    """Films, relative to the output folder."""


_SHARES = (
    "expert_success_rate", "dagger_final_success_rate", "student_success_low", "student_success_high", "expert_test_success_rate",
)  # fmt: skip
_MEASURED = (
    *_SHARES, "expert_mean_steps", "expert_std_steps", "expert_episodes", "max_episode_steps", "student_mean_steps",
    "test_episodes", "labels", "training_steps", "minutes",
)  # fmt: skip


def now() -> str:
    """Return the current time, as a record holds it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class PipelineRecords:
    """The records in one folder. Every change rewrites both files, each atomically, before it returns.

    Args:
        folder: where `pipeline_results.json` and `pipeline_results.csv` lie, or will.

    Raises PipelineRecordsError for a JSON file that is not a list of records. The CSV file is never read.
    """

    def __init__(self, folder: Path):
        self.json_path, self.csv_path = folder / "pipeline_results.json", folder / "pipeline_results.csv"
        self._records: dict[str, Record] = {}
        if self.json_path.is_file():
            self._records = {record.milestone_id: record for record in _read(self.json_path)}

    def __iter__(self):
        """Iterate over the records in the milestones' order."""
        return iter(sorted(self._records.values(), key=lambda record: (record.index, record.milestone_id)))

    def __len__(self) -> int:
        return len(self._records)

    def get(self, milestone: str) -> Record | None:
        """Return the milestone's record; None if it has none."""
        return self._records.get(milestone)

    def put(self, record: Record) -> None:
        """Add a record, or replace the milestone's."""
        self._records[record.milestone_id] = record
        self.rewrite()

    def drop(self, milestones: Iterable[str]) -> None:
        """Remove the records of these milestones, if they have any."""
        for milestone in milestones:
            self._records.pop(milestone, None)
        self.rewrite()

    def rewrite(self) -> None:
        """Write both files from the current records."""
        rows = [asdict(record) for record in self]
        save_json(self.json_path, rows)
        with (
            atomic_write(self.csv_path) as temporary,
            # A reason may name a path that is not UTF-8.
            temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            # The columns are the record's fields, whatever the first row holds.
            writer = csv.DictWriter(file, [field.name for field in fields(Record)])
            writer.writeheader()
            writer.writerows(row | {"videos": " ".join(row["videos"])} for row in rows)


def _read(path: Path) -> list[Record]:
    try:
        rows = json.loads(read_file(path, _MOST_BYTES))
        return [_record(row) for row in rows]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PipelineRecordsError(f"{path} cannot be read ({error}); move it away, or choose another --output-dir") from error


def _record(row: Mapping[str, Any]) -> Record:
    known = {field.name for field in fields(Record)}  # further columns of a later version are left out
    record = Record(**{name: value for name, value in row.items() if name in known})
    if isinstance(record.videos, list):  # JSON has no tuples
        record = replace(record, videos=tuple(record.videos))
    for name, kind in get_type_hints(Record).items():
        if not is_of_type(getattr(record, name), kind):
            raise ValueError(f"{str(record.milestone_id)[:40]} has the {name} {repr(getattr(record, name))[:40]}")
    if bad := [name for name in (record.milestone_id, record.run_name) if name is not None and not is_plain_name(name)]:
        raise ValueError(f"{bad[0]!r} is no plain name")
    if complaint := _complaint(record):
        raise ValueError(f"{record.milestone_id} has {complaint}")
    for path in (record.student, *record.videos):
        if path is not None and not all(is_plain_name(part) for part in path.split("/")):
            raise ValueError(f"{record.milestone_id} names {path!r}, which is no file below this folder")
    # The words may be a policy's. A lone surrogate cannot be written to the other file.
    reason = None if record.reason is None else printable(record.reason)
    return replace(record, reason=reason, timestamp=printable(record.timestamp))


def _complaint(record: Record) -> str | None:
    """Return in words which of a record's numbers is impossible; None if all are possible."""
    for name in ("index", *_MEASURED):
        value = getattr(record, name)
        if value is not None and not 0 <= value <= (1 if name in _SHARES else _MOST_NUMBER):  # nan is not, either
            return f"the {name} {repr(value)[:40]}"
    if record.dagger_final_success_rate is not None and not record.test_episodes:
        return f"the test_episodes {record.test_episodes}, but a dagger_final_success_rate"
    return None
