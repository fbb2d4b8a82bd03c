"""`milestone_trainer.py`: a scripted model on a server of this machine writes policies, from its prompts alone."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import milestone_trainer
from agent.llm import client as client_module
from agent.llm.calls import CallFile
from agent.llm.client import ModelError
from agent.llm.prompts import estimated_tokens
from benchmarks.policy_writing import unsolved_by_prompts
from common.runtime.files import AlreadyLockedError, exclusive_lock
from common.runtime.flag_types import FlagError
from common.runtime.main import UserError
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM
from tools import scripted_model
from tools.model_server import Asked, Model, ModelServer

pytest.importorskip("anthropic")
pytest.importorskip("openai")
ROOT = BUNDLED_ROM.parents[1]
STORY = ["GAME_RUNNING", "PLAYER_NAME_SET", "INTRO_CUTSCENE_COMPLETE"]
KEY = "sk-test-0123456789/abcdef+XYZ"
RIGHT = scripted_model.answer_of("Press <b>START</b>.", 'def run(state):\n    return "start"')
WRONG = scripted_model.answer_of("<script>alert(1)</script>", 'def run(state):\n    return "up"  # </pre><img src=x>')
UNCACHED = {name: Model(cached_from=1 << 30) for name in ("claude-sonnet-5-5", "claude-haiku-5-5")}
"""Models without a prompt cache: with one, what an answer costs depends on which came before."""


def config(path: Path, names=STORY, stop_on_failure=True, **changes) -> str:
    """Write a config of these milestones alone, and return its path."""
    whole = json.loads((ROOT / "milestone_config.json").read_text())
    entries = [entry | changes for entry in whole["milestones"] if entry["id"] in names]
    path.write_text(json.dumps({"stop_on_failure": stop_on_failure, "milestones": entries}))
    return str(path)


def flags_of(server: ModelServer | None, **flags) -> milestone_trainer.Args:
    where = {} if server is None else {"expert_base_url": server.url, "expert_backend": "anthropic"}
    paths = dict(output_dir="out", policy_dir="policies", state_dir="states", model_calls="calls.sqlite")
    return milestone_trainer.Args(**({"rom_path": str(BUNDLED_ROM), "milestone_config": "config.json"} | paths | where | flags))


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Run the trainer in an empty folder, with few and short episodes."""
    prepare(tmp_path, monkeypatch)
    config(tmp_path / "config.json", STORY[:1])

    def train(server: ModelServer | None, **flags) -> int:
        return milestone_trainer.main(flags_of(server, **({"trial_episodes": 2, "confirm_episodes": 2} | flags)))

    return train


