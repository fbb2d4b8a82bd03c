"""dagger_pokemon.py as a user runs it, on the bundled game: small networks, short episodes, real experts and files."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import bc_pokemon
import dagger_pokemon
from agent import oracle as oracle_module
from agent.answer_cache import AnswerCache, AnswerCacheError
from agent.open_expert import open_policy_oracle
from agent.oracle import LabelsWithdrawn
from agent.policy_expert import PolicyExpert
from common.demonstrations import DemonstrationError, Episode, save_episode
from common.evaluation import Evaluator
from common.learner import DivergedError, Learner
from common.networks import ImpalaCNN
from common.policies import Policy
from common.runtime.checkpoints import CheckpointError
from common.runtime.files import exclusive_lock
from common.runtime.flag_types import FlagError
from common.runtime.main import UserError
from common.runtime.run_names import RunError
from common.utils import evaluate_policy, make_env
from dagger import set_up
from dagger.data import DEMONSTRATION_ITERATION, DaggerData, DaggerDataError, Status
from dagger.queries import SelectionError
from dagger.training_set import TrainingSet
from pipeline.progress import PipelineProgress
from pokemon_env.errors import PokemonEnvError, StateFileError
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.vector_env import make_vector_env
from tasks.milestone_config import MilestoneConfigError
from tasks.recorded_starts import StartStateError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("forked_scripts")
MILESTONE = "PLAYER_NAME_SET"
QUICK: dict[str, object] = dict(
    milestone=MILESTONE, tier="T0", network="tiles", hidden_dim=16, num_threads=1, batch_size=8, train_steps_per_iter=10,
    n_iterations=2, episodes_per_iter=2, max_episode_steps=12, eval_episodes=1, best_eval_episodes=1, eval_max_steps=12,
    num_envs=2, video=False, cuda=False, milestone_config=str(ROOT / "milestone_config.json"),
    rom_path=str(ROOT / "tallgrass" / "tallgrass.gb"),
)  # fmt: skip


def as_flags(**flags) -> list[str]:
    words = []
    for name, value in flags.items():
        dashed = name.replace("_", "-")
        words += [f"--{'' if value else 'no-'}{dashed}"] if isinstance(value, bool) else [f"--{dashed}", str(value)]
    return words


def command(*flags) -> list[str]:
    return [sys.executable, str(ROOT / "dagger_pokemon.py"), *map(str, flags)]


def environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def run(folder, *flags) -> subprocess.CompletedProcess:
    return subprocess.run(command(*flags), cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)


@pytest.fixture
def learn(tmp_path, monkeypatch):
    """Run the script's program in this process; with `resume`, as --resume-from would: with the checkpoint's flags."""
    monkeypatch.chdir(tmp_path)

    def learn(resume: str | None = None, **flags):
        if resume is None:
            return dagger_pokemon.main(dagger_pokemon.Args(**(QUICK | flags)))
        words = ["--resume-from", resume, *as_flags(**flags)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["dagger_pokemon.py", *words])
            args = dagger_pokemon.parse_args()
        return dagger_pokemon.main(args)

    return learn


def weights(name: str, part: str = "final") -> dict[str, torch.Tensor]:
    return torch.load(f"models/{name}_{part}.pth")["model_state_dict"]


def same_weights(a: str, b: str, part: str = "final") -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a, part).values(), weights(b, part).values(), strict=True))


def digest(name: str = "dagger_pokemon") -> str:
    with DaggerData(f"models/{name}_data.sqlite", "read") as data:
        return data.digest()


def rows(*columns: str, name: str = "dagger_pokemon") -> dict[str, np.ndarray]:
    with DaggerData(f"models/{name}_data.sqlite", "read") as data:
        return data.columns(columns)


def iterations(name: str = "dagger_pokemon") -> dict[int, int]:
    with DaggerData(f"models/{name}_data.sqlite", "read") as data:
        return data.iterations


def scalars(run_name: str) -> dict[str, list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(f"runs/{run_name}", size_guidance={"scalars": 0}).Reload()
    return {tag: [event.value for event in log.Scalars(tag)] for tag in log.Tags()["scalars"]}


def write_policy(code: str, folder: str = "policies") -> str:
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / f"{MILESTONE}.py").write_text(code)
    return folder


def record(
    folder: str, episodes: int = 2, milestone: str = MILESTONE, abstain: bool = False, sets: bool = False, **metadata
) -> str:
    """Demonstrations by the game's own policy; with `sets`, the button after the label is as good, but for A."""
    settings = {"target_milestone": milestone, "start_milestone": milestone, "tier": "T0", "worlds": "0"}
    with PokemonEnv(QUICK["rom_path"], **settings) as env:
        expert = PolicyExpert((None, milestone), env.game)
        facts = {"milestone": milestone, "buttons": list(env.buttons), "tier": "T0", "worlds": "0", "world": 0}
        facts |= {"game": env.identity.game, "rom_sha256": env.identity.rom_sha256, "recorder": "test"}
        for seed in range(episodes):
            screen, info = env.reset(seed=seed)
            screens, actions, rewards, ended = [screen], [], [], False
            while not ended:
                actions.append(expert.label(info).action)
                screen, reward, ended, _, info = env.step(actions[-1])
                screens.append(screen)
                rewards.append(reward)
            dones = np.arange(1, len(actions) + 1) == len(actions)
            labels = np.full(len(actions), -1) if abstain else np.array(actions)
            one = Episode(np.stack(screens), labels, np.array(rewards), dones, np.array(actions))
            one.optimal = np.where(labels > 0, 1 << labels | 1 << (labels + 1) % 8, 0) if sets else None
            one.metadata = facts | {"seed": seed} | metadata
            save_episode(folder, one)
    return folder


# The command line


def test_help_is_quick():
    quickest = np.inf
    for _ in range(3):  # the machine may be busy
        began = time.perf_counter()
        done = subprocess.run(command("--help"), env=environment(), capture_output=True, text=True, timeout=60)
        quickest = min(quickest, time.perf_counter() - began)
    assert done.returncode == 0 and quickest < 1.5
    assert "--query-budget" in done.stdout and "--milestone" in done.stdout


def test_promised_defaults():
    promised = {
        "exp_name": "dagger_pokemon", "seed": 1, "torch_deterministic": True, "cuda": True, "track": False,
        "wandb_project_name": "pokemon-il", "wandb_entity": None, "n_iterations": 10, "episodes_per_iter": 5,
        "train_steps_per_iter": 10000, "max_episode_steps": 1000, "expert": "policy",
        "expert_model": "claude-haiku-5-5", "expert_timeout": 60, "eval_frequency": 1, "eval_episodes": 5,
        "expert_data_dir": None, "resume_from": None, "batch_size": 64, "learning_rate": 1e-4, "weight_decay": 1e-5,
        "hidden_dim": 256, "model_dir": "models", "save_best": True, "best_eval_episodes": 20,
    }  # fmt: skip
    defaults = vars(dagger_pokemon.Args())
    assert {name: defaults[name] for name in promised} == promised


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("--query-rate", 1.5, "at most 1"),
        ("--query-budget", -1, "at least 0"),
        ("--query-budget-per-iteration", 0, "at least 1"),
        ("--query-budget-per-iteration", -5, "at least 1"),
        ("--beta-decay", 2, "at most 1"),
        ("--train-steps-per-iter", 0, "at least 1"),
        ("--learning-rate", "nan", "a finite number"),
        ("--expert-timeout", 0, "at least 0.01"),
    ],
)
def test_values_out_of_range(monkeypatch, flag, value, reason):
    monkeypatch.setattr(sys, "argv", ["dagger_pokemon.py", flag, str(value)])
    with pytest.raises(SystemExit, match=f"^dagger_pokemon.py: {flag} is .*, but must be {reason}$"):
        dagger_pokemon.parse_args()


@pytest.mark.slow
def test_a_wrong_call_ends_with_one_line(tmp_path):
    done = run(tmp_path, "--milestone", "NOPE", "--rom-path", QUICK["rom_path"])
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert "no milestone NOPE. Name one with --milestone; it has GAME_RUNNING, " in done.stderr
    assert not any(tmp_path.iterdir())


