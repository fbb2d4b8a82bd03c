#!/usr/bin/env python3
"""The witnesses: short runs whose results must stay bit-identical when code is moved or rewritten.

    python -m tools.witness --output witness.json       # run, and keep the results
    python -m tools.witness --compare ../before         # run this folder and that one, another checkout, and compare
    python -m tools.witness --compare witness.json      # compare with the kept results of a run on this machine

Three commands run, as a user would type them: record demonstrations, clone them, and DAgger from both. BC and DAgger run once
more, are killed with SIGKILL meanwhile, and resumed; they must end as if they had not been killed. The comparison covers the
demonstrations, the weights of all checkpoints, DAgger's data set (what was pressed, labelled and seen), and the logged values.
It leaves out the expert's identity (a hash of its code), how long something took, and the layout inside the files.

With one thread and 32 bits, the same machine, torch and flags give the same bits. Another CPU or another torch may differ; the
file names what it was made on, and --compare refuses one from elsewhere. Takes a minute on 2 quiet cores.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import sys
from dataclasses import dataclass

from common.runtime.flags import parse_command_line


@dataclass
class Args:
    output: str | None = None
    """Write the digests to this file, as JSON. None writes no file."""
    compare: str | None = None
    """Folder of another checkout to run and compare with, or a file that --output wrote on this machine. None compares nothing."""
    kills: bool = True
    """Run BC and DAgger once more, kill them meanwhile and resume them."""
    folder: str | None = None
    """A new folder for the files of the runs, which is kept. None takes a temporary one."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import hashlib
import json
import os
import platform
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from common.runtime.main import UserError, run_main

ROOT = Path(__file__).resolve().parent.parent

_EXACT = "--no-cuda --no-bf16 --num-threads 1 --no-video --last-interval 0.1"
_STUDENT = "--network tiles-small --hidden-dim 32 --frame-stack 2 --batch-size 16 --lr-schedule cosine"
_PLAYED = "--eval-episodes 4 --best-eval-episodes 4"
BC_STEPS, DAGGER_STEPS = 60, 20
FLAGS: dict[str, tuple[str, str]] = {
    "demonstrations": ("collect_expert_data.py", "--milestone GYM_ENTERED --tier T1 --n-episodes 6 --noise 0.2 --seed 7"),
    "bc": (
        "bc_pokemon.py",
        f"{_EXACT} {_STUDENT} {_PLAYED} --total-steps {BC_STEPS} --learning-rate 2e-3 --random-shift 1 --change-weight 2 "
        f"--val-fraction 0.25 --eval-frequency {BC_STEPS // 2} --save-frequency {BC_STEPS // 2} --max-steps 20",
    ),
    "dagger": (
        "dagger_pokemon.py",
        f"{_EXACT} {_STUDENT} {_PLAYED} --expert-data-dir expert_data --init-from models/bc_pokemon_best.pth --tier T2 "
        f"--n-iterations 3 --episodes-per-iter 6 --max-episode-steps 16 --train-steps-per-iter {DAGGER_STEPS} "
        "--learning-rate 2e-3 --beta-schedule exponential --beta-decay 0.3 --stochastic-rollouts --handover-share 0.3 "
        "--cutoff-share 0.3 --label-set --label-share 0.1 --query-rate 0.5 --query-by novelty --query-budget 150 "
        "--no-ask-repeats --answer-cache answers.sqlite --stochastic-eval --eval-max-steps 30",
    ),
}
"""Run -> its script and its flags. Each of these flags stays supported; together they reach each part of the algorithms."""

ROW_COLUMNS = (
    "previous", "action", "label", "status", "optimal", "iteration", "beta", "episode", "step", "seed", "world", "prev_action",
    "reward", "source",
)  # fmt: skip
"""Columns of DAgger's rows that are compared. Left out: the expert, why it abstained, and whether the answer was known."""
TIMED = ("seconds", "steps_per_second")
"""Logged values that depend on how fast the machine was."""
LOG = " log "
"""Part of the names of the digests of logged values."""
ISA = ("avx", "fma", "f16c", "amx", "sse4", "bf16", "asimd", "sve")
"""Beginnings or ends of the names of CPU flags that determine which kernels compute."""


class WitnessError(UserError):
    """A run that failed, or files that cannot be compared; the text says which, and what to do."""


# What decides the bits


def flags_of_runs() -> dict[str, str]:
    return {name: flags for name, (_, flags) in FLAGS.items()}


