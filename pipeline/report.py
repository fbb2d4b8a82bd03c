"""`report.html`: what a pipeline has made, in one file that needs only the films next to it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.runtime.checkpoints import package_versions
from common.runtime.files import save_text
from common.runtime.logs import hyperparameter_rows
from common.statistics import percent
from pipeline.records import Record, now

CURVES = {"rollout/success_rate": "rollouts", "eval/success_rate": "evaluations", "candidate/success_rate": "closer evaluations"}
"""The scalars of a run's logs that are drawn, and their names in the report."""
WIDTH, HEIGHT = 320, 120
"""Size of a curve, in pixels."""
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["percent"] = lambda share: "" if share is None else percent(share)
_ENVIRONMENT.filters["one_decimal"] = lambda value: "" if value is None else f"{value:.1f}"


def write_report(
    output: Path, name: str, args: Any, records: Iterable[Record], descriptions: Mapping[str, str], runs_dir: Path = Path("runs")
) -> Path:
    """Write the report atomically.

    Args:
        output: the pipeline's folder.
        name: the pipeline's.
        args: its flags, a dataclass.
        records: the results of the milestones that are done.
        descriptions: of all milestones, in their order.
        runs_dir: the folder from which the learning curves are read.

    Returns its path.
    """
    by_id = {record.milestone_id: record for record in records}
    milestones = []
    for index, (milestone, description) in enumerate(descriptions.items()):
        record = by_id.get(milestone)
        curves = {} if record is None or record.run_name is None else read_curves(runs_dir / record.run_name)
        milestones.append(
            {
                "id": milestone,
                "index": index + 1,
                "description": description,
                "record": record,
                "curves": svg_curves(curves),
                "steps": max((step for points in curves.values() for step, _ in points), default=0),
                "videos": [] if record is None else [video for video in record.videos if (output / video).is_file()],
            }
        )
    statuses = [record.status for record in by_id.values()]
    html = _ENVIRONMENT.get_template("report.html").render(
        name=name,
        written=now(),
        milestones=milestones,
        counts={status: statuses.count(status) for status in ("completed", "failed", "skipped")},
        missing=len(descriptions) - len(by_id),
        settings=hyperparameter_rows(dataclasses.asdict(args)),
        versions=package_versions(),
        width=WIDTH,
        height=HEIGHT,
    )
    path = output / "report.html"
    save_text(path, html)
    return path


def read_curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return name -> (training step, value) pairs of what a run logged; {} if it logged nothing, or if a log is not a file.

    A run that was stopped and resumed may have two values at one step. The later one counts.
    """
    if not run.is_dir() or not all(path.is_file() for path in run.glob("*tfevents*")):  # reading a pipe would block
        return {}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of steps that occur twice
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    there = events.Tags()["scalars"]
    curves = {}
    for tag, name in CURVES.items():
        if tag in there:
            values = {event.step: event.value for event in events.Scalars(tag)}
            curves[name] = sorted(values.items())
    return curves


def svg_curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> list[dict[str, Any]]:
    """Return the curves in a picture's coordinates: for each its name, and its points as (x, y, step, share)."""
    longest = max((step for points in curves.values() for step, _ in points), default=0) or 1
    return [
        {"name": name, "points": [(WIDTH * step / longest, HEIGHT * (1 - value), step, value) for step, value in points]}
        for name, points in curves.items()
    ]