WRONG = {
    "a name with a folder": (dict(exp_name="a/b"), "--exp-name: 'a/b' has a /, but is a part of file names"),
    "no milestone": (dict(milestone=None), "which milestone\\? Name one with --milestone; it has GAME_RUNNING"),
    "money without a model": (dict(max_cost=1.0), "--max-cost: only for a language model; give --expert code-agent"),
    "no ROM": (dict(rom_path="none.gb"), "none.gb"),
    "no checkpoint": (dict(init_from="none.pth"), "none.pth: no such checkpoint"),
    "no demonstrations": (dict(expert_data_dir="nowhere"), "nowhere: no such folder"),
    "no start states": (dict(start_states="nowhere", tier=None), "nowhere"),
    "worlds": (dict(worlds="garbage"), "worlds 'garbage': give a number"),
    "worlds of the tier": (dict(tier="T2", worlds="0"), "T2 is played in other worlds"),
    "no dropout": (dict(network="impala", query_by="disagreement", query_rate=0.5), "give --network tiles"),
    "budget": (dict(query_budget=0), "--query-budget 0 leaves nothing to learn from"),
    "config": (dict(eval_max_steps=None, milestone_config="none.json"), "none.json"),
    "cache": (dict(answer_cache="foreign.txt"), "foreign.txt: is not a cache of answers"),
    "broken policy": (dict(policy_dir="broken"), "broken/PLAYER_NAME_SET.py: .*not Python"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_before_anything_is_written(learn, case):
    Path("foreign.txt").write_text("not a database" * 100)
    write_policy("def run(state:\n", "broken")
    flags, told = WRONG[case]
    with pytest.raises((UserError, PokemonEnvError, OSError), match=told) as ending:
        learn(**flags)
    assert "\n" not in str(ending.value)
    assert not Path("runs").exists() and not (Path("models").exists() and list(Path("models").iterdir()))
    learn(n_iterations=1)  # nothing is in the way of the right call


def test_a_milestone_that_the_config_does_not_have(learn):
    config = json.loads(Path(QUICK["milestone_config"]).read_text())
    config["milestones"] = config["milestones"][:1]
    Path("short.json").write_text(json.dumps(config))
    with pytest.raises(MilestoneConfigError, match="short.json: has no milestone PLAYER_NAME_SET; give --eval-max-steps$"):
        learn(eval_max_steps=None, milestone_config="short.json")
    learn(n_iterations=1, milestone_config="short.json")  # with --eval-max-steps


def test_what_cannot_be_resumed(learn, tmp_path):
    learn(n_iterations=1)
    for part in ("best", "final", "iter0"):
        with pytest.raises(CheckpointError, match="has only weights; training resumes from a _last.pth"):
            learn(f"models/dagger_pokemon_{part}.pth")
    last = "models/dagger_pokemon_last.pth"
    with pytest.raises(CheckpointError, match=f"{last}: has milestone PLAYER_NAME_SET, here it is CLOCK_SET"):
        learn(last, milestone="CLOCK_SET")
    with pytest.raises(CheckpointError, match="has network .*give --network tiles --hidden-dim 16"):
        learn(last, hidden_dim=8)
    with pytest.raises(DaggerDataError, match=f"other_data.sqlite: the data set of {last} is not there; copy it"):
        learn(last, exp_name="other")
    record("demonstrations")
    few = dict(milestone=MILESTONE, expert_data_dir="demonstrations", total_steps=2, eval_episodes=0, eval_frequency=1)
    bc_pokemon.main(bc_pokemon.Args(**few, batch_size=8, hidden_dim=16, num_threads=1, cuda=False, network="tiles"))
    with pytest.raises(SystemExit, match="^dagger_pokemon.py: models/bc_pokemon_last.pth: has algorithm bc, here it is dagger: "):
        learn("models/bc_pokemon_last.pth")


def test_files_of_another_run_are_in_the_way(learn, monkeypatch):
    learn(n_iterations=1)
    before = digest()
    monkeypatch.setattr(dagger_pokemon, "roll_out", None)  # it must be told before anything is played
    ways = "Choose another --exp-name or --model-dir; continue that run with --resume-from models/dagger_pokemon_last.pth; or "
    with pytest.raises(CheckpointError, match=f"dagger_pokemon_best.pth already exists .*{ways}replace it with --overwrite"):
        learn(seed=2)
    for path in Path("models").glob("*.pth"):
        path.unlink()
    ways = "Choose another --exp-name or --model-dir; or replace it with --overwrite"  # and not a file that is gone
    with pytest.raises(DaggerDataError, match=f"dagger_pokemon_data.sqlite already exists, the data set of another run. {ways}"):
        learn(seed=2)
    assert digest() == before
    monkeypatch.undo()


def test_a_start_that_failed_is_not_in_the_way_of_the_next(learn, monkeypatch):
    Path("runs").write_text("")
    with pytest.raises(RunError, match="^runs: is no folder"):
        learn()
    assert not Path("models").exists()
    Path("runs").unlink()
    with monkeypatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setenv("HOME", os.getcwd())
        patch.setenv("NETRC", "netrc")
        done = run(Path.cwd(), *as_flags(**QUICK), "--track")
    assert done.returncode == 1 and done.stderr.startswith("dagger_pokemon.py: --track: W&B refuses: No API key"), done.stderr
    assert done.stderr.count("\n") == 1 and not Path("models").exists() and not os.listdir("runs")
    with monkeypatch.context() as patch:  # as far as the data set, but not to the first checkpoint
        patch.setattr("common.runtime.run.save_checkpoint", lambda *_: (_ for _ in ()).throw(CheckpointError("a full disk")))
        with pytest.raises(CheckpointError, match="a full disk"):
            learn()
    assert os.listdir("models") == ["dagger_pokemon_data.sqlite"]
    assert learn(n_iterations=1)["signal"] is None


def test_two_that_go_on_with_one_run(learn):
    learn(n_iterations=1)
    last, before = "models/dagger_pokemon_last.pth", digest()
    with exclusive_lock("models/.dagger_pokemon.lock"), pytest.raises(RunError, match="another process trains this run"):
        learn(last, n_iterations=2)
    assert digest() == before and learn(last, n_iterations=2)["iteration"] == 2


def test_a_run_that_diverges_keeps_what_was_good_and_asks_for_no_more_labels(learn):
    learn(n_iterations=1)
    best = Path("models/dagger_pokemon_best.pth").read_bytes()
    last = "models/dagger_pokemon_last.pth"
    told = rf"training has diverged \(loss \S+, weights (not )?finite\); resume from {last}, which .* learning rate than 10000$"
    with pytest.raises(DivergedError, match=f"^step [0-9]+: {told}") as ending:
        learn(last, learning_rate=1e4, n_iterations=5, train_steps_per_iter=300, last_interval=0.05)
    assert "\n" not in str(ending.value) and all(weight.isfinite().all() for weight in weights("dagger_pokemon", "last").values())
    assert Path("models/dagger_pokemon_best.pth").read_bytes() == best
    assert list(iterations()) == [0, 1]  # it diverged in the first training, and no dead network has played


def test_an_overwriting_run_can_be_resumed(learn, monkeypatch):
    """Nothing of the other run is left to be taken for its own: its best network, its later iterations."""
    learn(n_iterations=3)
    with monkeypatch.context() as patch:
        interrupt_after(patch, Learner, "update", 2)
        assert learn(overwrite=True, seed=2, n_iterations=1)["signal"] == signal.SIGINT
    assert sorted(path.name for path in Path("models").glob("*.pth")) == ["dagger_pokemon_last.pth"]
    assert learn("models/dagger_pokemon_last.pth")["signal"] is None
    learn(exp_name="whole", seed=2, n_iterations=1)
    assert same_weights("dagger_pokemon", "whole") and digest() == digest("whole")


ORIGINAL_UPDATE = Learner.update


# A run


def test_what_a_run_writes(learn, capsys):
    result = learn(save_iterations=True, eval_max_steps=None)
    names = sorted(path.name for path in Path("models").iterdir() if path.suffix != ".lock")
    assert names == [f"dagger_pokemon_{end}" for end in (
        "best.pth", "data.sqlite", "final.pth", "iter0.pth", "iter1.pth", "last.pth",
    )]  # fmt: skip
    best = torch.load("models/dagger_pokemon_best.pth")
    assert (best["milestone"], best["game"], best["algorithm"], best["tier"]) == (MILESTONE, "tallgrass", "dagger", "T0")
    assert "optimizer_state_dict" not in best and best["expert"].startswith("policy:PLAYER_NAME_SET:")
    assert best["metrics"]["iteration"] in (0, 1) and best["labels"]["labels"] > 0
    config = {entry["id"]: entry for entry in json.loads(Path(QUICK["milestone_config"]).read_text())["milestones"]}
    assert best["max_steps"] == config[MILESTONE]["max_steps"]
    log = scalars(result["run_name"])
    assert log["rollout/beta"] == [1, 0] and log["rollout/success_rate"][0] == 1
    assert {"rollout/repeat_rate", "rollout/mean_return", "train/bc_loss", "train/accuracy", "train/learning_rate"} <= set(log)
    assert {"labels/labels", "labels/asked", "labels/cached", "labels/answered", "labels/seconds"} <= set(log)
    assert {"eval/mean_return", "eval/std_return", "eval/success_rate", "eval/mean_milestones"} <= set(log)
    assert any(name.startswith("rollout/recall_") for name in log)
    said = capsys.readouterr().out
    assert "dagger_pokemon_final.pth" in said and "dagger_pokemon_data.sqlite" in said


def test_a_program_that_started_it_hears_of_each_event(learn, capsys):
    learn(json_events=True)
    lines = capsys.readouterr().out.splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert [(one["event"], one["iteration"]) for one in events] == [
        ("rollout", 0), ("evaluation", 0), ("rollout", 1), ("evaluation", 1),
    ]  # fmt: skip
    assert all(0 <= one["success_rate"] <= 1 and f"iteration {one['iteration']}: {one['text']}" in lines for one in events)
    with PipelineProgress([MILESTONE], iterations=2) as progress:
        for line in lines:
            progress.heard(MILESTONE, line)
    heard = capsys.readouterr().out
    assert all(f"{MILESTONE}: iteration {one['iteration']}: {one['text']}" in heard for one in events)
    assert "training" not in heard


def test_rollouts_are_filmed_where_that_is_wanted(learn):
    learn(rollout_videos="films")
    columns = rows("iteration", "episode")
    names = [f"rollout_iter{i}_ep0_{MILESTONE}.mp4" for i in range(2)]
    assert sorted(path.name for path in Path("films").iterdir()) == names
    for iteration, name in enumerate(names):
        episodes = columns["episode"][columns["iteration"] == iteration]
        with av.open(f"films/{name}") as film:  # one frame per step, and the last screen
            assert sum(1 for _ in film.decode(video=0)) == (episodes == episodes[0]).sum() + 1
    learn(exp_name="another")
    assert len(list(Path("films").iterdir())) == 2


def test_evaluations_draw_the_buttons_where_that_is_wanted(learn):
    flags = dict(learning_rate=0.0, best_eval_episodes=4, eval_max_steps=40)
    learn(**flags, exp_name="likeliest")
    learn(**flags, exp_name="drawn", stochastic_eval=True)
    likeliest, drawn = (torch.load(f"models/{name}_best.pth") for name in ("likeliest", "drawn"))
    assert (likeliest["deterministic"], drawn["deterministic"]) == (True, False)
    # An untrained network that always presses one button comes nowhere; one that draws them does at times.
    assert likeliest["metrics"]["mean_length"] == 40
    assert drawn["metrics"] != likeliest["metrics"] and same_weights("likeliest", "drawn")


def test_an_iteration_that_was_not_evaluated_has_no_metrics_of_another(learn):
    learn(n_iterations=3, eval_frequency=2)
    records = [torch.load(f"models/dagger_pokemon_iter{i}.pth")["metrics"] for i in range(3)]
    assert records[0] == {} and (records[1]["iteration"], records[2]["iteration"]) == (1, 2)


@pytest.mark.parametrize(
    ("schedule", "betas"),
    [
        ("first", [1, 0, 0, 0]), ("linear", [1, 0.75, 0.5, 0.25]), ("exponential", [1, 0.5, 0.25, 0.125]), ("none", [0] * 4),
    ],
)  # fmt: skip
def test_beta_schedules(schedule, betas):
    args = dagger_pokemon.Args(n_iterations=4, beta_schedule=schedule)
    assert [dagger_pokemon.beta_of(args, i) for i in range(4)] == betas
    started = [dataclasses.replace(args, expert_data_dir="x"), dataclasses.replace(args, init_from="x")]
    if schedule == "first":
        assert [dagger_pokemon.beta_of(one, 0) for one in started] == [0, 0]


def test_the_first_iteration_is_the_expert_s(learn):
    learn()
    columns = rows("iteration", "beta", "action", "label", "status")
    first = columns["iteration"] == 0
    assert (columns["beta"] == first).all() and first.any() and not first.all()
    assert (columns["action"][first] == columns["label"][first]).all()
    late = columns["status"][~first]
    assert (late == Status.VALID).any() and (columns["action"] != columns["label"])[~first].any()


def test_beta_is_a_share(learn):
    learn(beta_schedule="exponential", beta_decay=0.5, n_iterations=3, query_rate=0, max_episode_steps=40, milestone="CLOCK_SET")
    columns = rows("iteration", "status")
    shares = [(columns["status"][columns["iteration"] == i] == Status.VALID).mean() for i in range(3)]
    assert shares[0] == 1 and 0.3 < shares[1] < 0.7 and 0.1 < shares[2] < 0.45


def test_each_episode_of_all_iterations_has_its_own_seed(learn):
    learn(n_iterations=3)
    columns = rows("episode", "seed", "iteration")
    pairs = set(zip(columns["episode"].tolist(), columns["seed"].tolist(), strict=True))
    assert len(pairs) == len({seed for _, seed in pairs}) == 6
    assert [columns["iteration"][columns["episode"] == i][0] for i in range(6)] == [0, 0, 1, 1, 2, 2]


def test_rows_are_what_was_played(learn):
    """The data set's second iteration, played again from its seeds and asked again."""
    learn(query_rate=0.5, query_by="random", label_set=True, stochastic_rollouts=True)
    settings = {"target_milestone": MILESTONE, "start_milestone": MILESTONE, "tier": "T0", "worlds": "0", "state_in_info": False}
    with DaggerData("models/dagger_pokemon_data.sqlite", "read") as data, PokemonEnv(QUICK["rom_path"], **settings) as env:
        names = ("iteration", "episode", "step", "action", "label", "status", "seed", "world", "reward", "expert", "optimal")
        columns = data.columns(names)
        everything = np.arange(len(data))
        frames, snapshots = data.frames(everything), data.snapshots(everything)
        for episode in sorted(set(columns["episode"].tolist())):
            mine = np.flatnonzero(columns["episode"] == episode)
            screen, _ = env.reset(seed=int(columns["seed"][mine[0]]))
            for row in mine:
                assert np.array_equal(screen, frames[row]) and env.snapshot() == snapshots[row]
                screen, reward, *_ = env.step(int(columns["action"][row]))
                assert reward == columns["reward"][row] and columns["world"][row] == 0
        asked = np.flatnonzero(columns["status"] == Status.VALID)
        with open_policy_oracle((None, MILESTONE), env.game, with_optimal=True) as oracle:
            answers = oracle.label_batch(list(dagger_pokemon.situations_of(data, asked, False)))
            assert {data.names[i] for i in columns["expert"][asked]} == {oracle.identity}
        assert [answer.action for answer in answers] == columns["label"][asked].tolist()
        masks = [sum(1 << action for action in answer.optimal or ()) for answer in answers]
        assert masks == columns["optimal"][asked].tolist()


def test_sets_of_right_buttons_are_learned_from(learn, monkeypatch):
    seen, shares = [], set()

    def spy(self, observations, actions, *, optimal, label_share):
        seen.append((actions, optimal))
        shares.add(label_share)
        return ORIGINAL_UPDATE(self, observations, actions, optimal=optimal, label_share=label_share)

    monkeypatch.setattr(Learner, "update", spy)
    learn(milestone="RIVAL_HOUSE", max_episode_steps=20, label_set=True, label_share=0.3)
    assert shares == {0.3}
    sizes = torch.cat([optimal.sum(dim=1) for _, optimal in seen])
    assert sizes.min() == 1 and sizes.max() > 1
    assert all(optimal.gather(1, actions[:, None]).all() for actions, optimal in seen)
    seen.clear()
    learn(exp_name="plain", n_iterations=1)
    assert all(optimal is None for _, optimal in seen)


def test_no_environment_or_expert_is_left_open(learn, monkeypatch):
    """However it ends: the pipeline calls this again and again."""
    made, make = [], make_vector_env
    monkeypatch.setattr("tasks.task.make_vector_env", lambda *args, **more: made.append(make(*args, **more)) or made[-1])
    experts, open_expert = [], set_up.open_expert
    noted = lambda *args, **more: experts.append(open_expert(*args, **more)) or experts[-1]  # noqa: E731
    monkeypatch.setattr(set_up, "open_expert", noted)
    threads = signal.getsignal(signal.SIGINT)
    learn(n_iterations=1)
    for flags, error in ((dict(worlds="1-0"), FlagError), (dict(answer_cache="."), AnswerCacheError)):
        with pytest.raises(error):
            learn(exp_name="other", **flags)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", lambda *args, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            learn(exp_name="other")
    assert len(made) >= 6 and all(envs.closed or all(env._emulator is None for env in envs.envs) for envs in made)
    assert len(experts) == 3 and all(oracle._closed for oracle in experts)
    assert signal.getsignal(signal.SIGINT) is threads
    assert learn("models/other_last.pth")["signal"] is None  # its data set is not locked


def test_a_run_that_still_works_is_not_overwritten(learn):
    learn(n_iterations=1)
    before = digest()
    with exclusive_lock("models/.dagger_pokemon.lock"):
        with pytest.raises(RunError, match=rf"another process trains this run \(process {os.getpid()}, .*, since \d{{4}}-"):
            learn(n_iterations=1, overwrite=True)
    assert digest() == before


# Going on

PHASES = {
    "the expert's rollout": ("DaggerData", "append", 7),
    "a student's rollout": ("DaggerData", "append", 30),
    "labelling": ("DaggerData", "set_answers", 1),
    "right after the answers were kept": ("AnswerCache", "put_many", 20),
    "after the commit": ("DaggerData", "commit", 2),
    "training": ("Learner", "update", 17),
    "evaluation": ("Evaluator", "play", 3),
    "after the best was saved": ("run", "save_checkpoint", 4),
    "after an iteration was saved": ("save_checkpoint", "_iter1.pth", 1),
    "in the last iteration": ("Learner", "update", 28),
}
RESUMABLE = dict(
    beta_schedule="linear", n_iterations=3, query_rate=0.5, query_by="novelty", frame_stack=2, label_set=True,
    stochastic_rollouts=True, lr_schedule="cosine", last_interval=0.02, sampling="balanced", button_balance=0.5, learning_rate=1e-3,
    handover_share=0.5, cutoff_share=0.5, label_share=0.2, query_budget=70, network="tiles-small",
)  # fmt: skip
DRIVER = """
import json, os, signal, sys
sys.path.insert(0, {root!r})
import dagger_pokemon
from agent import oracle as oracle_module
from agent.answer_cache import AnswerCache
from common.runtime import run
from dagger.data import DaggerData
from common.evaluation import Evaluator
from common.learner import Learner
from tests.forked import import_everything

def dies_after(owner, name, count, only=""):
    original, left = getattr(owner, name), [count]
    def call(*args, **more):
        result = original(*args, **more)
        left[0] -= only in str(args[0])
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, call)

outcomes = {{}}
import_everything()  # once, not in each child
for number, (owner, name, count) in enumerate(json.load(sys.stdin)):
    child = os.fork()  # no thread has been started yet
    if not child:
        os.environ["PYTHONHASHSEED"] = "0"
        if owner == "save_checkpoint":
            dies_after(run, owner, count, only=name)
        else:
            dies_after(globals()[owner], name, count)
        try:
            dagger_pokemon.main(dagger_pokemon.Args(**{flags!r}, exp_name=f"killed{{number}}", answer_cache=f"{{number}}.sqlite"))
        finally:
            os._exit(3)
    outcomes[number] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print("outcomes", json.dumps(outcomes))
"""


def comparable(path: str) -> str:
    """A checkpoint's progress, without what differs when answers come from the cache; as text, in which nan equals nan."""
    return json.dumps(stripped(torch.load(path)["progress"]), sort_keys=True)


def stripped(progress: dict) -> dict:
    """What a checkpoint says of its progress, without how the answers were had."""
    kept = {key: value for key, value in progress["labels"].items() if key not in ("asked", "cached", "seconds")}
    return progress | {"labels": kept}


@pytest.mark.slow
def test_killed_in_any_phase_and_resumed_is_as_if_never_stopped(learn, tmp_path):
    learn(**RESUMABLE, exp_name="whole", answer_cache="whole.sqlite")
    code = DRIVER.format(root=str(ROOT), flags=QUICK | RESUMABLE)
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(list(PHASES.values())), cwd=tmp_path, env=environment(),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    outcomes = json.loads(done.stdout.rpartition("outcomes ")[2] or "{}")
    assert set(outcomes.values()) == {-signal.SIGKILL} and len(outcomes) == len(PHASES), (outcomes, done.stderr)
    for number, phase in enumerate(PHASES):
        name = f"killed{number}"
        at = torch.load(f"models/{name}_last.pth")
        with DaggerData(f"models/{name}_data.sqlite", "read") as data:  # no kill leaves it unreadable
            assert len(data) >= at["progress"]["rows"], phase
            if phase == "after the commit":
                assert len(data) > at["progress"]["rows"]
        assert not Path(f"models/{name}_final.pth").exists()
        result = learn(f"models/{name}_last.pth")
        assert result["iteration"] == 3 and result["run_name"] == at["run_name"], phase
        assert same_weights("whole", name) and same_weights("whole", name, "best"), phase
        assert digest(name) == digest("whole"), phase
        assert comparable(f"models/{name}_last.pth") == comparable("models/whole_last.pth"), phase


@pytest.mark.slow
def test_one_interrupt_saves_and_ends(tmp_path, learn, capsys, from_nothing):
    flags = QUICK | dict(train_steps_per_iter=100000, last_interval=0.05)
    process = subprocess.Popen(command(*as_flags(**flags)), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True)
    last = "models/dagger_pokemon_last.pth"
    try:
        deadline = time.monotonic() + 120
        while not (Path(last).exists() and torch.load(last)["global_step"] > 0):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "stopped in iteration 0; to resume: python dagger_pokemon.py --resume-from models/dagger_pokemon_last.pth" in output
    step = torch.load(last)["global_step"]
    # An iteration has as many steps as is said now, wherever it began.
    learn(last, train_steps_per_iter=step + 5)
    assert f"an uninterrupted run: --train-steps-per-iter was 100000 and is {step + 5}\n" in capsys.readouterr().out
    assert torch.load("models/dagger_pokemon_final.pth")["global_step"] == 2 * (step + 5)
    learn(last, train_steps_per_iter=7, n_iterations=4)
    assert torch.load("models/dagger_pokemon_final.pth")["global_step"] == 2 * (step + 5) + 14


def interrupt_after(monkeypatch, owner, name: str, count: int) -> None:
    original, left = getattr(owner, name), [count]

    def call(*args, **more):
        result = original(*args, **more)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGINT)
        return result

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(("name", "count"), [("append", 5), ("append", 30), ("set_answers", 1), ("commit", 2)])
def test_interrupted_while_labels_are_asked_for_counts_none_twice(learn, monkeypatch, name, count):
    """With a budget, a label that was counted twice would be one too few."""
    flags = dict(query_budget=40, n_iterations=3, query_by="random", beta_schedule="linear")
    flags |= dict(max_episode_steps=20, stochastic_rollouts=True)
    learn(**flags, exp_name="whole", answer_cache="")
    with monkeypatch.context() as patch:
        patch.setattr(oracle_module, "MOST_AT_ONCE", 2)  # so that it is stopped between two batches
        interrupt_after(patch, DaggerData, name, count)
        assert learn(**flags, answer_cache="")["signal"] == signal.SIGINT
    result = learn("models/dagger_pokemon_last.pth")
    assert result["labels"]["labels"] == 40 and digest() == digest("whole") and same_weights("dagger_pokemon", "whole")
    assert comparable("models/dagger_pokemon_last.pth") == comparable("models/whole_last.pth")


def test_interrupted_in_the_evaluation(learn, monkeypatch):
    learn(exp_name="whole")
    with monkeypatch.context() as patch:
        interrupt_after(patch, Evaluator, "play", 1)
        assert learn()["signal"] == signal.SIGINT
    assert torch.load("models/dagger_pokemon_last.pth")["progress"]["phase"] == "evaluate"
    result = learn("models/dagger_pokemon_last.pth")
    assert result["signal"] is None and same_weights("dagger_pokemon", "whole") and digest() == digest("whole")


def test_what_changes_a_run_that_goes_on_is_said(learn, capsys):
    learn(n_iterations=1)
    capsys.readouterr()
    learn("models/dagger_pokemon_last.pth", n_iterations=2)
    assert "bit-identical" not in capsys.readouterr().out
    learn("models/dagger_pokemon_last.pth", n_iterations=3, query_budget=50, batch_size=4, eval_episodes=2)
    said = capsys.readouterr().out
    changes = said.split("not bit-identical to an uninterrupted run: ")[1].split("\n")[0].split("; ")
    assert {"--n-iterations was 2 and is 3", "--query-budget was None and is 50", "--batch-size was 8 and is 4"} == set(changes)
    assert "eval-episodes" not in said.split("bit-identical")[1].split("\n")[0]
    write_policy((ROOT / "tallgrass" / "policies" / f"{MILESTONE}.py").read_text() + "\n# another\n")
    learn("models/dagger_pokemon_last.pth", n_iterations=4, policy_dir="policies")
    assert "the expert was policy:PLAYER_NAME_SET:" in capsys.readouterr().out


def test_a_run_from_before_the_budget_was_spread_goes_on(learn, capsys):
    learn(n_iterations=1, query_budget=60, exp_name="new")
    for name in ("new", "old", "all"):
        if name != "new":
            shutil.copy("models/new_data.sqlite", f"models/{name}_data.sqlite")
            checkpoint = torch.load("models/new_last.pth")
            del checkpoint["args"]["query_budget_per_iteration"]
            checkpoint["args"] |= {"exp_name": name, "n_iterations": 2} | ({"ask_repeats": True} if name == "all" else {})
            torch.save(checkpoint, f"models/{name}_last.pth")
        capsys.readouterr()
        learn(f"models/{name}_last.pth", n_iterations=2)
        said = capsys.readouterr().out.partition("an uninterrupted run: ")[2].split("\n")[0]
        spread = "--query-budget was used up as rollouts came and is spread over the iterations left"
        once = "the same picture could be queried again in its episode and no longer is"
        assert said == {"new": "--n-iterations was 1 and is 2", "old": f"{once}; {spread}", "all": spread}[name]
    columns = rows("iteration", name="old")
    assert set(columns["iteration"]) == {0, 1}


def test_only_the_newest_iterations_stay(learn):
    learn(n_iterations=1)
    kept = Path("models/dagger_pokemon_iter0.pth")
    torch.save(torch.load(kept) | {"run_name": "another"}, "models/dagger_pokemon_iter9.pth")
    learn(resume="models/dagger_pokemon_last.pth", n_iterations=4, keep_last=2)
    names = {path.name.removeprefix("dagger_pokemon_") for path in Path("models").glob("*.pth")}
    assert names == {"iter2.pth", "iter3.pth", "iter9.pth", "best.pth", "last.pth", "final.pth"}


def test_a_finished_run_goes_on_with_more_iterations(learn):
    learn(n_iterations=2, exp_name="whole")
    learn(n_iterations=1)
    learn("models/dagger_pokemon_last.pth", n_iterations=2)
    assert same_weights("dagger_pokemon", "whole") and digest() == digest("whole")


# What it begins with


def test_demonstrations_stand_for_the_first_rollout(learn):
    record("demonstrations", 3)
    result = learn(milestone=None, tier=None, expert_data_dir="demonstrations", max_expert_episodes=2)
    columns = rows("iteration", "source", "episode", "status", "beta")
    first = columns["iteration"] == DEMONSTRATION_ITERATION
    assert list(iterations()) == [DEMONSTRATION_ITERATION, 1] and set(columns["episode"][first]) == {0, 1}
    assert (columns["source"] == first).all() and (columns["beta"][~first] == 0).all()
    assert result["labels"]["labels"] == (columns["status"][~first] == Status.VALID).sum()  # demonstrations are no questions
    assert torch.load("models/dagger_pokemon_best.pth")["tier"] == "T0"  # theirs


def test_label_sets_of_demonstrations_are_learned_from(learn, monkeypatch):
    record("demonstrations", sets=True)
    sizes, update = [], Learner.update

    def spy(self, observations, actions, *, optimal, label_share):
        sizes.append(optimal.sum(dim=1))
        return update(self, observations, actions, optimal=optimal, label_share=label_share)

    monkeypatch.setattr(Learner, "update", spy)
    learn(expert_data_dir="demonstrations", n_iterations=1, label_set=True)
    columns = rows("label", "optimal", "status")
    labels = columns["label"].astype(int)
    assert columns["optimal"].tolist() == np.where(labels > 0, 1 << labels | 1 << (labels + 1) % 8, 0).tolist()
    assert set(torch.cat(sizes).tolist()) == {1, 2}  # of an A alone, and of others
    record("without")
    learn(exp_name="without", expert_data_dir="without", n_iterations=1, label_set=True)
    assert not rows("optimal", name="without")["optimal"].any()


def test_labels_of_demonstrations_from_more_episodes(learn):
    record("demonstrations", 3)
    flags = dict(expert_data_dir="demonstrations", n_iterations=1, max_labels=4, spread_labels=3)
    learn(**flags)
    columns = rows("status", "label", "expert", "episode")
    assert len(columns["status"]) == 12 and set(columns["status"]) == {Status.VALID, Status.NOT_ASKED}
    valid = columns["status"] == Status.VALID
    assert valid.sum() == 4 and (columns["label"][~valid] == -1).all() and not valid[:4].all()
    learn(exp_name="again", **flags)
    assert digest("again") == digest()
    with pytest.raises(DemonstrationError, match=r"fewer than the 900 wanted, 3 \(--spread-labels\) times 300"):
        learn(exp_name="many", **flags | {"max_labels": 300})


def test_begins_with_a_clone(learn):
    record("demonstrations")
    few = dict(milestone=MILESTONE, expert_data_dir="demonstrations", total_steps=20, eval_frequency=0, learning_rate=1e-3)
    bc_pokemon.main(bc_pokemon.Args(**few, batch_size=8, hidden_dim=16, num_threads=1, cuda=False, network="tiles"))
    clone = "models/bc_pokemon_final.pth"
    learn(milestone=None, init_from=clone, n_iterations=1, learning_rate=0.0, weight_decay=0.0)
    assert same_weights("bc_pokemon", "dagger_pokemon") and list(iterations()) == [0]
    columns = rows("action", "beta")
    assert set(columns["beta"]) == {0}  # it plays itself, from the first rollout on

    learn(exp_name="both", milestone=None, init_from=clone, expert_data_dir="demonstrations")
    assert list(iterations("both")) == [DEMONSTRATION_ITERATION, 0, 1]
    with pytest.raises(CheckpointError, match="has milestone PLAYER_NAME_SET, here it is CLOCK_SET"):
        learn(exp_name="other", milestone="CLOCK_SET", init_from=clone)
    with pytest.raises(CheckpointError, match="has network"):
        learn(exp_name="other", init_from=clone, hidden_dim=8)


def test_no_other_data_set_is_gone_on_with(learn):
    learn()
    learn(exp_name="other", seed=2)
    last, data = "models/dagger_pokemon_last.pth", Path("models/dagger_pokemon_data.sqlite")
    ours, theirs = data.read_bytes(), Path("models/other_data.sqlite").read_bytes()
    with contextlib.closing(sqlite3.connect("models/other_data.sqlite", isolation_level=None)) as connection:
        connection.execute("UPDATE rows SET label = (label + 1) % 8, optimal = NULL WHERE id = 0")
    changed = Path("models/other_data.sqlite").read_bytes()
    assert changed != theirs
    for content in (theirs, changed):
        data.write_bytes(content)
        before = digest()
        rows_there = torch.load(last)["progress"]["rows"]
        message = "data.sqlite: (is not the data set of models/dagger_pokemon_last.pth|no commit ended with)"
        with pytest.raises(DaggerDataError, match=message):
            learn(last, n_iterations=3)
        assert digest() == before and rows_there  # and nothing of it is lost
    data.write_bytes(ours)
    with contextlib.closing(sqlite3.connect(data, isolation_level=None)) as connection:
        connection.execute("UPDATE rows SET label = (label + 1) % 8, optimal = NULL WHERE id = 0")
    with pytest.raises(DaggerDataError, match="or was changed: its first .* rows are others; put the right file there"):
        learn(last, n_iterations=3)
    data.write_bytes(ours)
    older = torch.load(last)
    del older["data_digest"]  # checkpoints of before don't say
    torch.save(older, last)
    assert learn(last, n_iterations=3)["iteration"] == 3


def test_cached_answers_that_can_t_be_ones_are_asked_for_again(learn):
    asked = learn(answer_cache="answers.sqlite")["labels"]["asked"]
    with contextlib.closing(sqlite3.connect("answers.sqlite", isolation_level=None)) as connection:
        connection.execute("UPDATE answers SET action = 60, kind = NULL, optimal = NULL")
    with pytest.warns(RuntimeWarning, match="answers.sqlite: the answer .* cannot be one to a query of 8 buttons"):
        again = learn(exp_name="again", answer_cache="answers.sqlite")["labels"]
    assert again["asked"] == asked and digest("again") == digest()
    assert learn(exp_name="third", answer_cache="answers.sqlite")["labels"]["asked"] == 0


@pytest.mark.parametrize(("name", "count"), [("commit", 1), ("append", 20)])
@pytest.mark.parametrize("clone", [False, True])
def test_demonstrations_are_added_once(learn, monkeypatch, name, count, clone):
    record("demonstrations")
    learn(exp_name="clone", n_iterations=1)
    flags = dict(expert_data_dir="demonstrations", **({"init_from": "models/clone_final.pth"} if clone else {}))
    learn(**flags, exp_name="whole")
    with monkeypatch.context() as patch:
        interrupt_after(patch, DaggerData, name, count)
        assert learn(**flags)["signal"] == signal.SIGINT
    learn("models/dagger_pokemon_last.pth")
    assert list(iterations()) == ([-1, 0, 1] if clone else [-1, 1])
    assert digest() == digest("whole") and same_weights("dagger_pokemon", "whole")


@pytest.mark.parametrize("clone", [False, True])
def test_demonstrations_are_added_once_after_a_crash(learn, monkeypatch, clone):
    """Gone between the data set's commit and the checkpoint, which does not know of them yet."""
    record("demonstrations")
    learn(exp_name="clone", n_iterations=1)
    flags = dict(expert_data_dir="demonstrations", **({"init_from": "models/clone_final.pth"} if clone else {}))
    with monkeypatch.context() as patch:
        commit = DaggerData.commit
        patch.setattr(DaggerData, "commit", lambda self, iteration: commit(self, iteration) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            learn(**flags)
    assert list(iterations()) == [-1] and torch.load("models/dagger_pokemon_last.pth")["progress"]["rows"] == 0
    learn("models/dagger_pokemon_last.pth")
    assert list(iterations()) == ([-1, 0, 1] if clone else [-1, 1])
    columns = rows("iteration", "episode")
    assert len(set(columns["episode"][columns["iteration"] == -1])) == 2


def test_demonstrations_that_can_t_be_used(learn):
    record("foreign", rom_sha256="00")
    with pytest.raises(DemonstrationError, match="foreign: recorded with another rom_sha256"):
        learn(expert_data_dir="foreign", target_success_rate=0.5)
    assert not Path("runs").exists()
    with pytest.raises(DemonstrationError, match="no demonstrations of CLOCK_SET"):
        learn(expert_data_dir="foreign", milestone="CLOCK_SET")
    record("silent", abstain=True)
    with pytest.raises(FlagError, match="silent: no step of the demonstrations has a label"):
        learn(expert_data_dir="silent")


# The expert

AT_A_LOSS = """
def run(state):
    if state["prev_action"] == "no_op":
        return None
    if state["prev_action"] in ("up", "down"):
        raise ValueError("no idea")
    return "up"
"""


def test_abstentions_are_counted_and_never_learned_from(learn, monkeypatch):
    sampled, sample = [], TrainingSet.sample_ids
    monkeypatch.setattr(TrainingSet, "sample_ids", lambda *args: sampled.append(sample(*args)) or sampled[-1])
    result = learn(policy_dir=write_policy(AT_A_LOSS), n_iterations=3)
    columns = rows("status", "label", "kind", "reason", "action")
    drawn = np.unique(np.concatenate(sampled))
    assert (columns["status"][drawn] == Status.VALID).all() and (columns["label"][drawn] == 4).all()
    gone = columns["status"] == Status.ABSTAINED
    labels = result["labels"]
    assert set(labels["abstained"]) == {"none", "exception"} and sum(labels["abstained"].values()) == gone.sum() > 0
    assert labels["answered"] + gone.sum() == labels["labels"] and (columns["label"][gone] == -1).all()
    with DaggerData("models/dagger_pokemon_data.sqlite", "read") as data:
        names = np.array(data.names)
    why = set(zip(names[columns["kind"][gone]], names[columns["reason"][gone]], strict=True))
    words = {"none": f"{MILESTONE}.py: answered None", "exception": f"{MILESTONE}.py: ValueError: no idea (line 6)"}
    assert why == set(words.items()) and set(columns["reason"][~gone]) == {-1}
    log = scalars(result["run_name"])
    assert log["labels/abstained_none"][-1] == labels["abstained"]["none"]
    assert log["labels/abstained_exception"][-1] == labels["abstained"]["exception"]


def test_an_expert_that_never_answers(learn):
    policies = write_policy("def run(state):\n    return None\n")
    with pytest.raises(FlagError, match="no step has a label.*abstained: none .*--policy-dir") as ending:
        learn(policy_dir=policies)
    assert "\n" not in str(ending.value) and iterations() == {}
    write_policy((ROOT / "tallgrass" / "policies" / f"{MILESTONE}.py").read_text())  # corrected, it goes on
    learn("models/dagger_pokemon_last.pth", policy_dir=policies)
    learn(exp_name="whole", policy_dir=policies)
    assert digest() == digest("whole") and same_weights("dagger_pokemon", "whole")


def test_the_cache_answers_a_second_run(learn):
    flags = dict(n_iterations=3, answer_cache="answers.sqlite", query_rate=0.7)
    first = learn(**flags, exp_name="first")["labels"]
    second = learn(**flags, exp_name="second")["labels"]
    assert first["asked"] > 0 and second["asked"] == 0 and second["cached"] == second["labels"] == first["labels"]
    assert same_weights("first", "second") and digest("first") == digest("second")
    columns = rows("status", "cached", name="second")
    assert columns["cached"][columns["status"] == Status.VALID].all()
    without = learn(**flags | {"answer_cache": ""}, exp_name="without")["labels"]
    assert without["cached"] == 0 and same_weights("first", "without")
    with AnswerCache("answers.sqlite") as cache:
        assert len(cache) == first["asked"]


def test_in_this_process_or_in_a_sandbox_is_the_same(learn):
    learn(exp_name="locked")
    learn(exp_name="unsafe", unsafe_policies=True)
    assert same_weights("locked", "unsafe")


OWN = "def run(state):\n    return 'up' if state['prev_action'] == 'a' else 'a'\n"


@pytest.mark.parametrize("flags", [dict(policy_dir="policies"), dict(unsafe_policies=True)], ids=["policy_dir", "unsafe_policies"])
def test_which_policy_labels_and_whether_it_is_locked_is_said_each_time(learn, capsys, flags):
    write_policy(OWN)
    last = "models/dagger_pokemon_last.pth"
    learn(**flags, exp_name="whole", n_iterations=2)
    learn(**flags, n_iterations=1)
    before = Path(last).read_bytes()
    with pytest.raises(FlagError, match=f"its run was begun with {as_flags(**flags)[0]}.*another expert") as told:
        learn(last, n_iterations=2)
    assert "\n" not in str(told.value) and Path(last).read_bytes() == before
    capsys.readouterr()
    learn(last, n_iterations=2, **flags)
    assert digest() == digest("whole") and same_weights("dagger_pokemon", "whole")
    said = capsys.readouterr().out
    assert "never taken from a file" not in said and "bit-identical" not in said
    assert ("--unsafe-policies: policy files run in this process" in said) == ("unsafe_policies" in flags)
    assert (f"labels by policies/{MILESTONE}.py, in a sandbox\n" in said) == ("policy_dir" in flags)
    defaults = vars(dagger_pokemon.Args())
    learn(last, n_iterations=3, **{name: defaults[name] for name in flags})  # or the other one is meant, and that is said
    assert "the expert was policy:" in capsys.readouterr().out


def test_a_model_that_labels_nothing_need_not_be_named_again(learn, capsys):
    """The default of --expert-model has changed, and will: a run with policies does not depend on it."""
    again = dict(policy_dir=write_policy(OWN))
    learn(**again, expert_model="dear", n_iterations=1)
    write_policy(OWN + "# another\n")
    learn("models/dagger_pokemon_last.pth", **again, n_iterations=2)
    assert "the expert was policy:" in capsys.readouterr().out


def test_the_same_policy_from_another_folder_need_not_be_said_again(learn):
    policies = write_policy((ROOT / "tallgrass" / "policies" / f"{MILESTONE}.py").read_text())
    learn(policy_dir=policies, exp_name="whole")
    learn(policy_dir=policies, n_iterations=1)
    learn("models/dagger_pokemon_last.pth", n_iterations=2)
    assert digest() == digest("whole") and same_weights("dagger_pokemon", "whole")


def test_a_strangers_checkpoint_runs_no_code_and_names_no_folder(learn, tmp_path):
    canary = tmp_path / "canary"
    write_policy(f"open({str(canary)!r}, 'w')\n{OWN}")
    learn(n_iterations=1)
    last = "models/dagger_pokemon_last.pth"
    content = torch.load(last)
    content["args"] |= {"policy_dir": "policies", "unsafe_policies": True}
    torch.save(content, last)
    learn(last, n_iterations=2)  # the expert is the one that it was
    assert not canary.exists()
    files = sorted(tmp_path.rglob("*"))
    for name in ("../x", str(tmp_path / "x"), "", None):
        torch.save(content | {"run_name": name}, last)
        with pytest.raises(CheckpointError, match="its run_name is .*, which is no plain name"):
            learn(last, n_iterations=3)
    assert sorted(tmp_path.rglob("*")) == files


# The economy of labels


@pytest.mark.parametrize("schedule", ["first", "linear"])
def test_never_more_labels_than_the_budget(learn, schedule):
    flags = dict(query_budget=16, beta_schedule=schedule, max_episode_steps=8)
    result = learn(**flags)
    columns = rows("status", "iteration")
    asked = columns["status"] != Status.NOT_ASKED
    assert result["labels"]["labels"] == asked.sum() <= 16
    again = learn("models/dagger_pokemon_last.pth", n_iterations=4)
    columns = rows("status", "iteration")
    assert again["labels"]["labels"] == (columns["status"] != Status.NOT_ASKED).sum() == 16  # used up, and no more
    assert (columns["iteration"] == 3).any()  # it went on playing
    assert again["labels"]["asked"] + again["labels"]["cached"] <= 16


def test_the_budget_of_an_iteration():
    args = dagger_pokemon.Args(n_iterations=6, query_budget=1000)
    spent, budgets = 0, []
    for iteration in range(6):
        budgets.append(dagger_pokemon.budget_of(args, iteration, spent))
        spent += budgets[-1]
    assert spent == 1000 and max(budgets) - min(budgets) <= 1
    assert dagger_pokemon.budget_of(args, 1, 361) == 128  # the expert acted, and took more than its share
    assert dagger_pokemon.budget_of(args, 2, 361 + 117) == 131  # what one left is for those after it
    assert dagger_pokemon.budget_of(args, 5, 400) == 600 and dagger_pokemon.budget_of(args, 4, 1000) == 0
    few = dataclasses.replace(args, query_budget=2)
    assert [dagger_pokemon.budget_of(few, i, min(i, 2)) for i in range(6)] == [1, 1, 0, 0, 0, 0]  # never nothing to begin with
    assert dagger_pokemon.budget_of(dataclasses.replace(args, query_budget_per_iteration=30), 5, 400) == 30
    assert dagger_pokemon.budget_of(dagger_pokemon.Args(query_budget_per_iteration=30), 5, 400) == 30
    assert dagger_pokemon.budget_of(dagger_pokemon.Args(), 5, 400) == np.inf


WANDERS = dict(milestone="RIVAL_HOUSE", tier="T1", max_episode_steps=30, stochastic_rollouts=True, n_iterations=4)


def asked_by_iteration(name: str = "dagger_pokemon") -> list[int]:
    columns = rows("status", "iteration", name=name)
    return np.bincount(columns["iteration"][columns["status"] != Status.NOT_ASKED]).tolist()


@pytest.mark.parametrize("by", ["random", "novelty", "disagreement"])
def test_the_budget_lasts_until_the_last_iteration(learn, capsys, by):
    result = learn(**WANDERS, query_budget=34, query_by=by, beta_schedule="none")
    assert asked_by_iteration() == [9, 9, 8, 8] and result["labels"]["labels"] == 34
    assert scalars(result["run_name"])["labels/budget_of_iteration"] == [9, 9, 8, 8]
    assert "; budget 8: 0 where the expert acted, 8 queried after it\n" in capsys.readouterr().out
    columns = rows("status", "iteration", "step")
    asked = columns["status"] != Status.NOT_ASKED
    for iteration in range(4):  # not the first ones of a rollout
        assert columns["step"][asked & (columns["iteration"] == iteration)].max() > 9


def test_a_budget_for_each_iteration(learn):
    flags = dict(query_by="random", query_budget_per_iteration=6)
    result = learn(**WANDERS, **flags, exp_name="first")
    acted = (rows("iteration", name="first")["iteration"] == 0).sum()
    assert acted > 6 and asked_by_iteration("first") == [acted, 6, 6, 6]  # where the expert acts he is asked
    assert scalars(result["run_name"])["labels/budget_of_iteration"] == [6] * 4
    learn(**WANDERS, **flags, query_budget=15, beta_schedule="none", exp_name="both")
    assert asked_by_iteration("both") == [6, 6, 3]  # and none in the fourth
    result = learn(**WANDERS, exp_name="neither")
    assert min(asked_by_iteration("neither")) > 6 and "labels/budget_of_iteration" not in scalars(result["run_name"])


class ToAndFro(Policy):
    """A student that presses LEFT and RIGHT in turns, whatever it has learned."""

    def __init__(self, *_, **__):
        self.steps: dict[int, int] = {}

    def start_episode(self, slot, seed):
        self.steps[slot] = 0

    def act(self, slots, screens, infos):
        for slot in slots:
            self.steps[slot] += 1
        return [GAME.buttons.index("LEFT" if self.steps[slot] % 2 else "RIGHT") for slot in slots]


@pytest.mark.parametrize(("tier", "repeats"), [("T1", False), ("T1", True), ("T3", False)])
def test_a_student_that_walks_to_and_fro_is_labelled_once_for_each_picture(learn, monkeypatch, tier, repeats):
    """The memory that the expert reads is another at each step: it counts them, and people walk about."""
    monkeypatch.setattr(dagger_pokemon, "NetworkPolicy", ToAndFro)
    flags = WANDERS | dict(tier=tier, n_iterations=2, max_episode_steps=40, ask_repeats=repeats)
    result = learn(**flags, beta_schedule="none")
    columns = rows("episode", "frame", "snapshot", "prev_action", "status")
    sights = list(zip(columns["episode"].tolist(), columns["frame"].tolist(), strict=True))
    questions = list(zip(columns["snapshot"].tolist(), columns["prev_action"].tolist(), strict=True))
    asked = np.flatnonzero(columns["status"] != Status.NOT_ASKED)
    assert len(sights) == 160 and len(set(sights)) < 60 and len(set(questions)) > 140
    first = {sight: row for row, sight in reversed(list(enumerate(sights)))}
    if repeats:
        assert len(asked) == 160
    elif tier == "T3":  # what was on the screen a moment ago decides: each may have another answer
        assert len(asked) == len(set(questions))
    else:
        assert asked.tolist() == sorted(first.values())
    assert result["labels"]["labels"] == len(asked)


@pytest.mark.parametrize("by", ["random", "novelty", "disagreement"])
def test_a_share_of_the_states_is_asked_about(learn, monkeypatch, by):
    chosen, label = [], dagger_pokemon.label

    def spy(args, parts, ids, *rest):
        new = dagger_pokemon.unanswered(parts.data, ids)
        asked = label(args, parts, ids, *rest)
        chosen.append((len(new), len(asked), set(asked.tolist()) <= set(new.tolist())))
        return asked

    monkeypatch.setattr(dagger_pokemon, "label", spy)
    learn(query_rate=0.25, query_by=by, stochastic_rollouts=True, n_iterations=3, max_episode_steps=20)
    assert chosen[0][:2] == (0, 0)  # the expert has labelled all of the first
    assert all(asked == -(-new // 4) > 1 and among for new, asked, among in chosen[1:]), chosen
    columns = rows("status", "iteration")
    assert [(columns["status"][columns["iteration"] == i] == Status.VALID).sum() for i in (1, 2)] == [c[1] for c in chosen[1:]]


def test_choosing_does_not_disturb_training(learn, monkeypatch):
    """All states are asked about, however they were scored: the same weights, though disagreement draws random numbers."""
    learn(exp_name="plain")
    label = dagger_pokemon.label

    def scored(args, parts, ids, *rest):
        features = dagger_pokemon.queries.features(parts.network, parts.training.observations, ids)
        scores = dagger_pokemon.queries.disagreement(parts.network, parts.training.observations, ids, 1)
        assert len(features) == len(scores) == len(ids)
        return label(args, parts, ids, *rest)

    monkeypatch.setattr(dagger_pokemon, "label", scored)
    learn(exp_name="scored")
    assert same_weights("plain", "scored") and digest("plain") == digest("scored")


def test_novelty_asks_about_what_is_far_from_the_labelled(learn, monkeypatch):
    from dagger import queries as query_selection

    calls, choose = [], query_selection.choose_novel

    def spy(visited, known, count):
        places = choose(visited, known, count)
        calls.append((visited, known, places))
        return places

    monkeypatch.setattr(query_selection, "choose_novel", spy)
    learn(query_rate=0.2, query_by="novelty", stochastic_rollouts=True, n_iterations=3, max_episode_steps=30)
    assert len(calls) == 2
    for visited, known, places in calls:
        assert len(known) > 0
        nearest = (1 - visited @ known.T).min(axis=1)
        assert nearest[places].max() == nearest.max() and nearest[places].mean() > nearest.mean()
    # What was labelled in the second iteration is known in the third.
    assert len(calls[1][1]) == len(calls[0][1]) + len(calls[0][2])


def test_a_choice_that_chooses_nothing_is_said(learn, capsys):
    learn(n_iterations=1, query_by="random")
    assert "--query-by random changes nothing" in capsys.readouterr().out
    with pytest.raises(SelectionError, match="needs a network with dropout"):
        learn(exp_name="other", network="impala", query_by="disagreement", query_budget=10)


def test_a_stuck_student_is_labelled_once(learn):
    """Whoever learned to press SELECT stays where he is: one question, and no flood of rows."""
    policies = write_policy("def run(state):\n    return 'select'\n")
    learn(policy_dir=policies, exp_name="stuck", learning_rate=1e-2, train_steps_per_iter=40)
    columns = rows("status", "iteration", "episode", "frame", "action", name="stuck")
    late = columns["iteration"] == 1
    assert late.sum() == 24 and set(columns["action"][late]) == {3}
    pictures = set(zip(columns["episode"][late].tolist(), columns["frame"][late].tolist(), strict=True))
    assert 1 <= (columns["status"][late] == Status.VALID).sum() <= len(pictures) <= 4
    assert scalars(torch.load("models/stuck_last.pth")["run_name"])["rollout/repeat_rate"][1] > 0.8


@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
def test_balanced_sampling_keeps_a_stuck_episode_from_flooding(learn, monkeypatch, sampling):
    made, sampled, sample = [], [], TrainingSet.sample_ids

    def spy(self, size):
        made.append(self)
        sampled.append(sample(self, size))
        return sampled[-1]

    monkeypatch.setattr(TrainingSet, "sample_ids", spy)
    policies = write_policy("def run(state):\n    return 'select' if state['game']['game_state'] else 'a'\n")
    learn(policy_dir=policies, n_iterations=1, sampling=sampling, train_steps_per_iter=60, max_episode_steps=30)
    columns = rows("frame", "label")
    counts = np.bincount(columns["frame"])
    share = np.bincount(columns["frame"][np.concatenate(sampled)], minlength=len(counts)) / sum(map(len, sampled))
    stuck = int(counts.argmax())
    wanted = counts / counts.sum() if sampling == "uniform" else (counts > 0) / (counts > 0).sum()
    assert counts[stuck] > 20 and abs(share[stuck] - wanted[stuck]) < 0.15


# The end


def test_stops_when_the_target_is_reached(learn, monkeypatch, capsys):
    monkeypatch.setattr("dagger.target.TARGET_EPISODES", 4)
    flags = dict(milestone="GAME_RUNNING", n_iterations=6, learning_rate=1e-2, train_steps_per_iter=60, eval_max_steps=12)
    result = learn(**flags, target_success_rate=0.5)
    assert result["iteration"] < 6 and result["last"]["success_rate"] == 1
    said = capsys.readouterr().out
    assert "the expert succeeds in 100% of 4 episodes" in said and "the target was reached in iteration" in said
    assert Path("models/dagger_pokemon_final.pth").is_file()
    assert result["labels"]["labels"] == (rows("status")["status"] != Status.NOT_ASKED).sum()  # the expert's own play is free
    progress = torch.load("models/dagger_pokemon_last.pth")["progress"]
    assert progress["reached_target"] and progress["expert_success_rate"] == 1


def test_a_target_that_means_nothing(learn, monkeypatch, capsys):
    monkeypatch.setattr("dagger.target.TARGET_EPISODES", 2)
    with pytest.raises(FlagError, match="the expert succeeds in none of 2 episodes"):
        learn(target_success_rate=0.5, policy_dir=write_policy("def run(state):\n    return 'select'\n"))
    learn(exp_name="high", target_success_rate=0.95, n_iterations=1)
    said = capsys.readouterr().out
    assert "--target-success-rate 0.95 won't stop this run: 2 successes in 2 episodes show no more than 0.342" in said


# Others who use its checkpoints


def test_the_promised_snippet_plays_its_checkpoint(learn):
    learn(network="impala", n_iterations=1, train_steps_per_iter=2)
    device = torch.device("cpu")
    with make_env(start_milestone=MILESTONE, tier="T0") as env:
        policy_net = ImpalaCNN(action_dim=env.action_space.n, hidden_dim=16).to(device)
        checkpoint = torch.load("models/dagger_pokemon_best.pth")
        policy_net.load_state_dict(checkpoint["model_state_dict"])
        mean_return, std_return, info = evaluate_policy(env, policy_net, 2, device, max_steps=5)
    assert len(info["episode_lengths"]) == 2 and std_return >= 0 and mean_return >= 0


@pytest.mark.parametrize("part", ["best", "last"])
def test_bc_pokemon_plays_its_checkpoint(learn, monkeypatch, capsys, part):
    learn(n_iterations=1)
    words = ["--eval-only", "--resume-from", f"models/dagger_pokemon_{part}.pth", "--eval-episodes", "3", "--max-steps", "9"]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["bc_pokemon.py", *words, "--no-video", "--num-envs", "2", "--no-cuda"])
        args = bc_pokemon.parse_args()
    result = bc_pokemon.main(args)["evaluation"]
    assert result["episodes"] == 3 and result["seeds"][0] == 21000
    assert "PLAYER_NAME_SET, evaluated on tier T0 in world 0" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["bc_pokemon.py", "--resume-from", f"models/dagger_pokemon_{part}.pth"])
        with pytest.raises(
            SystemExit, match="has algorithm dagger, here it is bc: another script made it, and only that one can resume it"
        ):
            bc_pokemon.parse_args()


def test_start_states(learn, bedroom_state):
    learn(milestone="CLOCK_SET", start_states=str(bedroom_state), tier=None, n_iterations=1, max_episode_steps=6)
    with pytest.raises(StateFileError):
        learn(exp_name="other", start_states="nowhere.state", tier=None)
    with pytest.raises(FlagError, match="holds its own world and tier: leave out --tier"):
        learn(exp_name="other", start_states=str(bedroom_state))
    with pytest.raises(FlagError, match="recorded states are hand-overs all of them"):
        learn(milestone="CLOCK_SET", exp_name="other", start_states=str(bedroom_state), tier=None, handover_share=0.5)


def test_a_share_of_the_episodes_begins_at_hand_overs(learn):
    flags = dict(milestone="PLAYER_BEDROOM", handover_share=0.5, episodes_per_iter=4, best_eval_episodes=4)
    learn(**flags, n_iterations=2)
    assert [game["game_state"] for game in first_states()] == ["overworld", "dialog"] * 4  # nobody speaks where the game draws
    folder = Path("models/dagger_pokemon_starts")
    assert len(list(folder.glob("handovers_train/*.state"))) == 4 and len(list(folder.glob("handovers_choose/*.state"))) == 2
    learn(**flags | dict(handover_share=0.0), n_iterations=1, overwrite=True)
    assert [game["game_state"] for game in first_states()] == ["overworld"] * 4 and not folder.exists()
    with pytest.raises(FlagError, match="more than 1 together"):
        learn(**flags | dict(handover_share=0.6, cutoff_share=0.6), exp_name="other")


def test_hand_overs_may_be_given(learn):
    flags = dict(milestone="PLAYER_BEDROOM", handover_share=0.5, episodes_per_iter=4, best_eval_episodes=4, n_iterations=1)
    learn(**flags, exp_name="first")
    for purpose in ("train", "choose"):
        shutil.copytree(f"models/first_starts/handovers_{purpose}", f"given/{purpose}")
    learn(**flags, handovers="given")
    assert [game["game_state"] for game in first_states()] == ["overworld", "dialog"] * 2
    assert not Path("models/dagger_pokemon_starts").exists() and len(list(Path("given").rglob("*.state"))) == 4
    with pytest.raises(FlagError, match="--handovers: no episode begins at one without --handover-share"):
        learn(**flags | dict(handover_share=0.0), handovers="given", exp_name="other")


def first_states() -> list[dict]:
    """What the game's state is where each episode begins."""
    with DaggerData("models/dagger_pokemon_data.sqlite", "read") as data:
        snapshots = data.snapshots(np.flatnonzero(data.columns(["step"])["step"] == 0))
    return [GAME.decode(snapshot)["game"] for snapshot in snapshots]


def test_a_share_of_the_episodes_goes_on_where_others_were_cut_off(learn, monkeypatch):
    begun = []
    original = dagger_pokemon.roll_out
    monkeypatch.setattr(dagger_pokemon, "roll_out", lambda *args, **more: begun.append(args[4]) or original(*args, **more))
    flags = dict(milestone="INTRO_CUTSCENE_COMPLETE", max_episode_steps=3, episodes_per_iter=4, cutoff_share=0.5)
    learn(**flags, n_iterations=3, beta_schedule="linear")
    starts = [[start and (start.parent.name, start.name) for start in (spec.start_state for spec in specs)] for specs in begun]
    assert starts[0] == [None] * 4
    assert starts[1] == [None, ("cutoffs_iter0", "000.state"), None, ("cutoffs_iter0", "001.state")]
    assert starts[2] == [None, ("cutoffs_iter1", "000.state"), None, ("cutoffs_iter1", "001.state")]
    folder = Path("models/dagger_pokemon_starts")
    assert sorted(path.name for path in folder.iterdir()) == ["cutoffs_iter2"]  # the others have served
    assert len(list(folder.glob("cutoffs_iter2/*.state"))) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, StartStateError("no")])
