"""Files from strangers whose form is right and whose contents are not: what a third round of hostile ones was.

The rounds before are in `tests/test_hostile_files.py` and `tests/test_hostile_policies.py`.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.table import Table

import auto_dagger_pipeline as pipeline
import bc_pokemon
import dagger_pokemon
from agent import labelling
from agent.answer_cache import AnswerCache, AnswerCacheError
from agent.chain import ChainedStudents, MemoryRouter, PixelRouter
from agent.human_player import saved_steps
from agent.labelling import Labeller
from agent.oracle import Answer, ExpertOracle, Situation
from agent.policy_expert import InProcessOracle, add_optimal
from agent.sandbox.oracle import PolicyOracle
from common.demonstrations import DemonstrationError, Episode, load_metadata, save_episode
from common.learner import Learner
from common.networks import TileCNN
from common.policies import NetworkPolicy
from common.runtime.checkpoints import CheckpointError, load_checkpoint, restoring, rng_state, save_checkpoint, set_rng_state
from common.runtime.plain_text import in_one_line
from common.runtime.progress import ProgressReport, print_table
from common.selection import check_numbers, check_records
from dagger.data import DaggerData, DaggerDataError, Row
from dagger.run_data import open_data
from dagger.starts import RolloutStarts
from pipeline.expert import check_evaluation
from pipeline.folder import SETTINGS, PipelineError, pipeline_to_continue
from pipeline.progress import PipelineProgress
from pipeline.records import PipelineRecords, PipelineRecordsError, Record
from pipeline.report import read_curves, write_report
from pipeline.students import check_student
from pokemon_env.errors import StateFileError
from pokemon_env.games.tallgrass.game import BLOCK, GAME
from pokemon_env.gym_env import PokemonEnv
from tasks.episode_starts import choose_starts
from tasks.milestone_config import load_milestone_config
from tasks.recorded_starts import StartStateError, ensure_start_states
from tests.sandboxed import distinct_situations
from tools.describe_data import describe

ROOT = Path(__file__).resolve().parents[2]
ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e\ud800[/x]\n"  # a title for the terminal, a cleared screen, letters turned round


def one_line(text: str) -> None:
    assert text.isprintable() and len(text) < 2500, ascii(text)[:700]


# What is shown of a policy, and of a file


@pytest.fixture
def oracle_of(tmp_path):
    opened = []

    def make(source: str) -> PolicyOracle:
        (tmp_path / "POLICY.py").write_text(source)
        opened.append(PolicyOracle(tmp_path / "POLICY.py", GAME))
        return opened[-1]

    yield make
    for oracle in opened:
        oracle.close()


WAYS = (
    "raise ValueError('\\x1b]0;owned\\x07\\x1b[2J\\u202e\\n' * 100)", "raise type('\\x1b[2J\\n', (Exception,), {})('x')",
    "return type('\\x1b[2J\\n', (), {})()", "return '\\x1b[2J\\n'", "raise ValueError('\\U000e0001' * 5000)",
)  # fmt: skip


def test_reasons_of_a_policy_can_be_printed(oracle_of):
    """`collect_expert_data.py` prints them."""
    ways = "".join(f"    if way == {number}: {way}\n" for number, way in enumerate(WAYS))
    oracle = oracle_of(f"import random\ndef run(state):\n    way = random.randrange({len(WAYS)})\n{ways}")
    answers = oracle.label_batch(distinct_situations(32))
    assert {answer.kind for answer in answers} == {"exception", "not text", "unknown word"}
    assert len({answer.reason for answer in answers}) >= len(WAYS) - 1  # two are alike but for the line
    for answer in answers:
        one_line(answer.reason)


def test_why_a_policy_can_t_be_loaded_can_be_printed(oracle_of):
    oracle = oracle_of(f"raise ValueError({ESCAPE!r})")
    oracle.label_batch(distinct_situations(1))
    one_line(oracle.stopped)


@pytest.mark.parametrize("source, words", [
    ("x = " + "+".join("1" * 100_000), "cannot be compiled"), ("x = " + "-" * 500_000 + "1", "cannot be compiled"),
    ("if 1: pass\n" + "elif 1: pass\n" * 50_000, "cannot be compiled"), ("x = " + "[" * 500_000, "is not Python"),
])  # fmt: skip
def test_one_that_can_hardly_be_compiled_harms_nobody(oracle_of, source, words):
    oracle = oracle_of(source)
    oracle.label_batch(distinct_situations(1))
    assert words in oracle.stopped
    one_line(oracle.stopped)


def test_tables_and_lines_can_be_printed(capsys):
    table = Table("name", title=ESCAPE)
    table.add_row(ESCAPE)
    print_table(table)
    with ProgressReport("x", 1) as report:
        report.print(ESCAPE)
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\u202e" not in said and said.count("owned") == 3 and said.count("[/x]") == 3


def test_a_script_s_last_words_are_one_line(tmp_path):
    one_line(in_one_line(ValueError(ESCAPE * 10_000)))
    command = [sys.executable, "-m", "tools.describe_data", str(tmp_path / "\x1b[2J\n.sqlite")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode and ended.stderr.endswith("\n")
    one_line(ended.stderr[:-1])
    for path in (*ROOT.glob("*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/**/*.py")):
        assert not re.search(r'(sys\.exit|print)\(f"[\w{}.]+: \{error\}', path.read_text()), f"{path}: use in_one_line"


# Demonstrations, and what is cloned of them

FACTS = {"milestone": "CLOCK_SET", "buttons": list(GAME.buttons), "game": GAME.id, "tier": "T1", "worlds": "0"}


def demonstrations(folder: Path, episodes: int = 2, **metadata) -> Path:
    for number in range(episodes):
        pictures = np.random.default_rng(number).integers(0, 255, (5, 144, 160, 3), np.uint8)
        actions = np.arange(4) % len(metadata.get("buttons", GAME.buttons))
        save_episode(folder, Episode(pictures, actions, np.zeros(4), np.zeros(4, bool), None, FACTS | metadata))
    return folder


def clone(folder: Path, **more) -> bc_pokemon.Args:
    return bc_pokemon.Args(
        expert_data_dir=str(folder), total_steps=2, batch_size=4, network="tiles-small", hidden_dim=8,
        eval_episodes=1, best_eval_episodes=1, num_envs=1, num_threads=1, max_steps=2, model_dir=str(folder / "models"), cuda=False,
        video=False, rom_path=str(ROOT / "tallgrass/tallgrass.gb"), milestone_config=str(ROOT / "milestone_config.json"), **more,
    )  # fmt: skip


@pytest.mark.parametrize("change", [
    {"milestone": ESCAPE}, {"game": "x\n"}, {"rom_sha256": "\x1b[2J"}, {"recorder": "\u202e"}, {"tier": "T" * 5000},
    {"worlds": "0," * 3000}, {"start_milestone": "\ud800"}, {"buttons": ["A", "\x1b[2J"]},
    {"attempt": "x"}, {"attempt": 10**30}, {"attempt": -2}, {"first_step": 1.5}, {"steps": -1},
    {"recording": ["x"]}, {"run_seed": {}},
])  # fmt: skip
def test_metadata_that_no_checkpoint_could_hold_or_nothing_can_be_added_to(tmp_path, change):
    demonstrations(tmp_path, 1, **change)
    with pytest.raises(DemonstrationError, match=f"in its metadata, {next(iter(change))} is ") as caught:
        load_metadata(tmp_path / "episode_0001.npz")
    one_line(str(caught.value))


def test_an_episode_that_does_not_say_how_much_of_a_recording_it_holds():
    ours = {"recording": "x", "first_step": 2, "steps": 3}
    assert saved_steps("x", [{"recording": "x"}, ours, {"recording": "y", "steps": 9}]) == 5


def test_a_tier_of_a_file_that_there_is_not():
    """Whatever else is said: with worlds of its own, or a milestone's start."""
    for worlds in (None, "0"):
        with pytest.raises(ValueError, match="there is no tier 'T9'"):
            choose_starts(GAME, "CLOCK_SET", "x.gb", purpose="choose", worlds=worlds, tier="T9")


