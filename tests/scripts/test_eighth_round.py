"""What an eighth round of users' situations and hostile files tried: what failed, and what held that no other test tries."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import time
from datetime import date
from pathlib import Path

import numpy as np
import pytest

import milestone_trainer
from agent.llm import calls as calls_module
from agent.llm import prompts
from agent.llm.calls import Call, CallFile, CallFileError, Outcome, Request
from agent.llm.client import ModelError, settings_from_flags
from agent.llm.policy_prompts import code_of
from agent.llm.prices import PriceError, Prices, usage_of
from agent.llm.replies import InvalidAnswerError, value_of
from common.runtime.files import exclusive_lock
from common.runtime.flag_types import FlagError, check_bounds
from common.runtime.kept_files import KeptFileError
from common.runtime.sqlite_files import create
from pokemon_env.games.tallgrass import GAME
from pokemon_env.rom import BUNDLED_ROM, Rom
from tasks.milestone_config import MilestoneConfigError, load_milestone_config
from tools import chain_dagger, chain_rounds, model_costs
from trainer import records
from trainer.attempts import folder_of, load_attempt, save_attempt
from trainer.feedback import Attempt
from trainer.policy_writer import Result
from trainer.records import TrainerRecords
from trainer.report import write_report
from trainer.trial import Episode, Picture, Step, Trial

ROOT = Path(__file__).resolve().parents[2]


def quickly(work, seconds: float = 1.0):
    """Return what some work returns, which must not take long."""
    began = time.monotonic()
    result = work()
    assert time.monotonic() - began < seconds
    return result


# Prices and usages


@pytest.mark.parametrize("number", [10**400, 1e308, float("nan"), -1, True])
def test_prices_with_which_nothing_can_be_counted(number, tmp_path):
    """The first was an OverflowError, and the second made all dollars infinite."""
    price = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 1.0)
    (tmp_path / "prices.json").write_text(json.dumps({"models": {"m": [price | {"from": "2026-01-01", "input": number}]}}))
    with pytest.raises(PriceError, match=r'prices.json: m: "input" is .*, but must be a number of dollars, at least 0 and at most'):
        Prices(tmp_path / "prices.json")


def test_usages_with_which_nothing_can_be_counted():
    """A reply of that kind ended the run with an OverflowError, and stood in the file of calls: so did each run after it."""
    assert usage_of("anthropic", {"input_tokens": 10**400, "output_tokens": 1}) is None
    assert usage_of("openai", {"prompt_tokens": 10**400, "completion_tokens": 1}) is None
    for cost in (10**400, 1e308):
        usage = usage_of("openai", {"prompt_tokens": 1, "completion_tokens": 1, "cost": cost})
        assert usage is not None and usage.dollars is None
    large = usage_of("anthropic", {"input_tokens": 10**9, "output_tokens": 1})
    assert Prices().dollars("claude-haiku-5-5", large, date(2026, 11, 1)) > 0


# What a model writes


SCHEMA = {"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"], "additionalProperties": False}


@pytest.mark.parametrize(
    "text", ["```" + " \n" * 20_000 + "x", "```json\n" * 10_000], ids=["space", "open"]
)
def test_fences_that_never_end_take_no_minutes(text):
    def read():
        with pytest.raises(InvalidAnswerError):
            value_of(text, SCHEMA, plain=True)

    quickly(read)
    assert value_of('So:\n```json\n{"reason": "x"}\n```\nDone.', SCHEMA, plain=True) == {"reason": "x"}


RUN = 'def run(state):\n    return "a"\n'


@pytest.mark.parametrize(
    "text", ["```python\n" + RUN + "```python\n" * 20_000, "```" + " " * 100_000 + "x", ("```" + " " * 300 + "x\n") * 300]
)
def test_policies_in_fences_that_never_end_take_no_minutes(text):
    assert quickly(lambda: code_of(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        f"The state is:\n```json\n{{}}\n```\nPlan.\n```python\n{RUN}```\n",
        f"The text is:\n```text\nhello\n```\n```python\n{RUN}```",
        f"```Python\n{RUN}```", f"```python3\n{RUN}```", f"Inline ```x``` and\n```y```\n```py\n{RUN}```",
        f"```python\n{RUN}```\n".replace("\n", "\r\n"),
    ],
    ids=["json before", "text before", "Python", "python3", "inline", "crlf"],
)  # fmt: skip
def test_a_policy_beside_other_blocks_is_found(text):
    """The end of a block of another language was taken for the beginning of the policy."""
    assert code_of(text)[0] == RUN


@pytest.mark.parametrize("name", ["A" * 1_000_000, "\ud800\x1b[2J"])
def test_what_a_model_says_is_short_and_printable(name):
    """A tool's argument of a megabyte was kept with each label."""
    state = {"player": {}, "game": {}, "map": {}}
    answer = {"reason": f"{name} x", "answer": {"tool": "talk_to", "sprite": name, "location": name}}
    label = prompts.label_of(answer, state, GAME)
    assert label.action is None and label.reason.isprintable() and len(label.reason) < 500