def machine() -> dict[str, Any]:
    """Return what the bits of a run depend on, in addition to its flags and its code."""
    cpu: dict[str, str] = {"model name": platform.processor() or platform.machine()}
    if (info := Path("/proc/cpuinfo")).exists():
        lines = [line.partition(":") for line in info.read_text().partition("\n\n")[0].splitlines()]
        cpu |= {name.strip(): value.strip() for name, _, value in lines}
    flags = cpu.get("flags", cpu.get("Features", "")).split()
    return {
        "cpu": {name: cpu[name] for name in ("model name", "cpu family", "model", "stepping", "cache size") if name in cpu},
        "cpu_flags": sorted(flag for flag in flags if any(flag.startswith(isa) or flag.endswith(isa) for isa in ISA)),
        "torch": torch.__version__,
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("numpy", "pyboy", "pillow", "opencv-python-headless")},
    }


def decides_bits(about: dict[str, Any]) -> dict[str, Any]:
    """Return what of `machine` must be equal for the values to be comparable."""
    return {name: about[name] for name in ("cpu", "cpu_flags", "torch", "torch_cpu_capability")}


def machine_in_words(about: dict[str, Any]) -> str:
    cpu = about["cpu"]
    numbers = "/".join(cpu.get(name, "?") for name in ("cpu family", "model", "stepping"))
    return f"CPU {cpu['model name']} ({numbers}, {about['torch_cpu_capability']}) with torch {about['torch']}"


# What is compared


def digest(*parts: bytes) -> str:
    """Return the SHA-256 of the parts, each with its length, so that no two lists of parts concatenate to the same bytes."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def array_digest(array: np.ndarray) -> str:
    return digest(array.dtype.str.encode(), repr(array.shape).encode(), np.ascontiguousarray(array).tobytes())


def weights_digest(path: Path) -> str:
    """Return the digest of a checkpoint's weights, in the order of their names."""
    weights = torch.load(path, map_location="cpu")["model_state_dict"]
    return digest(*(part.encode() for name in sorted(weights) for part in (name, array_digest(weights[name].numpy()))))


def demonstration_digests(folder: Path) -> dict[str, str]:
    """Return the digest of each array, over all episodes."""
    found: dict[str, list[bytes]] = {}
    for path in sorted(folder.glob("episode_*.npz")):
        with np.load(path) as episode:
            for name in episode.files:
                if name != "metadata":  # holds versions
                    found.setdefault(name, []).append(array_digest(episode[name]).encode())
    return {name: digest(*parts) for name, parts in found.items()}


def data_set_digests(path: Path) -> dict[str, str]:
    """Return digests of each column of a data set's rows, of the rows' pictures, and of all pictures and memory snapshots.

    Finds the tables by their columns: the one that has all of ROW_COLUMNS, and those with the keys of pictures and snapshots.
    """
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        tables = {
            name: {column[1] for column in connection.execute(f"PRAGMA table_info({name})")}
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }

        def table_of(*columns: str, like: str = "") -> str:
            found = [name for name, has in tables.items() if has.issuperset(columns) and name.startswith(like)]
            if len(found) != 1:
                raise WitnessError(f"{path}: no one table has {', '.join(columns)}; teach tools/witness.py where they are now")
            return found[0]

        def values(query: str) -> list[tuple]:
            return connection.execute(query).fetchall()

        rows = table_of("id", "frame", *ROW_COLUMNS)
        found = {}
        for column in ROW_COLUMNS:
            found[f"rows {column}"] = digest(repr(values(f"SELECT {column} FROM {rows} ORDER BY id")).encode())
        for what, column, like in (("pictures", "frame", "frame"), ("snapshots", "snapshot", "snapshot")):
            keys = dict(values(f"SELECT id, sha256 FROM {table_of('id', 'sha256', like=like)}"))
            seen = [keys.get(number, b"") for (number,) in values(f"SELECT {column} FROM {rows} ORDER BY id")]
            found[f"{what} of rows"] = digest(*seen)
            found[f"{what} in all"] = digest(*sorted(keys.values()))
        found["number of rows"] = str(len(values(f"SELECT id FROM {rows}")))
        return found
    finally:
        connection.close()


