"""auto_dagger_pipeline.py as a user runs it: real experts, students, processes, kills and a browser, on the bundled game."""

import dataclasses
import fcntl
import functools
import http.server
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import av
import pytest
import torch
import wandb

import auto_dagger_pipeline as pipeline
from auto_dagger_pipeline import Args
from common.runtime.main import UserError
from common.runtime.run_names import RunError
from pipeline import folder as pipeline_folder
from pipeline.folder import PipelineError
from pipeline.records import PipelineRecords, Record, now

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("forked_scripts")
FROM_NOTHING = subprocess.Popen
"""Starts a pipeline, and so its scripts, as a person does; the others are forked."""
OUTPUT = Path("dagger_pipeline_results")
IDS = ["GAME_RUNNING", "PLAYER_NAME_SET", "INTRO_CUTSCENE_COMPLETE"]
QUICK: dict[str, object] = dict(
    tier="T0", eval_episodes=2, dagger_iterations=2, episodes_per_iter=2, train_steps_per_iter=10, batch_size=8, hidden_dim=16,
    test_episodes=3, num_envs=2, num_threads=1, cuda=False, milestone_config="config.json", policy_dir="policies",
    rom_path=str(ROOT / "tallgrass" / "tallgrass.gb"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = json.loads((ROOT / "milestone_config.json").read_text())
    config["milestones"] = [entry for entry in config["milestones"] if entry["id"] in IDS]
    Path("config.json").write_text(json.dumps(config))
    Path("policies").mkdir()
    return tmp_path


def flags(**more) -> list[str]:
    words = []
    for name, value in (QUICK | more).items():
        dashed = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{dashed}")
        else:
            words += [f"--{dashed}", *map(str, value if isinstance(value, tuple) else [value])]
    return words


def start(popen: type[subprocess.Popen] | None = None, **more) -> subprocess.Popen:
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return (popen or subprocess.Popen)(
        [sys.executable, str(ROOT / "auto_dagger_pipeline.py"), *flags(**more)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def run(expected: int = 0, popen: type[subprocess.Popen] | None = None, **more) -> str:
    process = start(popen, **more)
    try:
        output, _ = process.communicate(timeout=240)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == expected, output
    return output


def statuses() -> dict[str, str]:
    return {record.milestone_id: record.status for record in PipelineRecords(OUTPUT)}


def write_policy(milestone: str, text: str) -> None:
    Path("policies").mkdir(exist_ok=True)
    Path("policies", f"{milestone}.py").write_text(text)


def frames(path: Path) -> int:
    with av.open(str(path)) as film:
        assert film.streams.video[0].codec_context.name == "h264"
        return sum(1 for _ in film.decode(video=0))


@pytest.mark.slow
def test_a_pipeline_from_its_start_to_its_report():
    write_policy("INTRO_CUTSCENE_COMPLETE", "def run(state):\n    raise ValueError('not written yet')\n")
    output = run(expected=1, popen=FROM_NOTHING, skip_milestones=("PLAYER_NAME_SET",), parallel_milestones=2)
    assert statuses() == {"GAME_RUNNING": "completed", "PLAYER_NAME_SET": "skipped", "INTRO_CUTSCENE_COMPLETE": "failed"}
    failed = PipelineRecords(OUTPUT).get("INTRO_CUTSCENE_COMPLETE")
    assert failed.reason.startswith("the expert succeeds in 0% of 2 episodes") and failed.expert_success_rate == 0
    assert "INTRO_CUTSCENE_COMPLETE: failed: the expert succeeds in 0%" in output and "report.html" in output

    record = PipelineRecords(OUTPUT).get("GAME_RUNNING")
    assert (record.expert_success_rate, record.expert_mean_steps, record.max_episode_steps) == (1.0, 1.0, 2)
    assert record.test_episodes == 3 and record.labels >= 2 and record.training_steps == 20
    best, final = (torch.load(OUTPUT / "models/GAME_RUNNING" / f"dagger_GAME_RUNNING_{which}.pth") for which in ("best", "final"))
    assert best["milestone"] == "GAME_RUNNING" and best["args"]["max_episode_steps"] == 2 and final["global_step"] == 20
    assert best["deterministic"] is False and best["network"]["kind"] == "tiles"
    assert frames(OUTPUT / "expert_eval_videos/GAME_RUNNING/expert_eval_ep1_success_steps1.mp4") == 2
    for iteration in range(2):
        assert frames(OUTPUT / f"dagger_videos/GAME_RUNNING/rollout_iter{iteration}_ep0_GAME_RUNNING.mp4") >= 2
    assert len(record.videos) == 4 and all((OUTPUT / video).is_file() for video in record.videos)
    check_in_browser(videos=5)  # one is of the expert who failed

    # The mended policy, and the skipped one: what is completed stays as it is
    before = (OUTPUT / "models/GAME_RUNNING/dagger_GAME_RUNNING_best.pth").stat().st_mtime_ns
    Path("policies/INTRO_CUTSCENE_COMPLETE.py").unlink()
    output = run(record_video=False)
    assert set(statuses().values()) == {"completed"} and "2 of 3 milestones to do" in output
    assert (OUTPUT / "models/GAME_RUNNING/dagger_GAME_RUNNING_best.pth").stat().st_mtime_ns == before
    assert PipelineRecords(OUTPUT).get("PLAYER_NAME_SET").videos == ()
    assert (OUTPUT / "models/PLAYER_NAME_SET/dagger_PLAYER_NAME_SET_starts/handovers_train/000.state").is_file()
    assert not list((OUTPUT / "models/GAME_RUNNING").glob("*_starts"))  # there is nobody before it
    assert "0 of 3 milestones to do" in run(record_video=False)
    assert len(list(Path("runs").glob("auto_dagger_pipeline_1_*"))) == 1  # one pipeline, whoever started it how often


def check_in_browser(videos: int) -> None:
    """The report in Chromium: its table, its curves, and every film plays."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        warnings.warn("Chromium and its driver are not installed: nobody looked at the report", stacklevel=2)
        return
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(OUTPUT))
    handler.log_message = None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = webdriver.ChromeOptions()
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-background-networking",
        "no-first-run",
    ):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        browser.set_script_timeout(60)
        browser.get(f"http://127.0.0.1:{server.server_port}/report.html")
        rows = browser.execute_script("return [...document.querySelectorAll('#results tbody tr')].map(row => row.innerText)")
        assert [any(word in row for word in ("completed", "skipped", "failed")) for row in rows] == [True] * 3
        assert "the expert succeeds in 0%" in browser.execute_script("return document.body.innerText")
        assert browser.execute_script("return document.querySelectorAll('svg.curve circle').length") >= 4
        played = browser.execute_async_script(
            """const done = arguments[0], films = [...document.querySelectorAll('video')];
            Promise.all(films.map(async film => { await film.play(); await new Promise(end => setTimeout(end, 200));
            return film.videoWidth > 0 && film.currentTime > 0; })).then(done, error => done(String(error)));"""
        )
        assert played == [True] * videos
        assert not browser.execute_script(
            "return performance.getEntriesByType('resource').filter(one => !one.name.startsWith(location.origin)).length"
        )
    finally:
        browser.quit()
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_killed_at_ten_moments_it_ends_as_if_never_stopped():
    rng, two, phases = random.Random(7), dict(skip_milestones=("INTRO_CUTSCENE_COMPLETE",)), set()
    for number in range(10):
        process = start(**two, parallel_milestones=1 if number % 3 else 2)
        try:
            for _ in range(1 + number):  # so many lines, and a little later
                phases.add(process.stdout.readline().partition(": ")[2].partition(" success")[0].strip())
            time.sleep(rng.uniform(0, 0.6))
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        PipelineRecords(OUTPUT)  # whatever is there can be read
        for path in OUTPUT.glob("*.json"):
            json.loads(path.read_text())
    assert {"the expert plays", "iteration 0:"} <= phases, phases
    run(**two)
    assert statuses() == {"GAME_RUNNING": "completed", "PLAYER_NAME_SET": "completed", "INTRO_CUTSCENE_COMPLETE": "skipped"}
    for path in OUTPUT.rglob("*.pth"):
        torch.load(path)
    for path in OUTPUT.rglob("*.mp4"):
        assert frames(path) > 0
    for path in OUTPUT.rglob("*.sqlite"):
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(OUTPUT.rglob(".*.tmp*")), "a half-written file was left under a temporary name"
    assert len({torch.load(path)["run_name"] for path in OUTPUT.rglob("*_final.pth")}) == 2


@pytest.mark.slow
def test_one_interrupt_saves_and_ends_and_a_broken_student_costs_only_itself():
    process = start(train_steps_per_iter=100_000, milestone="GAME_RUNNING", record_video=False)
    last = OUTPUT / "models/GAME_RUNNING/dagger_GAME_RUNNING_last.pth"
    deadline = time.monotonic() + 120
    while not (last.is_file() and torch.load(last)["progress"]["phase"] == "train"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 130 and "stopped; to resume, run the same command again" in output
    assert statuses() == {} and torch.load(last)["global_step"] > 0
    # The checkpoint is broken: DAgger refuses it, the record says why, and the rest goes on.
    last.write_bytes(b"no checkpoint")
    run(expected=1, train_steps_per_iter=100_000, milestone="GAME_RUNNING", record_video=False)
    record = PipelineRecords(OUTPUT).get("GAME_RUNNING")
    assert record.status == "failed" and "dagger_pokemon.py exited with 1" in record.reason and "broken" in record.reason


def records_of(*names: str) -> PipelineRecords:
    records = PipelineRecords(OUTPUT)
    for name in names:
        records.put(Record(name, IDS.index(name), now(), "completed"))
    return records


def test_begun_anew_only_what_is_named_is_forgotten():
    for name in IDS[:2]:
        (OUTPUT / "models" / name).mkdir(parents=True)
        (OUTPUT / "models" / name / "x.pth").touch()
        (OUTPUT / "models" / name / "x_starts").mkdir()
        (OUTPUT / "models" / name / "x_starts" / "000.state").touch()
    with (OUTPUT / "models" / IDS[0] / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline_folder, "SECONDS_FOR_ORPHANS", 0)
            with pytest.raises(PipelineError, match="a process that a killed pipeline left running still works there"):
                pipeline_folder.forget(OUTPUT, IDS[0])
        assert (OUTPUT / "models" / IDS[0] / "x.pth").exists()
    pipeline_folder.forget(OUTPUT, IDS[0])
    assert [path.name for path in (OUTPUT / "models" / IDS[0]).iterdir()] == [".lock"]
    assert (OUTPUT / "models" / IDS[1] / "x.pth").exists()


@pytest.mark.slow
def test_another_policy_is_noticed():
    more = dict(milestone="GAME_RUNNING", record_video=False, skip_milestones=())
    assert pipeline.main(Args(**(QUICK | more))) == 0
    kept = json.loads((OUTPUT / "expert_evaluations/GAME_RUNNING.json").read_text())
    assert kept["expert"].startswith("policy:GAME_RUNNING:") and kept["facts"]["max_episode_steps"] == 2
    PipelineRecords(OUTPUT).drop(["GAME_RUNNING"])
    last = OUTPUT / "models/GAME_RUNNING/dagger_GAME_RUNNING_last.pth"
    shutil.copy(last.with_name("dagger_GAME_RUNNING_final.pth"), last)  # as if DAgger had been cut
    write_policy("GAME_RUNNING", "def run(state):\n    return 'start'\n")
    assert pipeline.main(Args(**(QUICK | more))) == 1
    record = PipelineRecords(OUTPUT).get("GAME_RUNNING")
    assert "its policy, or --unsafe-policies, is another than when DAgger began; to begin again with it, give " in record.reason
    assert "--milestone GAME_RUNNING --overwrite" in record.reason
    assert pipeline.main(Args(**(QUICK | more | dict(overwrite=True)))) == 0


def test_a_report_that_fails_costs_no_milestone(monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("no room")

    records_of(*IDS)
    monkeypatch.setattr(pipeline, "write_report", broken)
    assert pipeline.main(Args(**QUICK)) == 0
    assert "report.html cannot be written (RuntimeError: no room); the records are complete" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (dict(milestone="NOWHERE"), "--milestone: no milestone NOWHERE; config.json has GAME_RUNNING"),
        (dict(resume_from="NOWHERE"), "--resume-from: no milestone NOWHERE"),
        (dict(skip_milestones=("NOWHERE",)), "--skip-milestones: no milestone NOWHERE"),
        (dict(parallel_milestones=0), "--parallel-milestones is 0, but must be at least 1"),
        (dict(step_multiplier=0.5), "--step-multiplier is 0.5, but must be at least 1"),
        (dict(step_multiplier=float("nan")), "--step-multiplier is nan"),
        (dict(min_success_rate=60.0), "--min-success-rate is 60.0, but must be at most 1"),
        (dict(handover_share=0.6, cutoff_share=0.6), "more than 1 together"),
        (dict(query_rate=3.0), "--query-rate is 3.0, but must be at most 1"),
        (dict(learning_rate=float("inf")), "--learning-rate is inf"),
        (dict(worlds="nonsense"), "nonsense"),
        (dict(tier="T2", worlds="0"), "T2"),
        (dict(recorded_starts=True), "leave out --worlds and --tier"),
    ],
)
def test_wrong_flags_are_told_before_anything_is_written(more, told):
    with pytest.raises(UserError, match=told):
        pipeline.main(Args(**(QUICK | more)))
    assert not OUTPUT.exists()


def test_two_pipelines_in_one_folder_are_refused():
    OUTPUT.mkdir()
    with (OUTPUT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(PipelineError, match="another pipeline works in dagger_pipeline_results"):
            pipeline.main(Args(**QUICK))
    assert [path.name for path in OUTPUT.iterdir()] == [".lock"]


def test_other_settings_are_refused_and_overwritten_only_when_told():
    settings, goes_on = {"batch_size": 8, "tier": "T0"}, pipeline_folder.pipeline_to_continue
    assert goes_on(OUTPUT, settings, False) is None and not OUTPUT.exists()
    pipeline_folder.claim(OUTPUT, "auto_dagger_pipeline_1_1", settings)
    (OUTPUT / "models" / IDS[0]).mkdir(parents=True)
    (OUTPUT / "mine.txt").write_text("not the pipeline's")
    assert goes_on(OUTPUT, settings, False) == "auto_dagger_pipeline_1_1"
    with pytest.raises(PipelineError, match="--batch-size was 8 and is 16"):
        goes_on(OUTPUT, settings | {"batch_size": 16}, False)
    with pytest.raises(PipelineError, match="older version, which did not have --new-flag yet"):
        goes_on(OUTPUT, settings | {"new_flag": 1}, False)
    assert goes_on(OUTPUT, settings | {"batch_size": 16}, True) is None
    assert (OUTPUT / "models").exists()  # as long as the new one may still fail to start
    pipeline_folder.claim(OUTPUT, "auto_dagger_pipeline_1_2", settings | {"batch_size": 16})
    assert goes_on(OUTPUT, settings | {"batch_size": 16}, False) == "auto_dagger_pipeline_1_2"
    assert not (OUTPUT / "models").exists() and (OUTPUT / "mine.txt").exists()
    (OUTPUT / "pipeline_settings.json").write_text("{")
    with pytest.raises(PipelineError, match="cannot be read"):
        goes_on(OUTPUT, settings, False)
    for name in ("../x", "/x", "", None):  # it names a folder in runs/
        (OUTPUT / "pipeline_settings.json").write_text(json.dumps({"name": name, "settings": settings}))
        with pytest.raises(PipelineError, match="cannot be read .*which is no pipeline's"):
            goes_on(OUTPUT, settings, False)
    (OUTPUT / "pipeline_settings.json").unlink()
    (OUTPUT / "models").mkdir()
    for overwrite in (False, True):  # somebody's models are never thrown away
        with pytest.raises(PipelineError, match="no pipeline made it"):
            goes_on(OUTPUT, settings, overwrite)
    assert (OUTPUT / "models").exists()


def test_what_may_change_from_start_to_start():
    assert set(pipeline.MAY_CHANGE) <= {field.name for field in dataclasses.fields(Args)}


@pytest.mark.slow
def test_a_start_behind_the_milestone_fails_that_milestone_and_a_missing_one_is_made():
    recorded = dict(recorded_starts=True, record_video=False, state_dir="states", milestone="PLAYER_NAME_SET")
    quick = {key: value for key, value in QUICK.items() if key != "tier"}
    assert pipeline.main(Args(**(quick | recorded))) == 0  # GAME_RUNNING_completed.state is made
    assert sorted(path.name for path in Path("states").glob("*.state")) == ["GAME_RUNNING_completed.state"]
    best = torch.load(OUTPUT / "models/PLAYER_NAME_SET/dagger_PLAYER_NAME_SET_best.pth")
    assert best["args"]["start_states"].endswith("GAME_RUNNING_completed.state")
    # The state in which the milestone ends, in the place of the one before it
    from tasks.recorded_starts import ensure_start_states

    behind = ensure_start_states("INTRO_CUTSCENE_COMPLETE", n_train=0, n_heldout=0, state_dir="other", show_progress=False).first
    for ending in ("", ".json"):
        source = Path(str(behind) + ending)
        if source.is_file():
            shutil.copy(source, Path("states", "GAME_RUNNING_completed.state" + ending))
    assert pipeline.main(Args(**(quick | recorded), output_dir="another")) == 1
    (record,) = PipelineRecords(Path("another"))
    assert record.status == "failed" and "already" in record.reason


def test_a_start_that_failed_throws_nothing_away_and_is_not_in_the_way(monkeypatch):
    settings = {key: value for key, value in dataclasses.asdict(Args(**QUICK)).items() if key not in pipeline.MAY_CHANGE}
    pipeline_folder.claim(OUTPUT, "auto_dagger_pipeline_1_5", settings)
    (OUTPUT / "models" / IDS[0]).mkdir(parents=True)
    (OUTPUT / "models" / IDS[0] / f"dagger_{IDS[0]}_best.pth").write_text("hours of work")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", os.getcwd())
    monkeypatch.setenv("NETRC", "netrc")
    wandb.setup(wandb.Settings())
    for flags in (dict(overwrite=True), dict(output_dir="new")):
        with pytest.raises(RunError, match="^--track: W&B refuses: No API key"):
            pipeline.main(Args(**(QUICK | flags), track=True))
    assert (OUTPUT / "models" / IDS[0] / f"dagger_{IDS[0]}_best.pth").exists() and (OUTPUT / "pipeline_settings.json").exists()
    assert os.listdir("new") == [".lock"] and not os.listdir("runs")
    Path("new", ".lock").unlink()
    Path("runs").rmdir()
    Path("runs").write_text("")
    with pytest.raises(RunError, match="^runs: is no folder"):
        pipeline.main(Args(**(QUICK | dict(overwrite=True))))
    assert (OUTPUT / "models" / IDS[0]).exists()
    wandb.teardown()


@pytest.mark.slow
def test_an_expert_that_is_found_out_fails_its_milestone_and_the_others_go_on():
    own = (ROOT / "tallgrass" / "policies" / "PLAYER_NAME_SET.py").read_text()
    own += "import random\ndecide = run\ndef run(state):\n"
    write_policy("PLAYER_NAME_SET", own + "    return None if random.Random().random() < 0.3 else decide(state)\n")
    more = dict(skip_milestones=("INTRO_CUTSCENE_COMPLETE",), record_video=False, eval_episodes=6, min_success_rate=0.0)
    output = run(expected=1, **more)
    assert statuses() == {"GAME_RUNNING": "completed", "PLAYER_NAME_SET": "failed", "INTRO_CUTSCENE_COMPLETE": "skipped"}
    reason = PipelineRecords(OUTPUT).get("PLAYER_NAME_SET").reason
    assert "its answers depend on more than the state" in reason and "\n" not in reason
    assert "PLAYER_NAME_SET: failed" in output
