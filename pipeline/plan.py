"""Which milestones a pipeline works on."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipeline.folder import PipelineError
from pipeline.records import PipelineRecords


def check_names(
    ids: Sequence[str], config: str, milestone: str | None, resume_from: str | None, skip_milestones: Sequence[str]
) -> None:
    """Raise PipelineError for a flag that names no milestone of `ids`, which the file `config` lists."""
    named = {"--milestone": [milestone], "--resume-from": [resume_from], "--skip-milestones": skip_milestones}
    for flag, names in named.items():
        for name in names:
            if name is not None and name not in ids:
                raise PipelineError(f"{flag}: no milestone {name}; {config} has {', '.join(ids)}")


def plan(
    ids: Sequence[str],
    records: PipelineRecords,
    *,
    milestone: str | None = None,
    resume_from: str | None = None,
    skip_milestones: Collection[str] = (),
) -> tuple[list[str], dict[str, str]]:
    """Return the milestones to work on, and those to be recorded as skipped, with the reason.

    Args:
        ids: all milestones, in the story's order.
        records: their results so far. Completed milestones are not repeated.
        milestone, resume_from, skip_milestones: the flags.
    """
    if milestone is not None:
        record = records.get(milestone)
        return ([] if record is not None and record.status == "completed" else [milestone]), {}
    first = ids.index(resume_from) if resume_from is not None else 0
    todo, skipped = [], {}
    for place, name in enumerate(ids):
        record = records.get(name)
        if record is not None and record.status == "completed":
            continue
        if name in skip_milestones:
            if record is None or record.status == "skipped":  # the reason of a failure is kept
                skipped[name] = "--skip-milestones"
        elif place >= first:
            todo.append(name)
        elif record is None:
            skipped[name] = f"--resume-from {resume_from}"
    return todo, skipped