# milestone_config.json


@pytest.mark.parametrize(
    "change", [{"max_retries": -1}, {"timeout": 0}, {"timeout": 10**400}, {"stuck_threshold": 0}, {"max_steps": 10**30}]
)
def test_limits_with_which_no_policy_can_win(change, tmp_path):
    """A model was asked, and paid, for policies that were never played."""
    content = json.loads((ROOT / "milestone_config.json").read_text())
    content["milestones"][0] |= change
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(MilestoneConfigError, match=f"GAME_RUNNING has {next(iter(change))} .*, wanted at least"):
        load_milestone_config(tmp_path / "config.json")


# A trainer's folder


def attempt_of(number: int, parent: int | None = None, code: str = RUN) -> Attempt:
    step = Step(1, "TITLE", (1, 2), "up", "", "", "up", False, "", ("a line",))
    failed = Episode(
        1, False, False, 3, "stuck", "nothing changed", {}, [step], [Picture(1, "up", np.zeros((144, 160, 3), np.uint8))]
    )
    return Attempt(number, "Press up.", code, "", Trial([failed], 1), None, parent)


@pytest.fixture
def folder(tmp_path):
    """A trainer's folder, with a milestone that failed after two attempts."""
    output = tmp_path / "out"
    attempts = [attempt_of(1), attempt_of(2, 1)]
    for attempt in attempts:
        save_attempt(folder_of(output, "CLOCK_SET", attempt.number), attempt)
    cost = {"answers": 2, "tokens_in": 10, "tokens_out": 10, "dollars": None}
    TrainerRecords(output, ["CLOCK_SET"]).put("CLOCK_SET", Result("failed", attempts[1], attempts), cost)
    return output


def test_a_trainers_folder_is_read_again(folder):
    kept = TrainerRecords(folder, ["CLOCK_SET"])
    assert kept.status("CLOCK_SET") == "failed" and load_attempt(folder_of(folder, "CLOCK_SET", 2)).parent == 1
    assert "Press up." in write_report(kept, "a model", {"CLOCK_SET": "the clock"}).read_text()


EDITS = ["", "{", "[]", "5", "null", "[" * 100_000, '{"CLOCK_SET": 5}', '{"CLOCK_SET": {"status": "won", "attempts": []}}']


@pytest.mark.parametrize("text", EDITS)
def test_edited_records_are_told(text, folder):
    (folder / "records.json").write_text(text)
    with pytest.raises(KeptFileError, match=r"records.json: .*; remove it: finished attempts stay"):
        TrainerRecords(folder, ["CLOCK_SET"])


@pytest.mark.parametrize("change", [{"best": 9}, {"status": "won", "best": None}, {"dollars": "1"}, {"tokens_in": None}])
def test_edited_values_of_records_are_told(change, folder):
    content = json.loads((folder / "records.json").read_text())
    (folder / "records.json").write_text(json.dumps({"CLOCK_SET": content["CLOCK_SET"] | change}))
    with pytest.raises(KeptFileError, match=r"records.json: .*; remove it"):
        TrainerRecords(folder, ["CLOCK_SET"])


