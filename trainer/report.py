"""`report.html`: all attempts of a trainer, with plans, differences, reasons and screens. It needs `attempts/` next to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.runtime.files import save_text
from trainer.attempts import folder_of, read_attempt
from trainer.records import TrainerRecords

_ENVIRONMENT = Environment(loader=FileSystemLoader(Path(__file__).resolve().parent), autoescape=True, undefined=StrictUndefined)
"""Everything in the page that a model wrote is escaped."""


def write_report(records: TrainerRecords, model: str, descriptions: Mapping[str, str]) -> Path:
    """Write the page. Returns its path. descriptions: of all milestones."""
    milestones = []
    for name, record in records:
        attempts = [_attempt(records.output, name, one) for one in record["attempts"]]
        best = next((one for one in record["attempts"] if one["number"] == record["best"]), None)
        confirmed = "" if best is None or best["confirmed"] is None else f"{best['confirmed'][0]} of {best['confirmed'][1]}"
        milestones.append(
            {
                "id": name,
                "description": descriptions[name],
                "status": record["status"],
                "attempts": attempts,
                "confirmed": confirmed,
                "tokens_in": f"{record['tokens_in']:,}",
                "tokens_out": f"{record['tokens_out']:,}",
                "dollars": "unknown" if record["dollars"] is None else f"${record['dollars']:.4f}",
            }  # fmt: skip
        )
    path = records.output / "report.html"
    save_text(path, _ENVIRONMENT.get_template("report.html").render(model=model, milestones=milestones))
    return path


def _attempt(output: Path, milestone: str, line: Mapping[str, Any]) -> dict[str, Any]:
    folder = folder_of(output, milestone, line["number"])
    content = read_attempt(folder)
    before = "" if line["parent"] is None else (folder_of(output, milestone, line["parent"]) / "policy.py").read_text()
    code = (folder / "policy.py").read_text()
    failures = [
        {"name": f"{which}, episode {number}", **{key: episode[key] for key in ("kind", "reason", "pictures")}}
        for which in ("trial", "confirmed")
        for number, episode in enumerate((content[which] or {"episodes": []})["episodes"], 1)
        if not episode["success"]
    ]
    return {
        "said": line["said"], "plan": content["plan"], "parent": line["parent"], "failures": failures,
        "folder": folder.relative_to(output).as_posix(), "difference": list(_difference(before, code)),
    }  # fmt: skip


def _difference(before: str, after: str) -> Iterator[dict[str, str]]:
    """Yield the lines of a policy: those that are new against its parent, and those that are gone."""
    old, new = before.splitlines(), after.splitlines()
    if not before:
        yield from ({"kind": "same", "text": line} for line in new)
        return
    # Not `difflib.ndiff`: it looks for alike lines, too, and takes minutes for some hundred of them.
    for change, first, last, begin, end in difflib.SequenceMatcher(None, old, new).get_opcodes():
        if change == "equal":
            yield from ({"kind": "same", "text": f"  {line}"} for line in old[first:last])
        else:
            yield from ({"kind": "del", "text": f"- {line}"} for line in old[first:last])
            yield from ({"kind": "add", "text": f"+ {line}"} for line in new[begin:end])