def logged_digests(runs: Path, name: str) -> dict[str, str]:
    """Return the digest of each series of logged values, with their steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folders = sorted(runs.glob(f"{name}_*"))
    if len(folders) != 1:
        raise WitnessError(f"{runs}: has {len(folders)} folders of {name}, wanted one")
    log = EventAccumulator(str(folders[0]), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in log.Tags()["scalars"] if tag.rpartition("/")[2] not in TIMED]
    return {tag: digest(repr([(event.step, event.value) for event in log.Scalars(tag)]).encode()) for tag in sorted(tags)}


def result_digests(folder: Path, *, logs: bool = True) -> dict[str, str]:
    """Return the digests of everything that BC and DAgger left in a folder, by name."""
    found = {}
    for run in ("bc", "dagger"):
        name = f"{run}_pokemon"
        for path in sorted((folder / "models").glob(f"{name}_*.pth")):
            found[f"{run} weights {path.stem.removeprefix(name + '_')}"] = weights_digest(path)
        if logs:
            found |= {f"{run}{LOG}{tag}": value for tag, value in logged_digests(folder / "runs", name).items()}
    data = data_set_digests(folder / "models" / "dagger_pokemon_data.sqlite")
    return found | {f"dagger data {name}": value for name, value in data.items()}


# The runs

Start = Callable[[Path, str, Sequence[str], Path], None]
"""start(checkout, script, flags, folder): run a script to its end, in a working folder."""


def command(checkout: Path, script: str, flags: Sequence[str]) -> list[str]:
    return [sys.executable, str(checkout / script), *flags]


def environment() -> dict[str, str]:
    """Return a child's environment, without what would lead it to another checkout's modules."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    return kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def start_script(checkout: Path, script: str, flags: Sequence[str], folder: Path) -> None:
    """Run a script as a process. Raises WitnessError if it fails."""
    words = command(checkout, script, flags)
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise WitnessError(f"{checkout / script} ended with {done.returncode}: {last}")


def run_killed(checkout: Path, run: str, folder: Path, moments: dict[str, Callable[[], bool]]) -> list[str]:
    """Run a script, kill it at each of the moments, and resume it after each; return when it was killed, in words.

    Raises WitnessError if it ended before it could be killed: then nothing was tested.
    """
    script, flags = FLAGS[run]
    last, final = (folder / "models" / f"{run}_pokemon_{name}.pth" for name in ("last", "final"))
    words, said = flags.split(), []
    resumed = ["--resume-from", str(last.relative_to(folder))]
    for moment, is_reached in moments.items():
        log = folder / f"{run}_killed_{len(said)}.txt"
        with log.open("w") as output:
            process = subprocess.Popen(
                command(checkout, script, words), cwd=folder, env=environment(), stdout=output, stderr=subprocess.STDOUT
            )
            try:
                while process.poll() is None and not is_reached():
                    time.sleep(0.01)
            finally:
                process.kill()
                process.wait()
        if process.returncode != -signal.SIGKILL or final.exists():
            lines = log.read_text().strip().splitlines()[-5:]
            raise WitnessError(
                f"{checkout / script} ended ({process.returncode}) before it was killed {moment}, so nothing is known about a "
                "kill; run again when the machine is less busy. Its last lines:\n" + "\n".join(lines)
            )
        said.append(f"{moment}, resumed from step {step_of(last)}")
        words = resumed
    start_script(checkout, script, resumed, folder)
    return said


def step_of(path: Path) -> int:
    """Return how many steps a checkpoint has been trained for; 0 if it does not exist."""
    return torch.load(path, map_location="cpu")["global_step"] if path.is_file() else 0


