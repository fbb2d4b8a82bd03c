"""A page of labelled rows with the expert's reasons: screen, label, the button that was pressed, reason."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.picture_codec import encode_png
from common.runtime.files import save_text
from dagger.data import DaggerData, DaggerDataError


def write_reasons_page(path: Path, output: Path, count: int) -> Path:
    """Write the page. The texts in it are a policy's or a model's, and are escaped. Returns its path.

    Args:
        path: a DAgger data set.
        output: the page's file.
        count: rows on it, at most; they are evenly spread over those that have a reason.

    Raises DaggerDataError for a file that is no data set, or has no reasons.
    """
    with DaggerData(path, "read") as data:
        columns = data.columns(["reason", "label", "action", "kind", "expert"])
        found = np.flatnonzero(columns["reason"] >= 0)
        if not len(found):
            raise DaggerDataError(f"{path}: no row has a reason; experts that are language models give them")
        ids = found[np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)]
        rows = [_row(data, columns, int(row)) for row in ids]
    page = _ENVIRONMENT.get_template("reasons.html").render(path=path, count=len(found), rows=rows)
    save_text(output, page)
    return output


def _row(data: DaggerData, columns: dict[str, np.ndarray], row: int) -> dict[str, Any]:
    label, kind = int(columns["label"][row]), int(columns["kind"][row])
    return {
        "id": row,
        "picture": base64.b64encode(encode_png(data.frames([row])[0])).decode(),
        "label": data.buttons[label] if label >= 0 else f"none: {data.names[kind] if kind >= 0 else 'withdrawn'}",
        "pressed": data.buttons[int(columns["action"][row])],
        "reason": data.names[int(columns["reason"][row])],
        "expert": data.names[int(columns["expert"][row])],
    }


_ENVIRONMENT = Environment(loader=FileSystemLoader(Path(__file__).resolve().parent), autoescape=True, undefined=StrictUndefined)