def test_buttons_in_another_order_are_never_pressed(tmp_path, monkeypatch):
    """Their number fits: a clone would press others than it learned, and its table say only that it fails."""
    monkeypatch.chdir(tmp_path)
    turned = list(reversed(GAME.buttons))
    folder = demonstrations(tmp_path / "turned", buttons=turned)
    with pytest.raises(DemonstrationError, match="turned: its buttons are .*'RIGHT', 'LEFT'.*, but those of .* A, B, ") as caught:
        bc_pokemon.main(clone(folder, eval_frequency=2))
    one_line(str(caught.value))
    assert not list(tmp_path.rglob("*.pth")) and not list(tmp_path.glob("runs/*"))
    bc_pokemon.main(clone(demonstrations(tmp_path / "right"), eval_frequency=0))
    path = tmp_path / "right/models/bc_pokemon_final.pth"
    save_checkpoint(path, load_checkpoint(path) | {"buttons": turned})
    with pytest.raises(CheckpointError, match="final.pth: has buttons .*its outputs would press other buttons"):
        bc_pokemon.main(clone(folder, eval_only=True, resume_from=str(path)))


# Checkpoints whose weights are finite, and too large to compute with


def too_large(actions: int) -> TileCNN:
    torch.manual_seed(0)
    network = TileCNN(actions, 4)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1e30)
    return network


