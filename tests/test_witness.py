"""The witness' values: what short runs of collecting, cloning and DAgger came to is what they come to now, to the bit.

The values are those of another CPU's or torch's arithmetic where these differ, and then the test is skipped by name. They change
when a run is meant to come to something else; this writes them anew, on the machine that is to hold them:

    python -m tools.witness --output tests/fixtures/witness/values.json

To hold a change against the code before it, on any machine: python -m tools.witness --compare FOLDER_OF_A_CHECKOUT.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import tyro

from tools import witness

ROOT = Path(__file__).resolve().parent.parent
VALUES = ROOT / "tests" / "fixtures" / "witness" / "values.json"


def in_this_process(checkout: Path, script: str, flags: Sequence[str], folder: Path) -> None:
    """Run a script's `main`, which takes a third of the time that a process needs."""
    module = importlib.import_module(script.removesuffix(".py"))
    shipped = {"--rom-path": "tallgrass/tallgrass.gb", "--milestone-config": "milestone_config.json"}
    words = [*flags, *(word for flag, name in shipped.items() for word in (flag, str(checkout / name)))]
    before = Path.cwd()
    os.chdir(folder)
    try:
        module.main(tyro.cli(module.Args, args=words))
    finally:
        os.chdir(before)


def test_the_values_are_those_that_were_recorded(tmp_path):
    recorded, here = json.loads(VALUES.read_text()), witness.machine()
    if witness.decides_bits(recorded["machine"]) != witness.decides_bits(here):
        was, now = witness.machine_in_words(recorded["machine"]), witness.machine_in_words(here)
        pytest.skip(f"values were recorded on {was}, here is {now}")
    assert recorded["flags"] == witness.flags_of_runs(), "the runs have other flags: renew the values"
    found = witness.witness(ROOT, tmp_path / "runs", kills=False, start=in_this_process)["digests"]
    rows = witness.differences(found, recorded["digests"])
    assert not [(name, verdict) for name, *_, verdict in rows if verdict in ("different", "gone")]
