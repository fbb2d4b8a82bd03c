"""Logs that fail, W&B that refuses, and texts that look like markup."""

import io
import os
import resource
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import wandb
from rich.table import Table

from common.results import results_table
from common.runtime.logs import finish_run, start_run
from common.runtime.progress import ProgressReport, plain_console, print_table
from common.runtime.run_names import RunError, run_folder


@dataclass
class Args:
    learning_rate: float = 0.1


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scalars(name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(f"runs/{name}").Reload()
    return [event.value for event in log.Scalars("a")]


def test_logs_that_can_t_be_written_any_more_do_not_end_a_run(capfd):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with run_folder("a", 1) as name:
        log = start_run(name, Args())
        log.add_scalar("a", 0.5, 1)
        log.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))  # as on a full disk
        try:
            for step in range(2, 500):
                log.add_scalar("a", 0.25, step)
            log.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        log.add_text("b", "text", 1)
        log.flush()
        finish_run(log, False)
    said = capfd.readouterr().err
    assert said == f"runs/{name}: logs cannot be written any more (File too large); the run continues without them\n"
    assert scalars(name)[0] == 0.5


def test_logs_that_can_t_be_written_from_the_first_are_told_before_the_run(capfd):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(RunError, match=r"^runs/a_1_\d+: logs cannot be written there \(File too large\); make room"):
        with run_folder("a", 1) as name:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
            try:
                start_run(name, Args())
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capfd.readouterr().err == ""


@pytest.fixture
def no_key(tmp_path, monkeypatch):
    """Nobody is logged in, and nothing is to be found in the network."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    wandb.setup(wandb.Settings())  # what it read before
    yield
    wandb.teardown()


def test_without_a_key_nothing_is_begun(no_key):
    with pytest.raises(RunError, match="^--track: W&B refuses: .*API key.*; fix that, or leave --track out") as ending:
        with run_folder("a", 1) as name:
            start_run(name, Args(), track=True, project="p")
    assert "\n" not in str(ending.value) and not os.listdir("runs")


def test_a_name_that_w_and_b_does_not_take(no_key, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.setup(wandb.Settings(mode="offline"))
    for name, project in (("a:b", "p"), ("a", "p/q")):
        with pytest.raises(RunError, match="^--track: W&B refuses: .*cannot contain") as ending:
            with run_folder(name, 1) as claimed:
                start_run(claimed, Args(), track=True, project=project)
        assert "\n" not in str(ending.value) and not os.listdir("runs")


def test_only_a_run_that_goes_on_is_continued_at_w_and_b(no_key, monkeypatch):
    asked = []
    monkeypatch.setattr(wandb, "init", lambda **settings: asked.append((settings["id"], settings["resume"])))
    monkeypatch.setattr(wandb, "finish", lambda exit_code: asked.append(exit_code))
    for step in (None, 0, 20):
        finish_run(start_run("a_1_5", Args(), track=True, resumed_at=step), True)
    assert asked == [("a_1_5", "never"), 0, ("a_1_5", "allow"), 0, ("a_1_5", "allow"), 0]
    with pytest.raises(ZeroDivisionError), ExitStack() as opened:
        opened.callback(finish_run, start_run("a_1_5", Args(), track=True), True)
        _ = 1 // 0
    assert asked[-1] == 1


BRACKETS = "models/a[red]b[/]c:smile:[link=x].pth"


def test_brackets_are_not_markup(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # narrower than the table
    record = {"step": 1, "successes": 1, "episodes": 2, "mean_success_length": 3.0}
    print_table(results_table({"best[bold]": (record, Path(BRACKETS))}))
    table = Table("a", title="data[red]")
    table.add_row("[/] and more")
    print_table(table)
    said = capsys.readouterr().out
    assert all(text in said for text in (BRACKETS, "best[bold]", "1/2 = 50 % [9, 91]", "data[red]", " [/] "))


@pytest.mark.parametrize("terminal", [True, False])
def test_brackets_in_progress_are_not_markup(terminal):
    text = io.StringIO()
    console = plain_console(file=text, width=200, force_terminal=terminal)
    with ProgressReport("a[red]b[/]", 10, every=0, console=console) as report:
        report.update(5, "[/]")
        report.print(BRACKETS)
        report.update(10, "[bold]")
        if terminal:
            report._bar.refresh()
    assert all(part in text.getvalue() for part in ("a[red]b[/]", "[bold]")) and BRACKETS in text.getvalue()