SCREENS = [np.random.default_rng(0).integers(0, 255, (144, 160, 3), np.uint8)]


@pytest.mark.parametrize("deterministic", [True, False])
def test_outputs_that_are_no_numbers_press_nothing(deterministic):
    """The likeliest of them would be A."""
    infos = [{"milestones": {"M": {"completed": False}}}]
    alone = NetworkPolicy(too_large(8), deterministic=deterministic)
    chained = ChainedStudents([(too_large(8), deterministic)], MemoryRouter(["M"]))
    pixels = ChainedStudents([(TileCNN(8, 4), deterministic)], PixelRouter(too_large(1)))
    for policy in (alone, chained, pixels):
        policy.start_episode(0, 1)
        with pytest.raises(CheckpointError, match="outputs are no finite numbers") as caught:
            policy.act([0], SCREENS, infos)
        one_line(str(caught.value))


def test_a_router_that_is_sure_of_what_can_t_be_still_goes_on_with_the_story():
    class Sure(TileCNN):
        def forward(self, pictures):
            return torch.tensor([[-1e30, -1e30, 1e30]])

    router, places = PixelRouter(Sure(3, 4)), []
    router.start_episode(0)
    with np.errstate(invalid="raise", divide="raise"):
        for number in range(4):
            places += router.route([0], [SCREENS[0] + np.uint8(number)], [{}])
    assert places == [0, 0, 2, 2]


# States whose form is right, and whose memory the game could not have


@pytest.fixture(scope="module")
def played():
    with PokemonEnv(start_milestone="RIVAL_HOUSE", target_milestone="BADGE") as env:
        env.reset(seed=1)
        yield env


def test_a_state_of_another_memory_layout(tmp_path, played):
    path = played.save_state(tmp_path / "x.state")
    layout = played.snapshot().index(1)  # the first byte that says so, of those that are 1
    for place in range(layout, layout + 300):
        memory = bytearray(played.snapshot())
        memory[place] ^= 0x7F
        with contextlib.suppress(ValueError):
            GAME.decode(bytes(memory))
            continue
        break
    before = played._emulator.read(BLOCK + place, 1)
    played._emulator.write(BLOCK + place, bytes([before[0] ^ 0x7F]))
    played.save_state(path)
    played._emulator.write(BLOCK + place, before)
    with PokemonEnv(target_milestone="BADGE") as env, pytest.raises(StateFileError, match="x.state cannot be of Tall") as caught:
        env.reset(options={"load_state": path})
    one_line(str(caught.value))


