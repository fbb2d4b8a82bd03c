"""The demo and the table of cloned networks, in tiny editions, and what the tables share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

import bc_pokemon
import collect_expert_data
import dagger_pokemon
from benchmarks import bc_table, demo
from benchmarks import folders as tables
from benchmarks import steps as cloning
from benchmarks.folders import claim_folder, fingerprint, kept_result, known_rows, own_folder, run_table
from common.runtime import scripts as script_runs
from common.runtime.checkpoints import CheckpointError
from common.runtime.flag_types import FlagError, check_bounds
from common.runtime.scripts import ScriptFailed
from common.runtime.workers import run_in_parallel
from pokemon_env.errors import EmulatorError

ROOT = Path(__file__).resolve().parents[2]
TINY = "--demonstrations 3 --total-steps 4 --test-episodes 2".split()
MARKER = ".made_here"
SCRIPTS = (collect_expert_data, bc_pokemon, dagger_pokemon)
pytestmark = pytest.mark.usefixtures("forked_scripts")


def command(module: str, *flags: object) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, flags)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def run(folder: Path, module: str, *flags: object) -> subprocess.CompletedProcess:
    return subprocess.run(command(module, *flags), cwd=folder, env=environment(), capture_output=True, text=True, timeout=500)


# Folders


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "settings.txt").write_text("mine")
    for fresh in (False, True):
        with pytest.raises(ValueError, match=f"thesis is not empty and has no {MARKER}"):
            own_folder(folder, MARKER, "key", fresh)
    assert (folder / "settings.txt").read_text() == "mine" and len(list(folder.iterdir())) == 1
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file"):
        own_folder(tmp_path / "file", MARKER, "key")


def test_an_own_folder_is_kept_until_its_key_changes(tmp_path):
    folder, elsewhere = tmp_path / "a" / "demo", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()

    def fill():
        (folder / "models").mkdir()
        (folder / "models" / "best.pth").touch()
        (folder / "train.log").touch()
        (folder / "link").symlink_to(elsewhere)

    own_folder(folder, MARKER, "one")
    fill()
    own_folder(folder, MARKER, "one")
    assert (folder / "models" / "best.pth").is_file() and (folder / "train.log").is_file()
    own_folder(folder, MARKER, "other")
    assert [path.name for path in folder.iterdir()] == [MARKER] and (folder / MARKER).read_text() == "other"
    fill()
    own_folder(folder, MARKER, "other", fresh=True)
    assert [path.name for path in folder.iterdir()] == [MARKER]
    assert (elsewhere / "precious").is_file()


def test_a_folder_emptied_in_part_is_still_its_own(tmp_path, monkeypatch):
    own_folder(tmp_path / "demo", MARKER, "one")
    (tmp_path / "demo" / "models").mkdir()
    monkeypatch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(PermissionError(path)))
    with pytest.raises(PermissionError):
        own_folder(tmp_path / "demo", MARKER, "other")
    monkeypatch.undo()
    own_folder(tmp_path / "demo", MARKER, "other")
    assert [path.name for path in (tmp_path / "demo").iterdir()] == [MARKER]


def test_hours_of_work_are_not_thrown_away_unasked(tmp_path):
    claim_folder(tmp_path / "a", ".own", "one", fresh=False)
    network = tmp_path / "a" / "final.pth"
    network.touch()
    for fresh in (False, True):
        claim_folder(tmp_path / "a", ".own", "one", fresh)
    with pytest.raises(ValueError, match="made with other settings"):
        claim_folder(tmp_path / "a", ".own", "other", fresh=False)
    assert network.is_file()
    claim_folder(tmp_path / "a", ".own", "other", fresh=True)
    assert not network.exists()


@pytest.mark.parametrize(("module", "place"), [(demo, "own"), (bc_table, "own/GAME_RUNNING")])
def test_wrong_flags_delete_nothing(tmp_path, monkeypatch, module, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "thesis.tex").write_text("mine")
    for flags, told in (
        ({"milestones": ("GAME_RUNNING",)}, "is not empty and has no"),
        ({"milestones": ("NO_SUCH",)}, "no milestone NO_SUCH; there are GAME_RUNNING"),
        ({"test_episodes": 0}, "--test-episodes is 0"),
    ):
        with pytest.raises(ValueError, match=told):
            module.main(module.Args(output_dir="own", **flags))
        assert (tmp_path / place / "thesis.tex").read_text() == "mine"


def test_a_refusal_is_one_line(tmp_path, from_nothing):
    (tmp_path / "settings.txt").write_text("mine")
    done = run(tmp_path, "demo", "--milestones", "GAME_RUNNING", "--output-dir", tmp_path, "--fresh")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and (tmp_path / "settings.txt").is_file()
    assert done.stderr.startswith(f"demo.py: {tmp_path} is not empty and has no .demo_settings")


# Fingerprints, rows, tables


def test_fingerprint(tmp_path):
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("a")
    other.write_text("b")
    key = fingerprint({"steps": 1}, [one, other])
    assert key == fingerprint({"steps": 1}, [one, other]) and len(key) == 16
    assert key != fingerprint({"steps": 2}, [one, other])
    assert key != fingerprint({"steps": 1}, [one])
    other.write_text("c")
    assert key != fingerprint({"steps": 1}, [one, other])


def test_what_cloning_depends_on():
    files = {str(path.relative_to(ROOT)) for path in cloning.cloning_sources("ROUTE_1")}
    assert files >= {"tallgrass/tallgrass.gb", "tallgrass/policies/ROUTE_1.py", "pokemon_env/games/tallgrass/game.py"}
    assert files >= {"pokemon_env/path_finding.py", "bc_pokemon.py", "collect_expert_data.py", "benchmarks/steps.py"}
    assert files >= {"common/networks.py", "agent/demonstrate.py"} and "tallgrass/policies/CLOCK_SET.py" not in files
    assert not any(file.startswith("tests") for file in files)


def row(milestone: str, random: int, bc: int, expert: int) -> dict:
    parts = {"random": random, "bc": bc, "expert": expert}
    parts = {name: {"successes": n, "episodes": 10, "mean_steps": 12.34 if n else None} for name, n in parts.items()}
    return {"milestone": milestone, "max_steps": 40, "minutes": 1.0, **parts}


def test_markdown():
    text = bc_table.markdown(bc_table.Args(), [row("ONE", 0, 9, 10), row("TWO", 1, 0, 10)])
    lines = text.splitlines()
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert lines[2].startswith("| ONE | 40 | 0/10 = 0 % ") and lines[2].endswith("| 12.3 | 12.3 |")
    assert lines[3].startswith("| TWO | 40 | 1/10 = 10 % ") and lines[3].endswith("| - | 12.3 |")
    assert "on 1 of 2 milestones" in text and "succeeds in 9 of 20 episodes" in text and "the expert in 20" in text


def test_known_rows(tmp_path):
    path = tmp_path / "table.json"
    assert known_rows(path) == {}
    for content in ([row("ONE", 0, 1, 2)], {"args": {}, "milestones": [row("ONE", 0, 1, 2)]}):
        path.write_text(json.dumps(content))
        assert known_rows(path) == {"ONE": row("ONE", 0, 1, 2)}
    for broken in ("[", "{}", '["a"]', "3", "[" * 100_000):
        path.write_text(broken)
        with pytest.raises(ValueError, match="table.json is no table of milestones"):
            known_rows(path)


def test_a_kept_result(tmp_path):
    path = tmp_path / "result.json"
    assert kept_result(path) == {}
    path.write_text('{"fingerprint": "a"}')
    assert kept_result(path) == {"fingerprint": "a"}
    for broken in ("", "{", "[1]", "3", "null", '{"a":' * 100_000):
        path.write_text(broken)
        with pytest.raises(ValueError, match="result.json is no result .*; remove it, or choose another --output-dir"):
            kept_result(path)


def test_scripts_are_told_of_the_budget_and_nothing_that_they_would_refuse(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(script_runs, "run_script", lambda script, *flags, **_: told.append((script, flags)))
    monkeypatch.setattr(cloning, "sandbox_flags", lambda: {"unsafe_policies": True})
    budget = cloning.Budget(3, 0.1, 40, 20, batch_size=8, tier="T2", network="tiles", iterations=2, episodes_per_iteration=5)
    student = cloning.Student("ROUTE_1", replace(budget, steps_per_iteration=7), 4, tmp_path / "data", tmp_path, num_threads=1)
    cloning.collect(student)
    clone = cloning.train(student)
    (tmp_path / "dagger_ROUTE_1_4_last.pth").touch()  # which was stopped
    cloning.go_on_with_dagger(student, clone)
    monkeypatch.chdir(ROOT)
    recorder, bc, dagger = (tyro.cli(module.Args, args=flags) for module, (_, flags) in zip(SCRIPTS, told, strict=True))
    assert [script for script, _ in told] == [f"{module.__name__}.py" for module in SCRIPTS]
    assert (recorder.n_episodes, recorder.noise, recorder.tier, recorder.seed) == (3, 0.1, "T2", 4)
    assert (bc.total_steps, bc.eval_frequency, bc.overwrite, bc.exp_name) == (40, 20, True, "bc_ROUTE_1_4")
    assert (dagger.n_iterations, dagger.episodes_per_iter, dagger.train_steps_per_iter, dagger.label_share) == (2, 5, 7, 0.1)
    assert dagger.init_from == str(clone) and dagger.resume_from == str(tmp_path / "dagger_ROUTE_1_4_last.pth")
    assert dagger.unsafe_policies and not dagger.overwrite and not dagger.save_iterations
    for args in (bc, dagger):
        assert (args.network, args.batch_size, args.tier, args.num_threads, args.video) == ("tiles", 8, "T2", 1, False)
    with pytest.raises(FlagError, match="^--network is 'tile', but must be "):
        cloning.train(replace(student, budget=replace(budget, network="tile")))
    assert len(told) == 3


# Stopping


def test_an_error_stops_all_work():
    begun, stopped = [], []

    def work(name, should_stop):
        begun.append(name)
        if name == "b":
            raise ScriptFailed("b broke")
        while not should_stop():
            time.sleep(0.01)
        stopped.append(name)

    with pytest.raises(ScriptFailed, match="b broke"):
        run_in_parallel(work, ["a", "b", "c", "d", "e", "f"], 2, lambda name, result: None)
    assert "a" in stopped and set(begun) - {"b"} == set(stopped) and len(begun) < 6


def test_ctrl_c_stops_all_work_as_well():
    def work(name, should_stop):
        while name != "a" and not should_stop():
            time.sleep(0.01)

    def on_result(name, result):
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run_in_parallel(work, ["a", "b", "c"], 2, on_result)
    assert threading.active_count() == before


def test_results_come_as_they_get_done():
    results = {}
    run_in_parallel(lambda name, should_stop: name.upper(), ["a", "b", "c"], 2, results.__setitem__)
    assert results == {"a": "A", "b": "B", "c": "C"}


def test_a_script_is_ended_and_may_save_first(tmp_path, monkeypatch):
    monkeypatch.setattr(script_runs, "ROOT", tmp_path)
    (tmp_path / "script.py").write_text(
        "import os, pathlib, signal, sys, time\n"
        "def save(*_):\n    pathlib.Path(sys.argv[1], 'saved').touch()\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "pathlib.Path(sys.argv[1], 'pid').write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    pid = tmp_path / "pid"
    with pytest.raises(ScriptFailed, match="script.py was stopped"):
        cloning.run_script("script.py", str(tmp_path), should_stop=lambda: pid.is_file() and bool(pid.read_text()))
    assert (tmp_path / "saved").is_file()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_script_that_fails(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(script_runs, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text("import sys\nprint('about to fail')\nsys.exit(3)\n")
    with pytest.raises(ScriptFailed, match=r"script.py exited with 3 \(its output is in .*log.txt\)"):
        cloning.run_script("script.py", "--flag", "two words", log=tmp_path / "logs" / "log.txt")
    output = capfd.readouterr()
    assert output.out == "$ python script.py --flag 'two words'\n" and output.err == "about to fail\n"
    (tmp_path / "script.py").write_text("import sys\nsys.exit(sys.argv[1:] != ['--flag', 'two words'])\n")
    cloning.run_script("script.py", "--flag", "two words")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CheckpointError("a.pth: broken"), "table.py: a.pth: broken"),
        (EmulatorError("no ROM"), "table.py: no ROM"),
        (FileNotFoundError(2, "gone", "x"), "table.py: [Errno 2] gone: 'x'"),
        (ScriptFailed("train exited with 1"), "table.py: train exited with 1; once that is fixed, run the same command again"),
    ],
)
def test_expected_errors_are_one_line(monkeypatch, error, told):
    def main():
        raise error

    monkeypatch.setattr(tables.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ending:
        run_table("table.py", main)
    assert str(ending.value).startswith(told) and "\n" not in str(ending.value)


def test_two_tables_of_one_folder_are_refused(monkeypatch, tmp_path):
    """Each would empty the other's folder, or write a table without the other's rows."""
    monkeypatch.setattr(tables.signal, "signal", lambda *_: None)
    output = tmp_path / "results"

    def main():
        with pytest.raises(SystemExit, match=r"^table.py: .*results.table.py.lock: held by process \d+, .*; wait for its end"):
            run_table("table.py", lambda: 0, output)
        for script, other in (("other.py", output), ("table.py", tmp_path / "other")):
            with pytest.raises(SystemExit, match="^3$"):
                run_table(script, lambda: 3, other)
        own_folder(output, ".marker", "key")  # the lock is not in it
        return 0

    with pytest.raises(SystemExit, match="^0$"):
        run_table("table.py", main, output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match="^--noise is (nan|inf), but must be a finite number$"):
        check_bounds(demo.Args(noise=value))


def test_an_unexpected_error_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(tables.signal, "signal", lambda *_: None)
    with pytest.raises(ZeroDivisionError):
        run_table("table.py", lambda: 1 // 0)


def processes(text: str) -> list[str]:
    """Command lines of the running processes in which `text` occurs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if text in line:
            found.append(line)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_a_stopped_table_leaves_no_process_and_says_how_to_go_on(tmp_path, from_nothing):
    output = tmp_path / "bc"
    flags = ["--milestones", "GAME_RUNNING", "--demonstrations", 3, "--total-steps", 100_000, "--output-dir", output]
    with (tmp_path / "err").open("w") as err:
        table = subprocess.Popen(command("bc_table", *flags), cwd=tmp_path, env=environment(), stdout=err, stderr=err)
        try:
            deadline = time.monotonic() + 120
            while not any("bc_pokemon.py" in line for line in processes(str(output))):
                assert time.monotonic() < deadline and table.poll() is None, (tmp_path / "err").read_text()
                time.sleep(0.2)
            table.send_signal(signal.SIGTERM)
            assert table.wait(60) == 130
        finally:
            table.kill()
    lines = (tmp_path / "err").read_text().splitlines()
    assert lines[-1] == "bc_table.py: stopped; to resume, run the same command again" and "Traceback" not in "".join(lines)
    assert not processes(str(output))