def prepare(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(client_module, "BACK_OFF_SECONDS", 0.005)
    for name in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def contents(folder: Path = Path()) -> dict[str, bytes]:
    """All that a trainer left, but the file of calls and the logs of its runs."""
    files = [path for name in ("out", "policies", "states") for path in (folder / name).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.name != ".lock"}


class Story:
    """Three milestones, written from empty folders."""

    def __init__(self, folder: Path):
        self.folder, self.asked, self.answers, self.said = folder, [], [], ""

    def answer(self, asked: Asked) -> str:
        self.asked.append(asked)
        self.answers.append(scripted_model.answer(asked))
        return self.answers[-1]

    @property
    def texts(self) -> list[str]:
        return ["\n".join([asked.fixed, *(part for part in asked.parts if isinstance(part, str))]) for asked in self.asked]

    def record(self, name: str):
        return json.loads((self.folder / "out" / "records.json").read_text())[name]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    written = Story(tmp_path_factory.mktemp("story"))
    with pytest.MonkeyPatch.context() as patch:
        prepare(written.folder, patch)
        patch.setenv("THE_KEY", KEY)
        config(written.folder / "config.json")
        with ModelServer(answer=written.answer, key=KEY) as server:
            assert milestone_trainer.main(flags_of(server, expert_key_env="THE_KEY")) == 0
            asked, before = len(server.seen), contents()
            # The same command again asks and changes nothing.
            assert milestone_trainer.main(flags_of(server, expert_key_env="THE_KEY")) == 0
            assert len(server.seen) == asked and contents() == before
    return written


def test_each_milestone_takes_the_scripted_attempts(story):
    for name in STORY:
        record = story.record(name)
        assert (record["status"], len(record["attempts"])) == ("won", scripted_model.attempts_of(name))
        best = record["attempts"][-1]
        assert record["best"] == best["number"] and best["confirmed"][0] >= 18 and best["confirmed"][1] == 20
        assert record["tokens_in"] > 0 and record["tokens_out"] > 0 and record["dollars"] > 0
    # One answer without a policy was asked for three times.
    assert len(story.asked) == sum(scripted_model.attempts_of(name) for name in STORY) + 2


def test_policies_states_and_attempts_are_left(story):
    for name in STORY:
        text = (story.folder / "policies" / f"{name}.py").read_text()
        header, _, code = text.partition("\n")
        assert re.fullmatch(
            r"# Written by a language model for milestone_trainer.py: claude-sonnet-5-5, attempt \d, prompt [0-9a-f]{16}, "
            r"tried 8 of 8, confirmed \d+ of 20, [\d.]+ steps on average\.", header,
        ), header  # fmt: skip
        assert code == scripted_model.right(name)
        with PokemonEnv(BUNDLED_ROM, target_milestone="BADGE") as env:
            for path in (f"states/{name}_completed.state", f"out/start_states/{name}/001.state"):
                _, info = env.reset(options={"load_state": story.folder / path})
                assert info["milestones"][name]["completed"], path
        for number in range(1, scripted_model.attempts_of(name) + 1):
            folder = story.folder / "out" / "attempts" / name / f"{number:02d}"
            assert {"prompt.md", "answer.md", "policy.py", "trial.json", "sent_1.png"} <= {path.name for path in folder.iterdir()}
            prompt = (folder / "prompt.md").read_text()
            assert prompt.count("![picture") == len(list(folder.glob("sent_*.png")))
    assert not list(story.folder.rglob("*.tmp"))


def test_prompts_hold_no_key_path_or_time_and_no_policy_before_it_was_written(story):
    written: set[str] = set()
    shipped = {name: scripted_model.right(name).strip() for name in scripted_model.STORY}
    year = re.compile(r"\b20[23]\d\b")
    for text, answer in zip(story.texts, story.answers, strict=True):
        milestone = re.search(r"^# The milestone (\w+)$", text, re.MULTILINE)[1]
        for name, policy in shipped.items():
            assert policy not in text or name in written, f"the policy of {name} is in a prompt before it was written"
        assert KEY not in text and str(story.folder) not in text and str(ROOT) not in text and "/tmp" not in text
        assert not year.search(text) and socket.gethostname() not in text
        if shipped[milestone] in answer:
            written.add(milestone)
    assert written == set(STORY)
    # The last prompts show winners of this run, which the model wrote itself.
    assert shipped["GAME_RUNNING"] in story.texts[-1] and "# A policy of yours that reaches GAME_RUNNING" in story.texts[-1]


def test_prompts_begin_with_the_same_bytes_and_keep_their_length(story):
    assert len({asked.fixed for asked in story.asked}) == 1
    for asked in story.asked:
        texts = [part for part in asked.parts if isinstance(part, str)]
        assert estimated_tokens(asked.fixed + "\n".join(texts)) + 140 * (len(asked.parts) - len(texts)) <= 12_000


@pytest.mark.parametrize("kind", scripted_model.KINDS)
def test_without_one_kind_of_feedback_those_that_need_it_stay_without_a_policy(story, kind):
    needed = [name for name in scripted_model.needing(kind) if name in STORY]
    assert unsolved_by_prompts(story.folder / "out", STORY, kind) == needed


def test_no_key_is_anywhere(story):
    for path in story.folder.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_the_page_shows_all_attempts(story):
    page = (story.folder / "out" / "report.html").read_text()
    for name in STORY:
        assert f'id="{name}"' in page
    assert page.count("<summary>attempt ") == sum(scripted_model.attempts_of(name) for name in STORY)
    for source in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert (story.folder / "out" / source).is_file(), source
    assert "could not be loaded: the answer has no fenced block" in page and '<span class="add">' in page


def test_what_a_model_writes_is_escaped_in_the_page(train):
    with ModelServer(answer=lambda asked: WRONG) as server:
        assert train(server, milestone="GAME_RUNNING") == 1
    page = Path("out/report.html").read_text()
    assert "<script" not in page and "<img src=x>" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;/pre&gt;&lt;img src=x&gt;" in page


def test_it_is_written_through_chat_completions_as_well(train):
    with ModelServer(answer=scripted_model.answer) as server:
        assert train(server, expert_backend="openai", expert_base_url=f"{server.url}/v1") == 0
    assert len(json.loads(Path("out/records.json").read_text())["GAME_RUNNING"]["attempts"]) == 2


def test_a_preview_asks_and_writes_nothing(train, capsys):
    with ModelServer(answer=scripted_model.answer) as server:
        assert train(server, preview=True) == 0
        assert not server.seen
    assert "likely" in (said := capsys.readouterr().out) and "most" in said and "$" in said
    assert not contents() and not Path("runs").exists()


# What it refuses.


def refused(train, server, **flags) -> str:
    """Return the one line of a refusal, before anything was asked or written."""
    before = contents()
    with pytest.raises((UserError, FlagError, ModelError)) as caught:
        train(server, **flags)
    assert contents() == before and not Path("runs").exists()
    assert server is None or not server.seen
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_bad_input_is_one_line_before_anything_is_asked_or_written(train, monkeypatch):
    with ModelServer() as server:
        assert "ANTHROPIC_API_KEY" in refused(train, None)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "")
        assert "ANTHROPIC_API_KEY" in refused(train, None)
        monkeypatch.delenv("ANTHROPIC_API_KEY")
        assert "https://" not in refused(train, None, expert_base_url="https://me:secret@example.org")
        assert "claude-sonnet-5-5" in refused(train, server, expert_model="claude-nothing")
        assert "text-only" in refused(train, server, expert_model="text-only")
        assert "NOWHERE" in refused(train, server, milestone="NOWHERE")
        assert "--max-cost" in refused(train, server, max_cost=0.0)
        assert "--max-cost" in refused(train, server, max_cost=0.0001)
        assert "--min-success-rate" in refused(train, server, min_success_rate=0.0)
        assert "--trial-episodes" in refused(train, server, trial_episodes=0)
        Path("prices.json").write_text('{"claude-sonnet-5-5": [{"from": "2026-01-01", "input": -1, "output": 1}]}')
        assert "prices.json" in refused(train, server, prices="prices.json")
        Path("foreign.sqlite").write_text("something else")
        assert "foreign.sqlite" in refused(train, server, model_calls="foreign.sqlite")
        whole = json.loads(Path("config.json").read_text())
        del whole["milestones"][0]["max_retries"]
        Path("other.json").write_text(json.dumps(whole))
        assert "other.json" in (line := refused(train, server, milestone_config="other.json")) and "max_retries" in line
        Path("other.json").write_text(json.dumps(whole | {"stop_on_failure": "no"}))
        assert "other.json" in refused(train, server, milestone_config="other.json")