def test_right_buttons_are_left_out_where_the_memory_can_t_be(played):
    rng, memory, found = np.random.default_rng(0), played.snapshot(), 0
    for _ in range(400):
        changed = bytearray(memory)
        changed[rng.integers(0x40)] = rng.choice([0, 127, 255])
        try:
            GAME.optimal_actions(GAME.decode_state(bytes(changed), "no_op"))
        except (LookupError, ValueError):
            found += 1
            answer = Answer(0)
            assert add_optimal(answer, Situation(bytes(changed), "no_op"), GAME) is answer
    assert found > 10


@pytest.mark.parametrize("content, words", [
    (b"{" * 100, None), (json.dumps({"game": ESCAPE * 1000}).encode(), "is a state of another game"),
])  # fmt: skip
def test_a_sidecar_where_start_states_are_made(tmp_path, played, content, words):
    played.save_state(tmp_path / "GAME_RUNNING_completed.state")
    sidecar = tmp_path / "GAME_RUNNING_completed.state.json"
    sidecar.write_bytes(content)
    made = {"n_train": 0, "n_heldout": 0, "state_dir": tmp_path, "start_states_dir": tmp_path / "more", "show_progress": False}
    with contextlib.nullcontext() if words is None else pytest.raises(StartStateError, match=words):
        ensure_start_states("PLAYER_NAME_SET", **made)
    if words is None:
        with sidecar.open("ab") as file:  # takes no room on the disk
            file.truncate(2**41)
        ensure_start_states("PLAYER_NAME_SET", **made)
        assert sidecar.stat().st_size < 10_000


# A cache whose keys are right


class Freely(InProcessOracle):
    asks_freely = PolicyOracle.asks_freely


@pytest.mark.parametrize("change", ["action = 7 - action", "action = NULL, kind = 'none'", "optimal = '0 1 2 3 4 5 6 7'"])
def test_answers_that_were_changed_in_the_cache_are_found(tmp_path, monkeypatch, change):
    path = tmp_path / "x.sqlite"
    (tmp_path / "POLICY.py").write_text("def run(state):\n    return ['up', 'a', 'b'][hash(str(state)) % 3]\n")
    situations = distinct_situations(96)

    def label(kind: type[InProcessOracle], times: int = 1) -> int:
        oracle = kind(tmp_path / "POLICY.py", GAME)
        with AnswerCache(path) as cache:
            labeller = Labeller(oracle, cache)
            for _ in range(times):
                labeller.label(situations)
        return oracle.expert.answers

    assert label(Freely) == 96 and labelling.CHECKED_FIRST <= label(Freely) < 96
    assert label(InProcessOracle) == 0  # nor is one who is paid for each answer
    monkeypatch.setattr(labelling, "CHECKED_FIRST", 0)
    assert 200 < label(Freely, times=200) < 2000  # 600 on average
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE answers SET {change} WHERE action = 4")
    with pytest.raises(AnswerCacheError, match="holds .* where policy:POLICY:.* answers button 4: it was changed") as caught:
        label(Freely, times=200)
    one_line(str(caught.value))


# A pipeline's folder

RECORD = {"milestone_id": "M", "index": 0, "timestamp": "2026", "status": "completed"} | {
    "dagger_final_success_rate": 0.5, "test_episodes": 2, "expert_test_success_rate": 1.0, "minutes": 1.0
}  # fmt: skip


@pytest.mark.parametrize("change", [
    {"dagger_final_success_rate": math.nan}, {"dagger_final_success_rate": 7.0}, {"test_episodes": None}, {"test_episodes": -2},
    {"minutes": 10**400}, {"minutes": math.inf}, {"index": -1}, {"index": 10**400}, {"labels": -1}, {"expert_mean_steps": math.nan},
    {"student_success_low": -math.inf}, {"milestone_id": ESCAPE}, {"run_name": "\x1b[2J"}, {"videos": ["a/\x1b[2J"]},
])  # fmt: skip
def test_records_that_can_t_be_are_refused_before_a_pipeline_works(tmp_path, change):
    (tmp_path / "pipeline_results.json").write_text(json.dumps([RECORD | change]))
    with pytest.raises(PipelineRecordsError, match="move it away") as caught:
        PipelineRecords(tmp_path)
    one_line(str(caught.value))