# The whole way


@pytest.mark.slow
def test_demo(tmp_path):
    dagger = ["--iterations", 2, "--episodes-per-iteration", 1, "--steps-per-iteration", 2]
    flags = [*TINY, *dagger, "--milestones", "GAME_RUNNING", "--output-dir", "demo"]
    done = run(tmp_path, "demo", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GAME_RUNNING" in done.stdout and "2/2 = 100 %" in done.stdout and "DAgger" in done.stdout
    films = sorted((tmp_path / "demo" / "videos").glob("*.mp4"))
    assert [film.name.split("_")[0] for film in films] == ["bc", "dagger"]
    assert all(str(film.relative_to(tmp_path)) in done.stdout for film in films)
    assert done.stdout.rstrip().splitlines()[-1].strip() == f"xdg-open {films[-1].relative_to(tmp_path)}"
    assert "GAME_RUNNING: iteration 1: " in done.stdout  # what the scripts say while they work
    assert len(list((tmp_path / "demo" / "expert_data" / "GAME_RUNNING").glob("episode_*.npz"))) == 3
    networks = [tmp_path / "demo" / "models" / f"{name}_GAME_RUNNING_1_best.pth" for name in ("bc", "dagger")]
    made = [network.stat().st_mtime_ns for network in networks]
    done = run(tmp_path, "demo", *flags)
    assert done.returncode == 0 and "$ python" not in done.stdout  # nothing is recorded or trained again
    assert [network.stat().st_mtime_ns for network in networks] == made


@pytest.mark.slow
def test_bc_table_keeps_what_it_has(tmp_path):
    def rows() -> dict[str, dict]:
        return {row["milestone"]: row for row in json.loads((tmp_path / "bc" / "bc_table.json").read_text())}

    def table(*flags: object) -> str:
        done = run(tmp_path, "bc_table", *TINY, "--eval-frequency", 4, "--parallel", 1, "--output-dir", "bc", *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    table("--milestones", "PLAYER_NAME_SET")
    second = rows()["PLAYER_NAME_SET"]
    assert second["expert"]["episodes"] == 2 and second["bc"]["episodes"] == 2 and second["fingerprint"]
    printed = table("--milestones", "GAME_RUNNING")
    assert "| GAME_RUNNING |" in printed and "PLAYER_NAME_SET" not in printed
    first = rows()["GAME_RUNNING"]
    assert list(rows()) == ["GAME_RUNNING", "PLAYER_NAME_SET"] and rows()["PLAYER_NAME_SET"] == second
    text = (tmp_path / "bc" / "bc_table.md").read_text()
    assert "| GAME_RUNNING |" in text and "| PLAYER_NAME_SET |" in text

    printed = table("--milestones", "GAME_RUNNING", "PLAYER_NAME_SET")
    assert "$ python" not in printed and text in printed and rows() == {"GAME_RUNNING": first, "PLAYER_NAME_SET": second}

    table("--milestones", "GAME_RUNNING", "--seed", 2)  # other settings: the other row stays, but is not in the table
    assert rows()["PLAYER_NAME_SET"] == second and rows()["GAME_RUNNING"]["fingerprint"] != first["fingerprint"]
    assert "PLAYER_NAME_SET" not in (tmp_path / "bc" / "bc_table.md").read_text()


@pytest.mark.slow
def test_expert_table_keeps_what_it_has(tmp_path):
    def rows() -> dict[str, dict]:
        return known_rows(tmp_path / "results" / "expert_table_T1.json")

    def table(*flags: object) -> str:
        fixed = ["--episodes", 2, "--random-starts", 2, "--max-random-presses", 5]
        fixed += ["--rom-path", ROOT / "tallgrass" / "tallgrass.gb"]
        fixed += ["--milestone-config", ROOT / "milestone_config.json", "--min-random-start", 0]
        done = run(tmp_path, "expert_table", *fixed, *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    table("--milestones", "PLAYER_NAME_SET")
    kept = rows()["PLAYER_NAME_SET"]
    printed = table("--milestones", "GAME_RUNNING", "--fresh")
    assert "PLAYER_NAME_SET" not in printed and list(rows()) == ["GAME_RUNNING", "PLAYER_NAME_SET"]
    assert rows()["PLAYER_NAME_SET"] == kept
    assert "| PLAYER_NAME_SET |" in (tmp_path / "results" / "expert_table_T1.md").read_text()