def edited_attempt(path: Path, how: str) -> None:
    content = json.loads(path.read_text())
    episode = content["trial"]["episodes"][0]
    match how:
        case "half":
            path.write_text(path.read_text()[:100])
        case "number":
            content["number"] = 7
        case "planned":
            content["trial"]["planned"] = 0
        case "no trial":
            content["trial"] = None
        case "picture":
            episode["pictures"][0]["file"] = "../../../secret.png"
        case "step":
            episode["last"][0] = 5
        case "state":
            episode["state"] = {"game": 5}
        case "code":
            path.with_name("policy.py").write_bytes(b"\xff")
        case "no code":
            path.with_name("policy.py").unlink()
        case "no picture":
            shutil.rmtree(path.with_name("frames"))
    if how != "half":
        path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "how", ["half", "number", "planned", "no trial", "picture", "step", "state", "code", "no code", "no picture"]
)
def test_an_edited_attempt_is_told(how, folder):
    path = folder_of(folder, "CLOCK_SET", 1) / "trial.json"
    edited_attempt(path, how)
    with pytest.raises(KeptFileError, match=r"CLOCK_SET/01.*; remove its folder, and its policy is tried again"):
        load_attempt(path.parent)


def test_policies_of_many_alike_lines_are_compared_quickly(tmp_path):
    """The page took minutes for a table of some hundred lines."""

    def table(number: int) -> str:
        return "".join(
            f"    [{(i * 7 + number * 13) % 997}, {(i * 31 + number) % 911}, 'x{i * number % 577}'],\n" for i in range(1000)
        )

    attempts = [attempt_of(1, None, f"X = [\n{table(1)}]\n{RUN}"), attempt_of(2, 1, f"X = [\n{table(2)}]\n{RUN}")]
    for attempt in attempts:
        save_attempt(folder_of(tmp_path, "CLOCK_SET", attempt.number), attempt)
    kept = TrainerRecords(tmp_path, ["CLOCK_SET"])
    kept.put("CLOCK_SET", Result("failed", attempts[1], attempts), {"answers": 0, "tokens_in": 0, "tokens_out": 0, "dollars": 0.0})
    page = quickly(lambda: write_report(kept, "a model", {"CLOCK_SET": "the clock"}), 3.0).read_text()
    assert page.count('class="add"') == page.count('class="del"') > 900


def trained_in(output: Path, **flags) -> None:
    args = milestone_trainer.Args(output_dir=str(output), **flags)
    milestone_trainer.check_settings(args, output, Rom.read(BUNDLED_ROM))


def test_overwrite_deletes_only_what_a_trainer_made(tmp_path):
    """It deleted a user's folder of the same name."""
    (tmp_path / "attempts").mkdir()
    (tmp_path / "attempts" / "mine.txt").write_text("mine")
    for overwrite in (True, False):
        with pytest.raises(FlagError, match="holds attempts/ but no settings.json, so no trainer made it"):
            trained_in(tmp_path, overwrite=overwrite)
    assert (tmp_path / "attempts" / "mine.txt").read_text() == "mine"