def test_words_of_a_record_can_be_written_and_printed(tmp_path, capsys):
    row = RECORD | {"status": "failed", "reason": ESCAPE, "timestamp": ESCAPE}
    (tmp_path / "pipeline_results.json").write_text(json.dumps([row]))
    records = PipelineRecords(tmp_path)
    records.rewrite()
    assert "owned" in records.csv_path.read_text() and "\x1b" not in records.csv_path.read_text()
    one_line(records.get("M").reason)
    PipelineProgress.table(records)


@pytest.mark.parametrize("name", ["bc_pokemon_1_1", "auto_dagger_pipeline_1_1/x", "auto_dagger_pipeline_1_1\n", ESCAPE, 1])
def test_a_pipeline_s_name_is_no_other_run_s(tmp_path, name):
    (tmp_path / SETTINGS).write_text(json.dumps({"name": name, "settings": {}}))
    with pytest.raises(PipelineError, match="which is no pipeline's"):
        pipeline_to_continue(tmp_path, {}, overwrite=False)
    (tmp_path / SETTINGS).write_text(json.dumps({"name": "auto_dagger_pipeline_1_1", "settings": {}}))
    assert pipeline_to_continue(tmp_path, {}, overwrite=False) == "auto_dagger_pipeline_1_1"


def test_a_run_s_logs_that_are_no_files(tmp_path):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run/events.out.tfevents.1.x")
    assert read_curves(tmp_path / "run") == {}
    (tmp_path / "run/events.out.tfevents.1.x").unlink()
    (tmp_path / "run/events.out.tfevents.1.x").write_bytes(np.random.default_rng(0).bytes(100_000))
    assert read_curves(tmp_path / "run") == {}


def test_what_a_report_says_of_records_is_no_markup(tmp_path):
    words = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    record = Record("M", 0, words, "failed", reason=words, videos=("a/javascript:alert(1).mp4",))
    (tmp_path / "a").mkdir()
    (tmp_path / record.videos[0]).touch()
    page = write_report(tmp_path, words, pipeline.Args(output_dir=words), [record], {"M": words}, tmp_path).read_text()
    assert "<script" not in page and "<img" not in page and 'src="a/javascript%3Aalert' in page


FACTS_OF_EXPERT = {
    "expert_success_rate": 1.0, "expert_mean_steps": 11.5, "expert_std_steps": 1.5, "expert_episodes": 5, "max_episode_steps": 23
}  # fmt: skip


@pytest.mark.parametrize("change", [
    {"max_episode_steps": 10**12}, {"max_episode_steps": None}, {"expert_mean_steps": math.nan}, {"expert_mean_steps": None},
    {"expert_success_rate": 3.0}, {"expert_success_rate": math.nan}, {"expert_std_steps": math.inf}, {"expert_episodes": 10**9},
    {"expert_mean_steps": 5e11, "max_episode_steps": 10**12},
])  # fmt: skip
def test_an_evaluation_that_was_kept_and_can_t_be(change):
    entry = load_milestone_config(ROOT / "milestone_config.json")["CLOCK_SET"]
    check_evaluation(FACTS_OF_EXPERT, entry, eval_episodes=5, step_multiplier=2.0)
    with pytest.raises(ValueError, match="its (max_episode|expert)"):
        check_evaluation(FACTS_OF_EXPERT | change, entry, eval_episodes=5, step_multiplier=2.0)


@pytest.mark.parametrize("change", [
    {"milestone": "HEALED"}, {"rom_sha256": "0" * 64}, {"buttons": list(reversed(GAME.buttons))}, {"algorithm": "bc"},
    {"run_name": "other"}, {"labels": {"labels": "many"}}, {"labels": {"labels": torch.zeros(1)}}, {"labels": {}},
    {"labels": {"labels": -1}}, {"global_step": None},
])  # fmt: skip
def test_students_of_a_pipeline_that_are_not_its_own(tmp_path, change):
    facts = {"milestone": "CLOCK_SET", "rom_sha256": "ab" * 32, "buttons": list(GAME.buttons), "game": GAME.id}
    content = {"model_state_dict": {}, "algorithm": "dagger", "run_name": "own", "labels": {"labels": 3}, "global_step": 5} | facts
    best, final = (save_checkpoint(tmp_path / f"{name}.pth", content) for name in ("best", "final"))
    check_student(best, final, "CLOCK_SET", GAME, "ab" * 32)
    save_checkpoint(final, content | change)
    with pytest.raises(CheckpointError, match="(best|final).pth: ") as caught:
        check_student(best, final, "CLOCK_SET", GAME, "ab" * 32)
    one_line(str(caught.value))