def test_a_policy_of_the_users_own_is_never_replaced(train):
    Path("policies").mkdir()
    own = Path("policies/GAME_RUNNING.py")
    own.write_text("# mine\n")
    with ModelServer(answer=scripted_model.answer) as server:
        line = refused(train, server)
        assert line.startswith("policies/GAME_RUNNING.py: ") and "never replaced" in line and own.read_text() == "# mine\n"
        own.unlink()
        own.symlink_to("elsewhere.py")
        assert "never replaced" in refused(train, server)
        own.unlink()
        assert train(server) == 0
        assert train(server, overwrite=True) == 0  # one of its own is replaced


def test_a_folder_of_other_settings_is_refused_and_overwrite_begins_again(train):
    with ModelServer(answer=scripted_model.answer) as server:
        assert train(server) == 0
        asked, before = len(server.seen), contents()
        for flags in ({"seed": 2}, {"noise": 0.2}, {"expert_model": "claude-haiku-5-5"}):
            with pytest.raises(FlagError, match="belongs to a trainer with other --"):
                train(server, **flags)
        assert contents() == before and len(server.seen) == asked
        assert train(server, overwrite=True, noise=0.2) == 0
        assert json.loads(Path("out/settings.json").read_text())["noise"] == 0.2


def test_what_no_trainer_made_is_not_deleted(train):
    Path("out/attempts").mkdir(parents=True)
    Path("out/attempts/mine.txt").write_text("mine")
    with ModelServer(answer=scripted_model.answer) as server:
        for overwrite in (False, True):
            line = refused(train, server, overwrite=overwrite)
            assert "out holds attempts/ but no settings.json" in line and Path("out/attempts/mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["records.json", "settings.json", "attempts/GAME_RUNNING/01/trial.json"])
def test_a_damaged_file_is_named(train, name):
    with ModelServer(answer=scripted_model.answer) as server:
        train(server)
        Path("out", name).write_text('{"cut')
        Path("policies/GAME_RUNNING.py").unlink()
        with pytest.raises((UserError, FlagError), match=name):
            train(server)


def test_one_trainer_at_a_time(train):
    with ModelServer(answer=scripted_model.answer) as server, exclusive_lock("out/.lock"):
        with pytest.raises(AlreadyLockedError, match="out"):
            train(server)
        assert not server.seen


# How it ends.


@pytest.mark.parametrize("stops", [True, False])
def test_a_failure_ends_it_or_the_next_follows_as_the_config_says(train, stops, capsys):
    config(Path("config.json"), ["GAME_RUNNING", "INTRO_CUTSCENE_COMPLETE"], stops, max_retries=0)
    with ModelServer(answer=lambda asked: WRONG) as server:
        assert train(server) == 1
        assert len(server.seen) == (1 if stops else 2)
    said = capsys.readouterr().out
    assert ("GAME_RUNNING has failed, and config.json says stop_on_failure" in said) == stops
    assert not list(Path().glob("policies/*")) and not list(Path().glob("states/*"))


def test_the_best_of_the_last_attempts_is_kept_as_weak(train):
    config(Path("config.json"), ["PLAYER_NAME_SET"], max_retries=0)
    code = """
def run(state):
    menu = state["game"]["menu"]
    if menu is None or menu["name"] != "name_grid":
        return "a"
    if not state["player"]["name"]:
        return "a" if menu["cursor"] > 7 else "select"
    return move_cursor(state, 27, 7)
"""
    with ModelServer(answer=lambda asked: scripted_model.answer_of("Hm.", code)) as server:
        assert train(server, trial_episodes=1, confirm_episodes=10, noise=0.0) == 1
    record = json.loads(Path("out/records.json").read_text())["PLAYER_NAME_SET"]
    assert record["status"] == "weak" and record["attempts"][0]["confirmed"] == [8, 10]
    assert "confirmed 8 of 10, " in (header := Path("policies/PLAYER_NAME_SET.py").read_text().splitlines()[0])
    assert header.endswith("(weak).") and Path("states/PLAYER_NAME_SET_completed.state").is_file()


def test_a_policy_that_won_is_there_again_when_its_folder_is_another(train):
    with ModelServer(answer=scripted_model.answer) as server:
        assert train(server) == 0
        asked = len(server.seen)
        assert train(server, policy_dir="elsewhere", state_dir="elsewhere") == 0
        assert len(server.seen) == asked
    assert Path("elsewhere/GAME_RUNNING.py").read_bytes() == Path("policies/GAME_RUNNING.py").read_bytes()
    name = "GAME_RUNNING_completed.state"
    assert Path("elsewhere", name).read_bytes() == Path("states", name).read_bytes()


def test_ctrl_c_ends_it_and_the_same_command_goes_on(train, capsys):
    asked: list[str] = []

    def answer(one: Asked) -> str:
        asked.append(one.hash)
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return scripted_model.answer(one)

    with ModelServer(answer=answer) as server:
        assert train(server) == 128 + signal.SIGINT
        assert "stopped; the same command goes on" in capsys.readouterr().out
        assert Path("out/attempts/GAME_RUNNING/01/trial.json").is_file() and not Path("policies").exists()
        record = json.loads(Path("out/records.json").read_text())["GAME_RUNNING"]
        assert (record["status"], len(record["attempts"]), record["tokens_out"] > 0) == ("under way", 1, True)
        assert "under way" in Path("out/report.html").read_text()
        assert train(server) == 0
    assert len(set(asked)) == 2


def test_money_that_is_used_up_ends_it_as_ctrl_c_does(train, capsys):
    with ModelServer(answer=scripted_model.answer) as server:
        most = float(re.search(r"one request may cost \$([\d.]+),", refused(train, server, max_cost=0.0001))[1])
        assert train(server, max_cost=most + 0.0001) == 1
        assert "--max-cost is used up; the same command goes on with a higher one" in capsys.readouterr().out
        assert len(server.seen) == 1
        assert train(server, max_cost=5.0) == 0 and len(server.seen) == 2


def test_a_run_is_repeated_without_a_server(train):
    with ModelServer(answer=scripted_model.answer) as server:
        assert train(server) == 0
        where = {"expert_backend": "anthropic", "expert_base_url": server.url}
    before = contents()
    assert train(None, **where, replay=True, overwrite=True) == 0
    assert contents() == before


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_files(tmp_path, monkeypatch):
    prepare(tmp_path, monkeypatch)
    names, rng = ["PLAYER_NAME_SET"], random.Random(os.environ.get("KILL_SEED", "1"))
    with ModelServer(answer=scripted_model.answer, models=UNCACHED, seconds=0.3) as server:
        for folder in ("whole", "killed"):
            (tmp_path / folder).mkdir()
            monkeypatch.chdir(tmp_path / folder)
            config(Path("config.json"), names)
            if folder == "whole":
                begun = time.monotonic()
                assert subprocess.run(command(server), capture_output=True).returncode == 0
                seconds, asked = time.monotonic() - begun, len(server.seen)
        kills = 0
        while True:
            process = subprocess.Popen(command(server), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                assert process.wait(rng.uniform(0.4, 0.9) * seconds if kills < 2 else 120) == 0
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
    assert kills
    with CallFile(Path("calls.sqlite"), write=False) as calls:
        answered = [row for row in calls.rows() if row["usage"]]
    assert len(answered) == asked  # none twice
    assert asked <= len(server.seen) - asked <= asked + kills  # only what was under way came again
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def command(server: ModelServer) -> list[str]:
    where = ["--expert-base-url", server.url, "--expert-backend", "anthropic", "--milestone-config", "config.json"]
    paths = ["--output-dir", "out", "--policy-dir", "policies", "--state-dir", "states", "--model-calls", "calls.sqlite"]
    short = ["--trial-episodes", "4", "--confirm-episodes", "4"]
    return [sys.executable, str(ROOT / "milestone_trainer.py"), "--rom-path", str(BUNDLED_ROM), *where, *paths, *short]
