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
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import tyro

from tools import witness
from tools.witness import WitnessError

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


@pytest.mark.slow
def test_the_values_are_those_that_were_recorded(tmp_path):
    recorded, here = json.loads(VALUES.read_text()), witness.machine()
    if witness.decides_bits(recorded["machine"]) != witness.decides_bits(here):
        was, now = witness.machine_in_words(recorded["machine"]), witness.machine_in_words(here)
        pytest.skip(f"values were recorded on {was}, here is {now}")
    assert recorded["flags"] == witness.flags_of_runs(), "the runs have other flags: renew the values"
    found = witness.witness(ROOT, tmp_path / "runs", kills=False, start=in_this_process)["digests"]
    rows = witness.differences(found, recorded["digests"])
    assert not [(name, verdict) for name, *_, verdict in rows if verdict in ("different", "gone")]


# The tool itself


def checkout_of(folder: Path, name: str, script: str) -> Path:
    """A checkout of one script, for what the tool does with a script that fails or ends too soon."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(script)
    return folder


def test_a_kill_after_the_end_shows_nothing(tmp_path):
    checkout = checkout_of(tmp_path / "checkout", "bc_pokemon.py", "print('all is done')")
    with pytest.raises(WitnessError, match=r"(?s)ended \(0\) before it was killed after step 20, .*all is done"):
        witness.run_killed(checkout, "bc", tmp_path, {"after step 20": lambda: False})
    final = tmp_path / "models" / "bc_pokemon_final.pth"
    final.parent.mkdir()
    writes = f"import pathlib, time; pathlib.Path({str(final)!r}).touch(); time.sleep(60)"
    checkout = checkout_of(tmp_path / "checkout", "bc_pokemon.py", writes)
    with pytest.raises(WitnessError, match=r"ended \(-9\) before it was killed"):
        witness.run_killed(checkout, "bc", tmp_path, {"after step 20": final.exists})


def test_a_script_that_fails_is_named(tmp_path):
    checkout = checkout_of(tmp_path / "checkout", "bc_pokemon.py", "import sys; sys.exit('bc_pokemon.py: no room')")
    with pytest.raises(WitnessError, match=r"checkout/bc_pokemon\.py ended with 1: bc_pokemon\.py: no room"):
        witness.start_script(checkout, "bc_pokemon.py", [], tmp_path)


def test_every_bit_and_name_of_the_weights_counts(tmp_path):
    def digest(**weights) -> str:
        torch.save({"model_state_dict": weights}, tmp_path / "x.pth")
        return witness.weights_digest(tmp_path / "x.pth")

    ones = torch.ones(2, 3)
    last_bit = ones.clone()
    last_bit.view(torch.int32)[1, 2] ^= 1
    others = [digest(a=one, b=ones) for one in (last_bit, ones.reshape(3, 2), ones.half())]
    assert len({digest(a=ones, b=ones), digest(a=ones, c=ones), *others}) == 5
    assert digest(a=ones, b=ones) == digest(b=ones, a=torch.ones(3, 2).T)


def test_a_data_set_of_other_tables_is_not_passed_over(tmp_path):
    with sqlite3.connect(tmp_path / "data.sqlite") as connection:
        connection.execute("CREATE TABLE rows (id, label)")
    connection.close()
    with pytest.raises(WitnessError, match="no one table has id, frame, previous, action"):
        witness.data_set_digests(tmp_path / "data.sqlite")


def test_verdicts():
    theirs = {"bc weights last": "1", "dagger data rows label": "2", "bc log train/bc_loss": "3", "bc log gone": "4"}
    ours = {"bc weights last": "1", "dagger data rows label": "x", "bc log train/bc_loss": "3", "bc log more": "5"}
    verdicts = {name: verdict for name, *_, verdict in witness.differences(ours, theirs)}
    assert verdicts == {
        "bc weights last": "equal", "dagger data rows label": "different", "bc log train/bc_loss": "equal", "bc log gone": "gone",
        "bc log more": "new",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda it: it["machine"]["cpu"].update({"model name": "Z80"}), r"was made on CPU Z80 .*, here is CPU .* with torch"),
        (lambda it: it["machine"].update(torch="1.0"), r"with torch 1\.0, here is"),
        (lambda it: it["flags"].update(bc="--seed 2"), "was made with other flags"),
        (lambda it: it.pop("machine"), "is not what --output writes"),
        (lambda it: it.pop("digests"), "doesn't say digests"),
    ],
)
def test_values_of_another_machine_or_run_are_refused(tmp_path, change, reason):
    result = {"machine": witness.machine(), "flags": witness.flags_of_runs(), "digests": {}}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(result))
    assert witness.read_result(path) == result
    change(result)
    path.write_text(json.dumps(result))
    with pytest.raises(WitnessError, match=reason):
        witness.read_result(path)


def test_what_is_no_checkout_is_refused_at_once(tmp_path):
    with pytest.raises(WitnessError, match="is no checkout and no file of --output"):
        witness.main(witness.Args(compare=str(tmp_path)))
    with pytest.raises(WitnessError, match="is there already"):
        witness.main(witness.Args(folder=str(tmp_path)))