# What training goes on from


class Two(torch.nn.Module):
    """Two weights, of which one is large."""

    def __init__(self):
        super().__init__()
        self.large, self.small = torch.nn.Linear(300, 8), torch.nn.Linear(8, 8)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.small(self.large(pictures.flatten(1).float() / 255))


def trained(learner: Learner) -> list[torch.Tensor]:
    learner.update(torch.full((2, 3, 10, 10), 200, dtype=torch.uint8), torch.tensor([1, 2]))
    return [weight.detach().clone() for weight in learner.network.parameters()]


def new_learner() -> Learner:
    return Learner(Two(), torch.device("cpu"), learning_rate=0.01, weight_decay=0.1, bf16=False)


def of_each(name, change):
    return lambda state: [one.update({name: change(one[name])}) for one in state["state"].values()]


def of_group(**changes):
    return lambda state: state["param_groups"][0].update(changes)


NO_MOMENTS = {
    "shorter than the weight": of_each("exp_avg", lambda t: torch.zeros(1)),  # the fused kernel wrote behind it: a crash, or worse
    "shorter squares": of_each("exp_avg_sq", lambda t: torch.zeros(2)),
    "another shape": of_each("exp_avg", lambda t: t.reshape(-1)),
    "complex": of_each("exp_avg", lambda t: t.to(torch.complex64)),
    "nan": of_each("exp_avg", lambda t: t * math.nan),
    "squares below 0": of_each("exp_avg_sq", lambda t: t - 1),
    "before the first step": of_each("step", lambda t: t - 10),
    "several steps": of_each("step", lambda t: torch.ones(5)),
    "a step in words": of_each("step", lambda t: "x"),
    "without squares": lambda state: [one.pop("exp_avg_sq") for one in state["state"].values()],
    "of one weight fewer": lambda state: state["state"].pop(3),
    "of one weight more": lambda state: state["state"].update({99: {"step": torch.tensor(1.0)}}),
    "no table": lambda state: state.update(state=[1]),
}


@pytest.mark.parametrize("name", NO_MOMENTS)
def test_what_adam_remembers_is_of_these_weights(name):
    learner = new_learner()
    trained(learner)
    state = learner.state_dict()
    NO_MOMENTS[name](state["optimizer_state_dict"])
    with pytest.raises(CheckpointError, match="x.pth: training cannot resume") as caught, restoring("x.pth"):
        new_learner().load_state_dict(state)
    one_line(str(caught.value))


@pytest.mark.parametrize("change", [
    of_group(maximize=True), of_group(betas="xx"), of_group(betas=(1.0, 1.0)), of_group(eps=1e30), of_group(amsgrad=True),
    of_group(params=[0] * 4), of_group(lr=math.nan), lambda state: state.pop("param_groups"),
    of_each("exp_avg", lambda t: torch.empty_strided(t.shape, (1, *t.shape[:-1])).copy_(t)),
], ids=[str(number) for number in range(9)])  # fmt: skip
def test_how_it_trains_is_not_said_by_a_checkpoint(change):
    """One with `maximize` climbed, and lost all that it had learned, without a word."""
    learner, other = new_learner(), new_learner()
    trained(learner)
    state = copy.deepcopy(learner.state_dict())
    change(state["optimizer_state_dict"])
    other.load_state_dict(state)
    assert all(map(torch.equal, trained(learner), trained(other)))


@pytest.mark.parametrize("place", [625, 1 << 30, -1])
def test_a_generator_is_not_behind_its_numbers(place):
    """numpy read memory that isn't its own, or crashed."""
    state = rng_state()
    state["numpy"]["state"]["pos"] = place
    with pytest.raises(CheckpointError, match="numpy's generator is at"), restoring("x.pth"):
        set_rng_state(state)