def test_overwrite_leaves_no_attempts_behind_a_link(tmp_path):
    """They stayed, and passed for the new trainer's."""
    trained_in(tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("")
    (tmp_path / "out" / "attempts").symlink_to(tmp_path / "elsewhere")
    trained_in(tmp_path / "out", overwrite=True, seed=2)
    assert not (tmp_path / "out" / "attempts").exists() and (tmp_path / "elsewhere" / "x").is_file()


@pytest.mark.parametrize("text", ["", "{", "[]", "5"])
def test_edited_settings_are_told(text, tmp_path):
    trained_in(tmp_path)
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(KeptFileError, match=r"settings.json: .*; put back the file that was there"):
        trained_in(tmp_path)
    with pytest.raises(KeptFileError, match=r"settings.json: .*; put back the file that was there"):
        chain_dagger.check_settings(tmp_path / "settings.json", {"seed": 1})


@pytest.mark.parametrize("flags", [{"expert_timeout": -1.0}, {"expert_timeout": 0.0}, {"candidates": 10**9}])
def test_flags_of_a_trainer_that_nothing_can_be_done_with(flags):
    with pytest.raises(FlagError, match=f"--{next(iter(flags)).replace('_', '-')} is"):
        check_bounds(milestone_trainer.Args(**flags))


def won_with_a_state(output: Path) -> Result:
    success = Episode(1, False, True, 3)
    attempt = Attempt(1, "", RUN, "", Trial([success], 1), Trial([success], 1))
    folder = folder_of(output, "CLOCK_SET", 1)
    save_attempt(folder, attempt)
    (folder / "prompt.md").write_text("")
    (folder / "states" / "1").mkdir(parents=True, exist_ok=True)
    (folder / "states" / "1" / "5.state").write_text("theirs")
    (folder / "states" / "1" / "5.state.json").write_text('{"details": {"recorder": "milestone_trainer.py"}}')
    return Result("won", attempt, [attempt])


@pytest.mark.parametrize("theirs", ["state", "link", "temporary"])
def test_a_state_of_the_users_stays(theirs, tmp_path, capsys):
    """It was replaced without a word, and a planted link led the state into another file."""
    states, mine = tmp_path / "states", tmp_path / "mine.state"
    states.mkdir()
    mine.write_text("mine")
    kept = states / "CLOCK_SET_completed.state"
    match theirs:
        case "state":
            shutil.copy(mine, kept)
        case "link":
            kept.symlink_to(mine)
        case "temporary":
            (states / ".CLOCK_SET_completed.state.tmp").symlink_to(mine)
    records.keep_policy(won_with_a_state(tmp_path / "out"), "CLOCK_SET", "m", tmp_path / "out", tmp_path / "policies", states)
    assert mine.read_text() == "mine"
    if theirs == "temporary":
        assert kept.read_text() == "theirs"
    else:
        assert kept.read_text() == "mine" and "is not of milestone_trainer.py, and stays" in capsys.readouterr().out
        assert (tmp_path / "out" / "start_states" / "CLOCK_SET" / "000.state").read_text() == "theirs"


def test_a_state_of_a_trainers_is_replaced(tmp_path, capsys):
    for _ in range(2):
        result = won_with_a_state(tmp_path / "out")
        records.keep_policy(result, "CLOCK_SET", "m", tmp_path / "out", tmp_path / "policies", tmp_path / "states")
    assert capsys.readouterr().out == ""
    assert (tmp_path / "states" / "CLOCK_SET_completed.state").read_text() == "theirs"


# tools.chain_dagger


@pytest.fixture
def chain(tmp_path):
    return chain_rounds.Chain(
        tmp_path, GAME, Rom.read(BUNDLED_ROM), str(BUNDLED_ROM), "T1", None, 1, 1, 1, 3.0, 4, 0.5, 2, {}
    )  # fmt: skip


def test_runs_of_a_round_that_somebody_edited(chain):
    path = chain.folder(1) / "runs.json"
    path.parent.mkdir()
    run = {"seed": 1, "steps": {"BADGE": 5}, "rescued": []}
    right = {"limits": dict.fromkeys(chain.milestones, 20), "train": [run], "choose": [run]}
    path.write_text(json.dumps(right))
    assert chain_rounds.play_round(chain, 1, {}) == right
    for wrong in (
        [], 5, {}, right | {"limits": {}}, right | {"limits": {"BADGE": -1}}, right | {"train": []}, right | {"train": [5]},
        right | {"train": [run | {"steps": {"NOWHERE": 1}}]}, right | {"choose": [run | {"x": 1}]},
        right | {"train": [run | {"rescued": [[]]}]},
    ):  # fmt: skip
        path.write_text(json.dumps(wrong))
        with pytest.raises(KeptFileError, match=r"runs.json: .*; remove it, and"):
            chain_rounds.play_round(chain, 1, {})


def test_a_students_comparison_names_no_path(chain):
    """The checkpoint that a file named was taken for the student: in a folder that was moved, one that was not there."""
    path = chain.folder(1) / "models" / "BADGE" / "compared.json"
    path.parent.mkdir(parents=True)
    best = path.with_name("chain_BADGE_best.pth")
    old = Path("old.pth")
    for after, kept in ((3, old), (4, best)):
        path.write_text(json.dumps({"before": 4, "after": after, "episodes": 4, "student": "/elsewhere/any.pth"}))
        best.write_text("")
        found = chain_rounds.train_further(chain, 1, "BADGE", old, 20, lambda: False)
        assert found["student"] == str(kept)
    for text in ("{}", "[]", "{", '{"before": "4", "after": 4, "episodes": 4}'):
        path.write_text(text)
        with pytest.raises(KeptFileError, match=r"compared.json: .*; remove it, and it is made again"):
            chain_rounds.train_further(chain, 1, "BADGE", old, 20, lambda: False)


# Files of calls


USAGE = {"input_tokens": 100, "output_tokens": 40, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


@pytest.mark.parametrize(
    "change",
    [
        "calls SET usage = 'x'", "calls SET usage = x'ff'", f"calls SET usage = '{'[' * 5000}'", "calls SET dollars = 'abc'",
        "calls SET dollars = -1000", "calls SET dollars = 9e999", "calls SET dollars = NULL, worst = 'x'",
        "calls SET sent = 'yesterday'",
        "calls SET sent = '2026-02-31'", "calls SET run = x'ff'", "runs SET held = -1e9", "runs SET held = 'x'",
        "found SET times = 'x'", "found SET times = -5", "requests SET request = 5", "requests SET request = x'00'",
        "parts SET data = 5",
    ],
)  # fmt: skip
def test_rows_of_calls_that_somebody_edited(change, tmp_path):
    """They ended with a traceback, wherever they were used; and less than nothing that was spent lifted --max-cost."""
    path = tmp_path / "calls.sqlite"
    request = Request("anthropic", "claude-haiku-5-5", 100, "rules", ("state",), None)
    with CallFile(path) as calls:
        calls.end(
            calls.begin(request, Call("one", "label"), 1.0, None, 60), Outcome("answered", 0.01, 200, usage=USAGE, reply="{}")
        )
        calls.begin(request, Call("one", "label"), 1.0, None, 60)
    model_costs.main(model_costs.Args(str(path)))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE {change}")
        connection.commit()
    with pytest.raises(CallFileError, match=r"calls.sqlite: is damaged, or was changed \(.*\); delete it"):
        model_costs.main(model_costs.Args(str(path), run="one", export=str(tmp_path / "published.sqlite")))


@pytest.mark.parametrize("flag", ["base_url", "key_env"])
def test_an_empty_flag_is_not_one_that_was_left_out(flag):
    """With a variable that was not set, the key went to the provider's own server, or another key than was meant was sent."""
    with pytest.raises(ModelError, match=f"--expert-{flag.replace('_', '-')}: is empty; name one, or leave it out"):
        settings_from_flags("a model", environment={"ANTHROPIC_API_KEY": "a-key-of-12"}, **{flag: " "})


@pytest.mark.parametrize("what", ["prices", "a lock where no file can be made"])
def test_what_is_no_file_is_told_and_not_waited_for(what, tmp_path):
    """Both waited for ever."""
    if what == "prices":
        os.mkfifo(tmp_path / "prices.json")
        with pytest.raises(PriceError, match=r"prices.json: cannot be read \(is no file\)"):
            quickly(lambda: Prices(tmp_path / "prices.json"))
    else:
        with (
            pytest.raises(OSError, match=r"no file can be made there; take another folder: '/proc'"),
            exclusive_lock("/proc/.lock"),
        ):
            pass


def test_a_file_that_is_made_on_a_full_disk_is_whole_or_not_there(tmp_path, monkeypatch):
    """All that was in it could still be in its log when it got its name, and the log was deleted."""
    connect, others = sqlite3.connect, []

    class Watched(sqlite3.Connection):
        """Its log is not moved into the file when it is closed, as on a full disk: another still reads."""

        def executescript(self, script):
            super().executescript(script)
            (path,) = tmp_path.glob(".calls.sqlite.*.tmp")
            others.append(connect(path))
            assert others[0].execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 5

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, **({"factory": Watched} | more)))
    create(tmp_path / "calls.sqlite", 1, 1, calls_module._SCHEMA)
    monkeypatch.undo()
    with contextlib.closing(connect(tmp_path / "calls.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchone() == (0,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    others[0].close()