def run_kills(checkout: Path, folder: Path) -> dict[str, list[str]]:
    """Run BC and DAgger on the demonstrations in a folder, with kills meanwhile; return when they were killed."""
    models = folder / "models"
    in_bc = {f"after step {BC_STEPS // 3}": lambda: step_of(models / "bc_pokemon_last.pth") > BC_STEPS // 3}
    in_dagger = {
        "in the rollout of iteration 1": lambda: (models / "dagger_pokemon_iter0.pth").exists(),
        "in the training of iteration 1": lambda: step_of(models / "dagger_pokemon_last.pth") > DAGGER_STEPS,
    }
    return {run: run_killed(checkout, run, folder, moments) for run, moments in (("bc", in_bc), ("dagger", in_dagger))}


def witness(
    checkout: Path, folder: Path, *, kills: bool = True, start: Start = start_script, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Run a checkout's scripts and return the results, as JSON data.

    Args:
        checkout: the folder that has the scripts.
        folder: for what they write; it is made, and must not exist.
        kills: whether BC and DAgger are also killed and resumed.
        start: runs a script.
        say: called with a line about what is done.

    Raises WitnessError if a run fails, was not killed in time, or ends differently than without the kill.
    """
    whole, killed = folder / "whole", folder / "killed"
    whole.mkdir(parents=True)
    began = time.monotonic()

    def run(name: str) -> None:
        script, flags = FLAGS[name]
        start(checkout, script, flags.split(), whole)

    run("demonstrations")
    with ThreadPoolExecutor(1) as pool:  # in parallel: each computes with one thread
        if kills:
            shutil.copytree(whole / "expert_data", killed / "expert_data")
            kill_work = pool.submit(run_kills, checkout, killed)
        run("bc")
        run("dagger")
    digests = {f"demonstrations {name}": value for name, value in demonstration_digests(whole / "expert_data").items()}
    found: dict[str, Any] = {"machine": machine(), "flags": flags_of_runs()}
    found["digests"] = digests | result_digests(whole)
    if kills:
        found["killed"] = kill_work.result()
        resumed, unstopped = (result_digests(path, logs=False) for path in (killed, whole))
        if differ := [name for name in sorted(resumed | unstopped) if resumed.get(name) != unstopped.get(name)]:
            when = found["killed"]
            raise WitnessError(f"{checkout}: killed {when} and resumed, these differ from a run without kills: {', '.join(differ)}")
        found["resumed"] = f"equal in {len(resumed)} digests to the run that was not killed"
    say(f"{checkout}: done in {time.monotonic() - began:.0f} s")
    return found


# The comparison


def differences(ours: dict[str, str], theirs: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, both values and the verdict for each digest.

    A new logged series is no difference, because what is logged may grow; a missing one is a difference.
    """
    for name in dict.fromkeys((*theirs, *ours)):
        one, other = ours.get(name, ""), theirs.get(name, "")
        if one == other:
            verdict = "equal"
        elif not other:
            verdict = "new" if LOG in name else "different"
        else:
            verdict = "different" if one else "gone"
        yield name, one, other, verdict


def read_result(path: Path) -> dict[str, Any]:
    """Return what --output has written. Raises WitnessError if a run on this machine cannot be compared with it."""
    here = machine()
    try:
        theirs = json.loads(path.read_text())
        missing = here.keys() - theirs["machine"].keys() | {"flags", "digests"} - theirs.keys()
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WitnessError(f"{path}: is not what --output writes ({error!r}); make it again with --output") from error
    if missing:
        raise WitnessError(f"{path}: doesn't say {', '.join(sorted(missing))}; make it again with --output")
    if decides_bits(theirs["machine"]) != decides_bits(here):
        raise WitnessError(
            f"{path}: was made on {machine_in_words(theirs['machine'])}, here is {machine_in_words(here)}; give the folder of a "
            "checkout, which is run here"
        )
    if theirs["flags"] != flags_of_runs():
        raise WitnessError(f"{path}: was made with other flags; make it again with --output")
    return theirs


def main(args: Args) -> int:
    """Run, compare, write; return the exit code: 1 if something differs."""
    console = Console(soft_wrap=True, highlight=False)

    def say(text: str) -> None:
        console.print(text, markup=False)

    other = None if args.compare is None else Path(args.compare).resolve()
    if other is not None and not other.is_file() and not (other / "dagger_pokemon.py").is_file():
        raise WitnessError(f"--compare {args.compare}: is no checkout and no file of --output; give one of them")
    if args.folder is not None and Path(args.folder).exists():
        raise WitnessError(f"--folder {args.folder}: is there already; name a new one, or delete it")
    theirs = read_result(other) if other is not None and other.is_file() else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.folder or temporary).resolve()
        ours = witness(ROOT, folder / "this", kills=args.kills, say=say)
        if other is not None and theirs is None:
            theirs = witness(other, folder / "other", kills=args.kills, say=say)
    if args.output is not None:
        Path(args.output).write_text(json.dumps(ours, indent=1) + "\n")
        say(f"{args.output}: {len(ours['digests'])} digests on {machine_in_words(ours['machine'])}")
    if "resumed" in ours:
        killed = "; ".join(f"{run} {moment}" for run, moments in ours["killed"].items() for moment in moments)
        say(f"killed ({killed}) and resumed: {ours['resumed']}")
    if theirs is None:
        return 0
    rows = list(differences(ours["digests"], theirs["digests"]))
    table = Table("what", "this", str(args.compare), "")
    for name, one, two, verdict in rows:
        if verdict != "equal" or LOG not in name:
            table.add_row(name, one[:12], two[:12], verdict)
    if logged := sum(LOG in name and verdict == "equal" for name, *_, verdict in rows):
        table.add_row(f"{logged} series of logged values", "", "", "equal")
    console.print(table)
    differ = [name for name, *_, verdict in rows if verdict in ("different", "gone")]
    say(f"{len(rows) - len(differ)} of {len(rows)} equal" + (f"; different: {', '.join(differ)}" if differ else ""))
    return int(bool(differ))


if __name__ == "__main__":
    run_main("witness.py", lambda: main(args))