@pytest.mark.parametrize("record", [
    {"success_rate": 1.0}, {"step": "x"}, {"step": -1}, {"step": 1, "success_rate": 2.0}, {"step": 1, "mean_return": math.nan},
    {"step": 1, "successes": 30, "episodes": 20}, {"step": 1, "successes": "30"}, {"step": 1, "val_loss": -math.inf},
    {"step": 1, "val_loss": None}, {"step": 1, "text": ["x"]},
])  # fmt: skip
def test_the_best_so_far_is_one_that_can_be(record):
    """A traceback at the first comparison, or one that no network could ever better."""
    real = {"step": 1, "thorough": True, "successes": 0, "episodes": 2, "success_rate": 0.0, "mean_success_length": math.nan}
    check_records(None, {"step": 1}, real)
    with pytest.raises(ValueError, match="a network's record"):
        check_records(real, record)


@pytest.mark.parametrize("value", [torch.zeros(3), torch.tensor(math.nan), torch.tensor(1j), math.inf, "1", [1.0]], ids=str)
def test_a_sum_is_a_number(value):
    """The mean of a hundred steps' losses was a traceback, or nan in the logs; and no validation loss is lower than nan."""
    check_numbers(torch.tensor(1.5), torch.tensor(2), 0.25, 1, None)
    with pytest.raises(ValueError, match="a sum or a loss is"):
        check_numbers(torch.tensor(1.5), value)


@pytest.mark.parametrize("change", [
    {"sums": {"bc_loss": torch.zeros(3)}, "n_summed": 1}, {"lowest_val_loss": math.nan}, {"without_gain": -1},
])  # fmt: skip
def test_progress_of_a_clone_that_no_run_can_have_made(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    demonstrations(Path("d"))
    args = bc_pokemon.Args(
        expert_data_dir="d", network="tiles-small", hidden_dim=16, batch_size=4, num_threads=1, total_steps=1, eval_frequency=0,
        save_frequency=0, exp_name="x",
    )  # fmt: skip
    bc_pokemon.main(args)
    content = load_checkpoint("models/x_last.pth")
    save_checkpoint("models/x_last.pth", content | {"progress": content["progress"] | change})
    with pytest.raises(CheckpointError, match="training cannot resume from what it holds"):
        bc_pokemon.main(replace(args, resume_from="models/x_last.pth", total_steps=2))


class Nobody(ExpertOracle):
    """An expert that nobody asks."""

    identity = "nobody"

    def label_batch(self, situations):
        raise AssertionError("it was asked")


@pytest.mark.parametrize("change", [
    {"abstained": 0}, {"abstained": {1: 2}}, {"abstained": {ESCAPE: 2}}, {"abstained": {"x": "y"}}, {"seconds": math.nan},
    {"labels": -(10**9)}, {"withdrawn": 10**30}, {"asked": None}, {"others": 1},
    {"dollars": math.inf}, {"tokens": -1},
])  # fmt: skip
def test_counts_of_labels_that_can_t_be(change):
    """A traceback in the middle of a rollout; a budget with a billion labels below nothing is none."""
    labeller = Labeller(Nobody(), None, budget=10)
    state = labeller.state_dict()
    labeller.load_state_dict(state | {"abstained": {"timeout": 1}})
    with pytest.raises(CheckpointError, match="x.pth: training cannot resume"), restoring("x.pth"):
        labeller.load_state_dict(state | change)


@pytest.mark.parametrize("name", ["actions", "executed_actions"])
def test_a_button_of_a_number_that_nothing_has(tmp_path, name):
    """Of a file that does not name its buttons: `tools.describe_data` made a table of ten million, or asked for 7 GiB."""
    screens = np.zeros((3, 16, 16, 3), np.uint8)
    buttons = {name: np.array([0, 10_000_000])}
    path = tmp_path / "episode_0001.npz"
    np.savez_compressed(path, **{"actions": np.array([0, 1]), **buttons}, observations=screens, rewards=[0, 0], dones=[0, 0])
    with pytest.raises(DemonstrationError, match=f"{name} has button 10000000, but nothing has 1000 buttons"):
        describe(tmp_path)


# A run's folder


@pytest.mark.parametrize("link", ["x_starts", "x_starts/cutoffs_iter0", "x_starts/handovers_train"])
def test_a_run_s_folder_has_nothing_deleted_elsewhere(tmp_path, link):
    """`--overwrite` deleted each folder in the one that a link named x_starts led to, whatever it was."""
    kept = tmp_path / "important" / "photos"
    kept.mkdir(parents=True)
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "important", target_is_directory=True)
    with pytest.raises(StartStateError, match=f"{link}: is a link, and nothing is deleted behind one; remove it"):
        RolloutStarts(tmp_path / "x_starts", 1, 4, cutoff_share=0.5)
    assert kept.is_dir()