def test_a_run_that_ends_before_its_first_rollout_is_not_in_its_own_way(learn, monkeypatch, error):
    with monkeypatch.context() as patch:
        patch.setattr("dagger.starts.ensure_handovers", lambda *_, **__: (_ for _ in ()).throw(error))
        with pytest.raises(type(error) if isinstance(error, Exception) else error):
            learn(handover_share=0.5)
    learn(handover_share=0.5, n_iterations=1)


def test_it_goes_on_where_the_clone_was_made(learn, capsys):
    learn(n_iterations=1, tier="T0")
    capsys.readouterr()
    learn(exp_name="second", tier=None, init_from="models/dagger_pokemon_final.pth", n_iterations=1)
    assert "on tier T0" in capsys.readouterr().out


def test_resuming_needs_no_demonstrations(learn):
    record("demonstrations")
    learn(expert_data_dir="demonstrations", n_iterations=1)
    before = rows("label")["label"]
    shutil.rmtree("demonstrations")
    learn(resume_from="models/dagger_pokemon_last.pth", expert_data_dir="demonstrations", n_iterations=2)
    assert rows("label")["label"][: len(before)].tolist() == before.tolist() and list(iterations()) == [DEMONSTRATION_ITERATION, 1]


# Experts that are found out

FOUND_OUT = """
import random
decide = run
def run(state):
    if state["prev_action"] in WHERE:
        return random.Random().choice(["up", "down", "left", "right", "a", "b"])
    return decide(state)
"""