def test_only_what_runs_made_is_deleted_of_their_starts(tmp_path):
    for name in ("photos", "cutoffs_iter3", "handovers_train", "handovers_choose"):
        (tmp_path / "x_starts" / name).mkdir(parents=True)
    (tmp_path / "x_starts" / "notes.txt").touch()
    RolloutStarts(tmp_path / "x_starts", 1, 4).clear(kept=[tmp_path / "x_starts/handovers_train/000.state"])
    assert {path.name for path in (tmp_path / "x_starts").iterdir()} == {"photos", "notes.txt", "handovers_train"}


@pytest.mark.parametrize("known", [0, 1])
def test_a_checkpoint_that_knows_of_little_has_no_data_set_cut_off(tmp_path, known):
    """A stranger's, with a link to one of yours as its data set, and without a digest as older ones are: all rows were gone."""
    with DaggerData(tmp_path / "x.sqlite", "create", milestone="M", buttons=["A", "B"]) as data:
        for number in range(3):
            picture = np.full((16, 16, 3), number, np.uint8)
            data.append([Row(picture, action=0, iteration=number, episode=number, step=0)])
            data.commit(number)
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "x.sqlite")
    with pytest.raises(DaggerDataError, match=f"has {3 - known} iterations that x_last.pth does not know of, and {3 - known} rows"):
        open_data(tmp_path / "link.sqlite", "x_last.pth", "M", ["A", "B"], known, None)
    for rows, overwrite in ((2, False), (known, True)):  # a run that was killed before its checkpoint; who says so
        with open_data(tmp_path / "link.sqlite", "x_last.pth", "M", ["A", "B"], rows, None, overwrite) as data:
            assert len(data) == 3


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Flags of a run of one rollout and one step, and the content of its last checkpoint."""
    folder = tmp_path_factory.mktemp("begun")
    args = dagger_pokemon.Args(
        milestone="PLAYER_NAME_SET", network="tiles-small", model_dir=str(folder), answer_cache=None, eval_episodes=1, num_envs=1,
        best_eval_episodes=1, episodes_per_iter=1, max_episode_steps=2, train_steps_per_iter=1, n_iterations=1, num_threads=1,
        rom_path=str(ROOT / "tallgrass/tallgrass.gb"), eval_max_steps=2,
    )  # fmt: skip
    with contextlib.chdir(folder):
        dagger_pokemon.main(args)
        yield args, load_checkpoint("dagger_pokemon_last.pth")


@pytest.mark.parametrize("change", [
    {"iteration": -5}, {"step": 1 << 70}, {"first_step": 10**12, "phase": "train"}, {"first_step": -1}, {"rows": -1},
])  # fmt: skip
def test_progress_that_no_run_can_have_made(begun, monkeypatch, change):
    """Tracebacks of a random generator and of the logs; training to a step a trillion ahead."""
    args, content = begun
    monkeypatch.chdir(args.model_dir)
    save_checkpoint("dagger_pokemon_last.pth", content | {"progress": content["progress"] | change})
    with pytest.raises(CheckpointError, match="training cannot resume from what it holds"):
        dagger_pokemon.main(replace(args, resume_from="dagger_pokemon_last.pth", n_iterations=2))