def unreliable(where: str) -> str:
    """The game's own policy, which draws lots after these buttons, by a generator of its own."""
    return (ROOT / "tallgrass" / "policies" / f"{MILESTONE}.py").read_text() + FOUND_OUT.replace("WHERE", where)


def test_an_expert_that_is_found_out_ends_the_run_with_one_line(tmp_path):
    policies = write_policy(unreliable("state['prev_action']"), str(tmp_path / "policies"))
    ended = run(tmp_path, *as_flags(**QUICK | {"policy_dir": policies, "answer_cache": "answers.sqlite"}))
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == 1 and last.startswith("dagger_pokemon.py: ") and "Traceback" not in ended.stderr
    assert "depend on more than the state" in last and "draw lots by random.random()" in last
    assert last.endswith(f"resume: python dagger_pokemon.py --resume-from models/dagger_pokemon_last.pth --policy-dir {policies}")
    with DaggerData(tmp_path / "models" / "dagger_pokemon_data.sqlite", "read") as data:
        (expert,) = data.withdrawn
        assert len(data) == 0
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        keys = [key for (key,) in cache._connection.execute("SELECT key FROM answers")]
        assert keys and cache.get_many(keys, expert) == {} and len(cache.get_many(keys)) == len(keys)


def test_labels_of_earlier_iterations_are_withdrawn_and_a_corrected_policy_goes_on(learn, monkeypatch):
    flags = dict(stochastic_rollouts=True, episodes_per_iter=3, query_budget=80, answer_cache="", ask_repeats=True)
    policies = write_policy(unreliable("('select', 'b')"))  # where the expert itself never gets
    with pytest.raises(LabelsWithdrawn, match="its answers depend on more than the state.*--resume-from"):
        learn(policy_dir=policies, n_iterations=3, **flags)
    before, at = rows("status", "label"), torch.load("models/dagger_pokemon_last.pth")
    assert at["progress"]["iteration"] == 1 and at["progress"]["phase"] == "roll out" and at["progress"]["best"]["iteration"] == 0
    assert set(before["status"]) == {Status.WITHDRAWN} and set(before["label"]) == {-1}
    assert len(before["label"]) == at["progress"]["rows"]
    assert not Path("models/dagger_pokemon_final.pth").exists()
    with pytest.raises(LabelsWithdrawn, match="the labels of policy:.* were withdrawn"):  # it is not corrected yet
        learn("models/dagger_pokemon_last.pth", policy_dir=policies)
    assert comparable("models/dagger_pokemon_last.pth") == json.dumps(stripped(at["progress"]), sort_keys=True)

    write_policy((ROOT / "tallgrass" / "policies" / f"{MILESTONE}.py").read_text())
    shutil.copytree("models", "stopped")
    sampled, sample = [], TrainingSet.sample_ids
    monkeypatch.setattr(TrainingSet, "sample_ids", lambda *args: sampled.append(sample(*args)) or sampled[-1])
    result = learn("models/dagger_pokemon_last.pth", policy_dir=policies)
    labels = result["labels"]
    assert result["best"]["iteration"] >= 1  # whatever the network of iteration 0 could, it has learned it from those labels
    after, drawn = rows("status"), np.unique(np.concatenate(sampled))
    withdrawn = int((after["status"] == Status.WITHDRAWN).sum())
    assert labels["withdrawn"] == withdrawn == len(before["status"]) and drawn.min() >= withdrawn
    assert withdrawn < labels["labels"] <= 80 + withdrawn and len(iterations()) == 3

    # Stopped once more on the way, it is the same bit for bit
    learn("stopped/dagger_pokemon_last.pth", model_dir="stopped", n_iterations=2, policy_dir=policies)
    learn("stopped/dagger_pokemon_last.pth", model_dir="stopped", n_iterations=3, policy_dir=policies)
    ends = [torch.load(f"{folder}/dagger_pokemon_final.pth")["model_state_dict"] for folder in ("models", "stopped")]
    assert all(torch.equal(x, y) for x, y in zip(ends[0].values(), ends[1].values(), strict=True))
    with DaggerData("stopped/dagger_pokemon_data.sqlite", "read") as data:
        assert data.digest() == digest()
