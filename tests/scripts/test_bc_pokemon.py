"""bc_pokemon.py as a user runs it: a process, with demonstrations of a small made-up game."""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import auto_dagger_pipeline
import bc_pokemon
import dagger_pokemon
import play as play_script
from common import buffers
from common.demonstrations import DemonstrationError, Episode, save_episode, split_episodes
from common.learner import DivergedError, Learner
from common.runtime.checkpoints import CheckpointError
from common.runtime.main import Stopped
from common.runtime.run_names import RunError
from pokemon_env.errors import RomError
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from tasks.evaluation import evaluation_starts, step_limit
from tasks.milestone_config import MilestoneConfigError
from tools import describe_data, ship_students, train_router

ROOT = Path(__file__).resolve().parents[2]
BUTTONS = ["A", "B", "START", "SELECT", "UP", "DOWN", "LEFT", "RIGHT"]
pytestmark = pytest.mark.usefixtures("forked_scripts")
QUICK = "--num-threads 1 --batch-size 8 --hidden-dim 16 --total-steps 40".split()
QUICK += "--eval-frequency 10 --eval-episodes 0 --save-frequency 0".split()


def record(folder, episodes=6, steps=20, seed=0, noise=40, sets=False, **metadata):
    """Demonstrations in which the button to press is where the light is; with `sets` the opposite one is as good for the pad."""
    rng = np.random.default_rng(seed)
    for _ in range(episodes):
        actions = rng.integers(0, len(BUTTONS), steps)
        screens = rng.integers(0, noise, (steps + 1, 144, 160, 1), dtype=np.uint8).repeat(3, axis=3)
        for screen, action in zip(screens, actions, strict=False):
            top, left = 72 * (action // 4), 40 * (action % 4)
            screen[top : top + 60, left : left + 30] = 220
        entries = {"milestone": "LIGHT", "buttons": BUTTONS, "game": "light"} | metadata
        optimal = np.where(actions >= 4, 1 << actions | 1 << (actions ^ 1), 0) if sets else None
        save_episode(folder, Episode(screens, actions, np.zeros(steps), np.zeros(steps, bool), metadata=entries, optimal=optimal))


@pytest.fixture
def folder(tmp_path):
    record(tmp_path / "expert_data")
    return tmp_path


def command(*flags):
    return [sys.executable, str(ROOT / "bc_pokemon.py"), *map(str, flags)]


def environment(**more):
    return os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"} | more


def run(folder, *flags, **variables):
    return subprocess.run(command(*flags), cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=300)


def weights(path):
    return torch.load(path)["model_state_dict"]


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run_folder,) = (folder / "runs").iterdir()
    accumulator = EventAccumulator(str(run_folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    return accumulator.Reload()


def test_help_is_quick():
    quickest = np.inf
    for _ in range(3):  # the machine may be busy
        began = time.perf_counter()
        done = subprocess.run(command("--help"), env=environment(), capture_output=True, text=True, timeout=60)
        quickest = min(quickest, time.perf_counter() - began)
    assert done.returncode == 0 and quickest < 1.5
    assert "--expert-data-dir" in done.stdout


@pytest.mark.slow
def test_learns_and_writes_what_was_promised(folder, from_nothing):
    flags = ["--total-steps", 80, "--save-frequency", 40, "--batch-size", 16, "--learning-rate", 1e-3]
    done = run(folder, *QUICK, *flags)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "models").iterdir()) == [
        "bc_pokemon_40.pth", "bc_pokemon_80.pth", "bc_pokemon_best.pth", "bc_pokemon_final.pth", "bc_pokemon_last.pth",
    ]  # fmt: skip
    best = torch.load(folder / "models" / "bc_pokemon_best.pth")
    assert best["metrics"]["val_accuracy"] > 0.9, done.stdout
    assert (best["buttons"], best["game"], best["milestone"]) == (BUTTONS, "light", "LIGHT")
    assert best["args"]["total_steps"] == 80 and "torch" in best["versions"] and "optimizer_state_dict" not in best

    log = events(folder)
    scalars = set(log.Tags()["scalars"])
    assert {"train/bc_loss", "train/accuracy", "train/learning_rate", "train/steps_per_second"} <= scalars
    assert {"val/loss", "val/accuracy", "val/accuracy_at_changes", "val/recall_LEFT"} <= scalars
    assert log.Tags()["images"] == ["val/confusion"]
    assert log.Tensors("hyperparameters/text_summary")
    assert "final" in done.stdout and "bc_pokemon_best.pth" in done.stdout


@pytest.mark.slow
def test_stops_when_the_validation_loss_rises(folder):
    # What is to be learned is noise: after a while each evaluation is worse than the best.
    for path in (folder / "expert_data").iterdir():
        path.unlink()
    rng = np.random.default_rng(1)
    for _ in range(4):
        screens = rng.integers(0, 255, (13, 144, 160, 3), dtype=np.uint8)
        entries = {"milestone": "LIGHT", "buttons": BUTTONS, "game": "light"}
        labels = rng.integers(0, len(BUTTONS), 12)
        save_episode(folder / "expert_data", Episode(screens, labels, np.zeros(12), np.zeros(12, bool), metadata=entries))
    flags = ["--total-steps", 600, "--eval-frequency", 5, "--patience", 2, "--learning-rate", 3e-3, "--max-labels", 40]
    done = run(folder, *QUICK, *flags)
    assert done.returncode == 0, done.stderr
    last = torch.load(folder / "models" / "bc_pokemon_last.pth")
    best = torch.load(folder / "models" / "bc_pokemon_best.pth")
    assert last["global_step"] == best["global_step"] + 10 < 600
    assert last["progress"]["without_gain"] == 2 and last["progress"]["lowest_val_loss"] == best["metrics"]["val_loss"]
    assert (folder / "models" / "bc_pokemon_final.pth").is_file()
    assert "36 steps of 3 episodes" in done.stdout or "28 steps of 3 episodes" in done.stdout  # 40 labels: the last is cut


@pytest.mark.slow
@pytest.mark.parametrize("network", ["impala", "tiles"])  # the second drops out at random
def test_killed_and_resumed_is_as_if_never_stopped(folder, network):
    flags = [*QUICK, "--frame-stack", 2, "--random-shift", 4, "--last-interval", 0, "--change-weight", 2, "--save-frequency", 13]
    flags += ["--network", network]
    whole = run(folder, *flags, "--exp-name", "whole", "--lr-schedule", "cosine")
    assert whole.returncode == 0, whole.stderr

    killed = subprocess.Popen(
        command(*flags, "--exp-name", "killed", "--lr-schedule", "cosine"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not (folder / "models" / "killed_13.pth").exists():
            assert killed.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        killed.kill()
        killed.wait()
    step = torch.load(folder / "models" / "killed_last.pth")["global_step"]
    assert 12 <= step < 40

    resumed = run(folder, "--resume-from", "models/killed_last.pth")
    assert resumed.returncode == 0, resumed.stderr
    assert f"from step {step}" in resumed.stdout
    assert same_weights(folder / "models" / "whole_final.pth", folder / "models" / "killed_final.pth")
    assert same_weights(folder / "models" / "whole_best.pth", folder / "models" / "killed_best.pth")
    final = [torch.load(folder / "models" / f"{name}_last.pth") for name in ("whole", "killed")]
    assert final[0]["progress"] == final[1]["progress"]
    names = {path.name.rsplit("_", 1)[0] for path in (folder / "runs").iterdir()}
    assert names == {"whole_1", "killed_1"}  # the resumed run went on in its own folder


@pytest.mark.slow
def test_one_interrupt_saves_and_ends(folder):
    flags = [*QUICK, "--total-steps", 100000, "--eval-frequency", 0, "--save-frequency", 5]
    process = subprocess.Popen(command(*flags), cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not (folder / "models" / "bc_pokemon_10.pth").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert "--resume-from models/bc_pokemon_last.pth" in output
    step = torch.load(folder / "models" / "bc_pokemon_last.pth")["global_step"]
    resumed = run(folder, "--resume-from", "models/bc_pokemon_last.pth", "--total-steps", step + 3)
    assert resumed.returncode == 0 and f"from step {step:,}" in resumed.stdout, resumed.stderr
    assert torch.load(folder / "models" / "bc_pokemon_final.pth")["global_step"] == step + 3


@pytest.mark.slow
def test_tracked_offline(folder):
    flags = [*QUICK, "--total-steps", 3, "--eval-frequency", 0, "--track"]
    done = run(folder, *flags, WANDB_MODE="offline", WANDB_DIR=str(folder), WANDB_SILENT="true")
    assert done.returncode == 0, done.stderr
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))


def failure(folder, *flags, **variables):
    """What a run that a user got wrong prints."""
    done = run(folder, *QUICK, *flags, **variables)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    return done.stderr


def test_errors_end_a_run_with_one_line(folder):
    assert "nowhere: no such folder" in failure(folder, "--expert-data-dir", "nowhere")
    assert "--val-fraction is 1.5" in failure(folder, "--val-fraction", 1.5)
    assert "none.pth: no such checkpoint" in failure(folder, "--resume-from", "none.pth")


@pytest.fixture
def parse(monkeypatch):
    """Parse a command line in this process."""

    def parse(*flags):
        monkeypatch.setattr(sys, "argv", ["bc_pokemon.py", *map(str, flags)])
        return bc_pokemon.parse_args()

    return parse


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("--seed", -1, "at least 0"),
        ("--seed", 2**32, "at most 4294967295"),
        ("--learning-rate", "nan", "a finite number"),
        ("--weight-decay", "inf", "a finite number"),
        ("--val-fraction", 1, "less than 1"),
        ("--change-weight", 0, "at least 1e-06"),
        ("--batch-size", 0, "at least 1"),
        ("--keep-last", 0, "at least 1"),
    ],
)
def test_values_out_of_range(parse, flag, value, reason):
    with pytest.raises(SystemExit, match=f"^bc_pokemon.py: {flag} is .*, but must be {reason}$"):
        parse(flag, value)


def test_a_checkpoint_s_flags(parse, tmp_path):
    path = tmp_path / "x.pth"
    saved = {"hidden_dim": 16, "eval_seed": 7, "overwrite": True, "resume_from": "y.pth"}
    saved |= {"start_states": "train", "video": False, "eval_episodes": 0, "max_steps": 9}
    torch.save({"model_state_dict": {}, "args": saved | {"of_another_version": 1}}, path)
    resumed = vars(parse("--resume-from", path, "--eval-seed", 8))
    assert resumed == vars(bc_pokemon.Args()) | saved | {"eval_seed": 8, "overwrite": False, "resume_from": str(path)}
    alone = vars(parse("--resume-from", path, "--eval-only", "--max-steps", 5))  # evaluates and films as if none were saved
    wanted = {"hidden_dim": 16, "eval_seed": 7, "resume_from": str(path), "eval_only": True, "max_steps": 5}
    assert alone == vars(bc_pokemon.Args()) | wanted
    for wrong in (None, {"seed": "1"}):
        torch.save({"model_state_dict": {}, "args": wrong}, path)
        with pytest.raises(SystemExit, match="x.pth: .*'args'.*wanted"):
            parse("--resume-from", path)


def test_start_states_replace_the_tier_and_worlds_of_a_checkpoint(parse, tmp_path, rom_path, bedroom_state):
    path = tmp_path / "x.pth"
    torch.save({"model_state_dict": {}, "args": {"tier": "T2", "worlds": "7", "rom_path": str(rom_path)}}, path)
    assert parse("--resume-from", path).tier == parse("--resume-from", path, "--eval-only").tier == "T2"

    def starts(*flags):
        args = parse("--resume-from", path, "--start-states", bedroom_state, *flags)
        purpose = "test" if args.eval_only else "choose"
        return evaluation_starts(args, GAME, "CLOCK_SET", args.tier or "T2", "7", purpose)

    for flags in ([], ["--eval-only"]):
        assert starts(*flags).files == (bedroom_state,) and not starts(*flags).settings
        with pytest.raises(bc_pokemon.FlagError, match="holds its own world and tier: leave out --tier$"):
            starts(*flags, "--tier", "T2")
        with pytest.raises(bc_pokemon.FlagError, match="holds its own world and tier: leave out --worlds$"):
            starts(*flags, "--worlds", "3")


def test_settings_of_the_machine_come_before_torch(tmp_path, from_nothing):
    (tmp_path / "torch.py").write_text(
        "import os, sys\nsys.exit(' '.join(str(os.environ.get(k)) for k in ('OMP_WAIT_POLICY', 'THP_MEM_ALLOC_ENABLE')))"
    )
    ours = ("OMP_WAIT_POLICY", "THP_MEM_ALLOC_ENABLE")
    variables = {key: value for key, value in environment(PYTHONPATH=str(tmp_path)).items() if key not in ours}
    done = subprocess.run(command("--resume-from", "x.pth"), env=variables, capture_output=True, text=True, timeout=60)
    assert done.stderr == "PASSIVE 1\n"


def test_an_interrupt_while_loading(folder, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    for name in ("OMP_WAIT_POLICY", "THP_MEM_ALLOC_ENABLE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["bc_pokemon.py", *QUICK])
    monkeypatch.setattr("cloning.data.load_expert_data_to_buffer", interrupted)
    with pytest.raises(SystemExit) as ending:
        runpy.run_path(str(ROOT / "bc_pokemon.py"), run_name="__main__")
    assert ending.value.code == 130 and capsys.readouterr().err == "bc_pokemon.py: interrupted\n"


@pytest.fixture
def train(folder, monkeypatch):
    """Run the script's program in this process, two steps long."""
    monkeypatch.chdir(folder)
    defaults = dict(num_threads=1, batch_size=8, hidden_dim=16, total_steps=2, eval_frequency=1, eval_episodes=0)
    return lambda **flags: bc_pokemon.main(bc_pokemon.Args(**(defaults | {"save_frequency": 0} | flags)))


def test_demonstrations_that_can_t_be_used(train, folder, rom_path):
    with pytest.raises(DemonstrationError, match="no demonstrations of CAVE, only of LIGHT"):
        train(milestone="CAVE")
    (folder / "expert_data" / "episode_0003.npz").write_bytes(b"PK")
    with pytest.raises(DemonstrationError, match="episode_0003.npz: broken"):
        train()
    record(folder / "other", buttons=None)
    with pytest.raises(DemonstrationError, match="buttons are None, wanted names"):
        train(expert_data_dir="other")
    record(folder / "foreign", rom_sha256="00")
    record(folder / "other_game", episodes=2)
    with pytest.raises(DemonstrationError, match="recorded with another ROM"):
        train(expert_data_dir="foreign", eval_episodes=1, rom_path=str(rom_path))
    with pytest.raises(RomError, match="is a folder"):
        train(expert_data_dir="foreign", eval_episodes=1, rom_path="/tmp")
    with pytest.raises(bc_pokemon.FlagError, match="has no milestone LIGHT; .*--milestone"):
        train(expert_data_dir="other_game", eval_episodes=1, rom_path=str(rom_path))


def test_several_milestones_are_split_by_milestone(train, folder, capsys):
    record(folder / "several", episodes=5, steps=4)
    record(folder / "several", episodes=2, steps=4, milestone="CAVE")
    record(folder / "several", episodes=1, steps=4, milestone="LONELY")
    few = dict(expert_data_dir="several", eval_frequency=0)
    for seed in range(2):
        result = train(**few, exp_name=f"seed{seed}", seed=seed)
        said = capsys.readouterr().out
        assert "held out for validation: 1 of 5 of LIGHT, 1 of 2 of CAVE, 0 of 1 of LONELY\n" in said
        assert "only one episode, which is for training, so no validation: LONELY\n" in said
        assert "24 steps of 6 episodes to train on, 2 episodes held out" in said
    progress = torch.load("models/seed1_last.pth")["progress"]
    assert len(progress["held_out"]) == 2 and result["step"] == 2
    train(**few, resume_from="models/seed1_last.pth", exp_name="seed1", seed=1, total_steps=4)
    assert "bit-identical" not in capsys.readouterr().out
    assert torch.load("models/seed1_last.pth")["progress"]["held_out"] == progress["held_out"]

    # A run from before goes on with the split that it had: of all episodes together.
    content = torch.load("models/seed1_last.pth")
    del content["progress"]["held_out"]
    torch.save(content, "models/seed1_last.pth")
    for total_steps in (6, 8):
        train(**few, resume_from="models/seed1_last.pth", exp_name="seed1", seed=1, total_steps=total_steps)
        assert "28 steps of 7 episodes to train on, 1 episodes held out" in capsys.readouterr().out

    record(folder / "single", episodes=1, steps=4)
    record(folder / "single", episodes=1, steps=4, milestone="CAVE")
    with pytest.raises(bc_pokemon.FlagError, match="no episode is held out: .* at least two episodes of a milestone"):
        train(expert_data_dir="single", patience=1)
    train()
    assert re.search(r"held out for validation: episode_000\d.npz\n", capsys.readouterr().out)
    for number in range(5):
        record(folder / "many", episodes=2, steps=2, milestone=f"M{number}")
    train(**few | {"expert_data_dir": "many"}, exp_name="many")
    assert re.search(r"M4 +│ 2 +│ 1 ", capsys.readouterr().out)


def test_sets_of_right_buttons_are_cloned(train, folder, monkeypatch, capsys):
    record(folder / "sets", sets=True)
    seen, update = [], Learner.update

    def spy(self, observations, actions, *, optimal, label_share, weight):
        seen.append((actions, optimal, label_share))
        return update(self, observations, actions, optimal=optimal, label_share=label_share, weight=weight)

    monkeypatch.setattr(Learner, "update", spy)
    record_of = {name: train(expert_data_dir="sets", exp_name=name, **flags)["last"] for name, flags in (
        ("sets", {"label_set": True}), ("mixed", {"label_set": True, "label_share": 0.3}), ("labels", {}),
    )}  # fmt: skip
    assert "changes nothing" not in capsys.readouterr().out
    assert [(optimal is None, share) for _, optimal, share in seen] == [(False, 0.0)] * 2 + [(False, 0.3)] * 2 + [(True, 0.0)] * 2
    for actions, optimal, _ in seen[:4]:
        right = torch.nn.functional.one_hot(actions, 8).bool()
        right |= torch.nn.functional.one_hot(actions ^ 1, 8).bool() & (actions >= 4)[:, None]
        assert torch.equal(optimal, right)
    assert record_of["sets"]["val_loss"] < record_of["mixed"]["val_loss"] < record_of["labels"]["val_loss"]
    train()
    assert same_weights("models/labels_final.pth", "models/bc_pokemon_final.pth")  # without --label-set the sets are not looked at
    assert not same_weights("models/labels_final.pth", "models/sets_final.pth")
    capsys.readouterr()
    train(exp_name="none", label_set=True)
    assert "--label-set changes nothing: no file in expert_data has label sets; record it again\n" in capsys.readouterr().out


def test_labels_from_more_episodes(train, folder, capsys):
    flags = dict(max_labels=30, spread_labels=4)
    train(**flags, total_steps=4)
    assert re.search(r"100 steps of 5 episodes to train on, 1 episodes held out, one label in 4 of them;", capsys.readouterr().out)
    tags = events(folder).Tags()["scalars"]
    assert "val/accuracy" in tags and "val/accuracy_at_changes" not in tags  # of few labels the one before is known
    train(**flags, exp_name="cut")
    train(**flags, exp_name="cut", total_steps=4, resume_from="models/cut_last.pth")
    assert same_weights("models/bc_pokemon_final.pth", "models/cut_final.pth")
    assert "not bit-identical" not in capsys.readouterr().out
    train(**flags, exp_name="seed", total_steps=4, seed=2)
    assert not same_weights("models/bc_pokemon_final.pth", "models/seed_final.pth")
    with pytest.raises(DemonstrationError, match=r"expert_data: holds 120 labels, fewer than the 124 wanted, 4 \(--spread-labels"):
        train(exp_name="wrong", max_labels=31, spread_labels=4)
    with pytest.raises(
        bc_pokemon.FlagError, match="--spread-labels 4 is of 4 times --max-labels, which is not given: give it, too"
    ):
        train(exp_name="wrong", spread_labels=4)
    with pytest.raises(bc_pokemon.FlagError, match="--change-weight compares a label with the one before, which --spread-labels"):
        train(**flags, exp_name="wrong", change_weight=2.0)


def test_more_steps_than_fit_into_memory(train, monkeypatch):
    monkeypatch.setattr(buffers, "available_memory", lambda device: 1_000_000)
    with pytest.raises(MemoryError, match="^expert_data: .* use fewer with --max-expert-episodes or --max-labels$"):
        train()
    with pytest.raises(MemoryError, match="--max-labels"):
        train(max_labels=80)
    train(max_labels=20)


def test_screens_that_the_network_can_t_see(train):
    record(Path("tiny"), episodes=2, steps=3)
    for path in Path("tiny").iterdir():
        path.unlink()
    screens = np.zeros((4, 100, 100, 3), np.uint8)
    for _ in range(2):
        entries = {"milestone": "LIGHT", "buttons": BUTTONS}
        save_episode(Path("tiny"), Episode(screens, np.zeros(3, int), np.zeros(3), np.zeros(3, bool), metadata=entries))
    with pytest.raises(DemonstrationError, match=r"episode_0001.npz: --network tiles .*100x100.* multiples of 16"):
        train(expert_data_dir="tiny", network="tiles")


def test_demonstrations_without_labels(train, folder, capsys):
    blank = Episode(np.zeros((3, 144, 160, 3), np.uint8), np.full(2, -1), np.zeros(2), np.zeros(2, bool), np.zeros(2, int))
    blank.metadata = {"milestone": "LIGHT", "buttons": BUTTONS}
    for name in ("blank", "blank", "partly"):
        save_episode(folder / name, blank)
    with pytest.raises(bc_pokemon.FlagError, match="--patience counts evaluations, but --eval-frequency 0 makes none"):
        train(patience=1, eval_frequency=0)
    with pytest.raises(DemonstrationError, match="^blank: no step .*episode_000[12].npz.* has a label"):
        train(expert_data_dir="blank")
    record(folder / "partly", episodes=1)
    seed = next(seed for seed in range(99) if split_episodes([1, 2], 0.1, seed) == ([2], [1]))  # holds out the blank one
    with pytest.raises(bc_pokemon.FlagError, match="--patience waits for .* episode_0001.npz has a label: raise --val-fraction"):
        train(expert_data_dir="partly", seed=seed, patience=1)
    assert train(expert_data_dir="partly", seed=seed)["best"] is None
    assert "held-out episode(s) episode_0001.npz has a label: no validation" in capsys.readouterr().out


def test_an_action_beyond_the_buttons(train, folder):
    screens = np.zeros((3, 144, 160, 3), np.uint8)
    save_episode(folder / "expert_data", Episode(screens, np.array([1, 9]), np.zeros(2), np.zeros(2, bool)))
    with pytest.raises(DemonstrationError, match=r"episode_0007.npz: action 9 is not one of 0..7 .*; record it again"):
        train(milestone=None, val_fraction=0)


def test_a_model_dir_that_is_a_file(train, folder):
    (folder / "models").write_text("")
    with pytest.raises(RunError, match="--model-dir models: cannot be written .*; name another"):
        train()


def test_other_runs_are_not_overwritten(train, folder):
    first = train()
    assert (first["step"], first["signal"], first["best"]["step"]) == (2, None, first["best"]["step"])
    with pytest.raises(CheckpointError, match=f"_best.pth already exists .run {first['run_name']}.*--overwrite"):
        train()
    train(exp_name="another")
    assert train(overwrite=True, seed=2)["run_name"].startswith("bc_pokemon_2_")


@pytest.mark.slow
def test_two_at_once(train, folder):
    """Of two runs of one name, and of two that go on with one run, the second is told who is at work; no work is lost."""
    last = folder / "models" / "bc_pokemon_last.pth"

    def start(*flags):
        before = last.stat().st_mtime_ns if last.exists() else 0
        process = subprocess.Popen(command(*flags), cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not last.exists() or last.stat().st_mtime_ns == before:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        return process, rf"\(process {process.pid}, bc_pokemon.py, since 20.*\); wait for its end"

    process, who = start(*QUICK, *"--network tiles --total-steps 100000 --eval-frequency 0 --last-interval 0".split())
    try:
        for flags in ({}, {"overwrite": True}, {"resume_from": str(last)}):
            with pytest.raises(RunError, match=rf"^models/bc_pokemon_\*.pth: another process trains this run {who}"):
                train(**flags)
        with pytest.raises(RunError, match=rf"^runs/bc_pokemon_1_\d+: another process has resumed this run {who}"):
            train(resume_from=str(last), model_dir="others", network="tiles")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        step = torch.load(last)["global_step"]
        process, who = start("--resume-from", "models/bc_pokemon_last.pth")
        with pytest.raises(RunError, match=f"another process trains this run {who}"):
            train(resume_from=str(last))
    finally:
        process.kill()
        process.communicate()
    assert torch.load(last)["global_step"] >= step > 0 and len(list((folder / "runs").iterdir())) == 1
    train(resume_from=str(last), total_steps=1, network="tiles")  # a killed one holds nothing


def test_a_run_that_diverges_keeps_what_was_good(train, folder):
    train(total_steps=20, eval_frequency=0, network="tiles")
    before = (folder / "models" / "bc_pokemon_last.pth").read_bytes()
    train(total_steps=20, eval_frequency=0, exp_name="other", network="tiles")
    last = "models/bc_pokemon_last.pth"
    told = rf"training has diverged \(loss \S+, weights (not )?finite\); resume from {last}, which .* learning rate than 10000$"
    for flags in (dict(), dict(eval_frequency=30), dict(last_interval=0)):
        with pytest.raises(DivergedError, match=f"^step [0-9]+: {told}") as ending:
            train(resume_from=last, learning_rate=1e4, network="tiles", **(dict(total_steps=400, eval_frequency=0) | flags))
        assert "\n" not in str(ending.value)
        assert all(weight.isfinite().all() for weight in weights(folder / last).values())
        assert not (folder / "models" / "bc_pokemon_best.pth").exists()
        if "last_interval" not in flags:
            assert (folder / last).read_bytes() == before
    assert train(resume_from="models/other_last.pth", exp_name="other", total_steps=25, network="tiles")["step"] == 25
    dead = torch.load(folder / last)  # as earlier versions saved them
    for weight in dead["model_state_dict"].values():
        weight.fill_(torch.nan)
    torch.save(dead, "models/dead_last.pth")
    with pytest.raises(DivergedError, match=r"^step \d+: training has diverged .*weights not finite\); begin again with"):
        train(resume_from="models/dead_last.pth", network="tiles")


def test_the_weights_are_looked_at_before_they_are_saved(train, folder, monkeypatch):
    """Also where the loss is looked at later, or is not the last step's."""
    update = bc_pokemon.Learner.update

    def poisoned(learner, *batch, **more):
        metrics = update(learner, *batch, **more)
        with torch.no_grad():
            list(learner.network.parameters())[-1][0] = torch.inf
        return metrics

    monkeypatch.setattr(bc_pokemon.Learner, "update", poisoned)
    for flags in (dict(eval_frequency=0), dict(eval_frequency=1), dict(eval_frequency=0, save_frequency=1)):
        with pytest.raises(DivergedError, match=r"^step [12]: training has diverged \(loss \S+, weights not finite\); begin"):
            train(**flags)
        assert not (folder / "models").exists()


def test_a_start_that_failed_is_not_in_the_way_of_the_next(train, folder, monkeypatch):
    (folder / "runs").write_text("")
    with pytest.raises(RunError, match="^runs: is no folder"):
        train()
    (folder / "runs").unlink()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    told = failure(folder, "--track", HOME=str(folder), NETRC=str(folder / "netrc"))
    assert "--track: W&B refuses: No API key" in told
    assert not (folder / "models").exists() and not list((folder / "runs").iterdir())
    assert train()["signal"] is None


def test_logs_that_are_gone_do_not_end_training(train, monkeypatch, capsys):
    update = bc_pokemon.Learner.update

    def without_a_disk(learner, *batch, **more):
        shutil.rmtree("runs", ignore_errors=True)
        return update(learner, *batch, **more)

    monkeypatch.setattr(bc_pokemon.Learner, "update", without_a_disk)
    assert train(total_steps=300, network="tiles", eval_frequency=10)["step"] == 300
    said = [line for line in capsys.readouterr().err.splitlines() if "logs cannot be written any more" in line]
    assert len(said) == 1 and said[0].endswith("(No such file or directory); the run continues without them")


@pytest.mark.parametrize("name", ["a/b", "", "..", "a" * 200])
def test_names_that_are_no_part_of_a_file_name(train, folder, name):
    with pytest.raises(RunError, match="^--exp-name: .*") as ending:
        train(exp_name=name)
    assert "\n" not in str(ending.value) and [path.name for path in folder.iterdir()] == ["expert_data"]


def test_checkpoints_that_training_can_t_go_on_from(train, folder):
    train()
    with pytest.raises(CheckpointError, match="bc_pokemon_best.pth: has only weights"):
        train(resume_from="models/bc_pokemon_best.pth")
    last = "models/bc_pokemon_last.pth"
    with pytest.raises(CheckpointError, match="has network .*--hidden-dim"):
        train(resume_from=last, hidden_dim=32)
    record(folder / "more", buttons=BUTTONS[::-1])
    with pytest.raises(CheckpointError, match="has buttons"):
        train(resume_from=last, expert_data_dir="more")
    with pytest.raises(CheckpointError, match="--eval-only needs a checkpoint"):
        train(eval_only=True)
    content = torch.load(folder / last)
    torch.save(content | {"algorithm": "dagger"}, folder / last)
    with pytest.raises(CheckpointError, match="has algorithm dagger"):
        train(resume_from=last)


def test_resuming_with_other_demonstrations_is_said(train, folder, capsys):
    train()
    record(folder / "expert_data", episodes=1, seed=9)
    result = train(resume_from="models/bc_pokemon_last.pth", total_steps=4)
    said = capsys.readouterr().out
    assert result["step"] == 4
    assert "not bit-identical to an uninterrupted run: demonstrations new: episode_0007.npz\n" in said
    os.replace(folder / "expert_data" / "episode_0007.npz", folder / "expert_data" / "episode_0002.npz")  # the same names
    train(resume_from="models/bc_pokemon_last.pth", total_steps=6, batch_size=4)
    said = capsys.readouterr().out
    assert "--batch-size was 8 and is 4; demonstrations gone: episode_0007.npz; demonstrations changed: episode_0002.npz\n" in said
    train(resume_from="models/bc_pokemon_last.pth", total_steps=8, batch_size=4, weight_decay=0.5)
    assert "not bit-identical to an uninterrupted run: --weight-decay was 1e-05 and is 0.5\n" in capsys.readouterr().out
    last = torch.load(folder / "models" / "bc_pokemon_last.pth")
    assert last["optimizer_state_dict"]["param_groups"][0]["weight_decay"] == 0.5
    train(resume_from="models/bc_pokemon_last.pth", total_steps=9, batch_size=4, weight_decay=0.5)
    assert "bit-identical" not in capsys.readouterr().out


def test_resuming_with_other_labels_or_another_end_of_the_cosine_is_said(train, capsys):
    train(max_labels=65)
    train(resume_from="models/bc_pokemon_last.pth", total_steps=4, max_labels=70)  # of the same files
    assert "not bit-identical to an uninterrupted run: --max-labels was 65 and is 70\n" in capsys.readouterr().out
    train(exp_name="cosine", lr_schedule="cosine")
    train(exp_name="cosine", lr_schedule="cosine", resume_from="models/cosine_last.pth", total_steps=4)
    assert "not bit-identical to an uninterrupted run: --total-steps was 2 and is 4\n" in capsys.readouterr().out


def test_the_best_of_before_keeps_its_name(train, folder, capsys):
    still = dict(learning_rate=0.0, weight_decay=0.0)  # whoever learns nothing does not become better
    train(**still)
    capsys.readouterr()
    result = train(**still, exp_name="another", resume_from="models/bc_pokemon_last.pth", total_steps=4)
    said = capsys.readouterr().out
    assert result["best"]["step"] < 2 < result["step"] and not (folder / "models" / "another_best.pth").exists()
    assert "models/bc_pokemon_best.pth" in said and "another_best" not in said and "models/another_final.pth" in said
    (folder / "models" / "bc_pokemon_best.pth").unlink()
    result = train(**still, exp_name="third", resume_from="models/bc_pokemon_last.pth", total_steps=4)
    said = capsys.readouterr().out
    assert "models/bc_pokemon_best.pth is missing: the best network is chosen from the evaluations after this" in said
    assert result["best"]["step"] > 2 and "models/third_best.pth" in said and (folder / "models" / "third_best.pth").is_file()


def test_only_the_newest_numbered_checkpoints_stay(train, folder):
    flags = dict(eval_frequency=0, save_frequency=1, network="tiles-small")
    train(**flags, exp_name="other", total_steps=3)
    (folder / "models" / "other_2.pth").rename(folder / "models" / "mine_50.pth")  # the name is this run's, the file is not
    train(**flags, exp_name="mine", total_steps=1)
    train(**flags, exp_name="mine", total_steps=6, keep_last=2, resume_from="models/mine_last.pth")
    numbered = {path.name for path in (folder / "models").iterdir() if path.stem[-1].isdigit()}
    assert numbered == {"other_1.pth", "other_3.pth", "mine_5.pth", "mine_6.pth", "mine_50.pth"}
    assert {"mine_last.pth", "mine_final.pth"} <= {path.name for path in (folder / "models").iterdir()}
    train(**flags, exp_name="mine", total_steps=7, keep_last=2, resume_from="models/mine_6.pth")
    assert {path.name for path in (folder / "models").glob("mine_?.pth")} == {"mine_6.pth", "mine_7.pth"}


def test_a_signal_during_the_last_evaluation(train, folder, monkeypatch):
    def stopped(flags, label_flags, parts, **more):
        if parts.progress.step < 2:
            return evaluate_network(flags, label_flags, parts, **more)
        os.kill(os.getpid(), signal.SIGINT)
        raise Stopped

    evaluate_network = bc_pokemon.evaluate_network
    monkeypatch.setattr(bc_pokemon, "evaluate_network", stopped)
    first, final = train(), folder / "models" / "bc_pokemon_final.pth"
    assert (first["signal"], first["step"], first["last"]["step"]) == (signal.SIGINT, 2, 1) and not final.exists()
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    second = train(resume_from="models/bc_pokemon_last.pth")
    assert (second["signal"], second["step"], second["last"]["step"]) == (None, 2, 2)
    assert torch.load(final)["metrics"]["step"] == 2


def test_without_anything_to_judge_by_there_is_no_best(train, folder):
    assert train(val_fraction=0)["best"] is None
    names = sorted(path.name for path in (folder / "models").iterdir())
    assert names == ["bc_pokemon_final.pth", "bc_pokemon_last.pth"]


@pytest.fixture
def play(train, folder, rom_path):
    """Train on the bundled game's title screen, and play it."""
    rng = np.random.default_rng(0)
    with PokemonEnv(rom_path, target_milestone="GAME_RUNNING", state_in_info=False) as env:
        start = env.buttons.index("START")
        facts = {"buttons": list(env.buttons), "game": env.identity.game, "rom_sha256": env.identity.rom_sha256}
        for seed in range(6):
            screens, pressed = [env.reset(seed=seed)[0]], []
            for button in [*rng.integers(0, 2, 3).tolist(), start]:
                screen, *_ = env.step(button)
                screens.append(screen)
                pressed.append(button)
            labels = np.full(4, start)
            one = Episode(np.stack(screens), labels, np.zeros(4), np.zeros(4, bool), np.array(pressed))
            one.metadata = {"milestone": "GAME_RUNNING", **facts}
            save_episode(folder / "title", one)
    flags = dict(expert_data_dir="title", rom_path=str(rom_path), max_steps=6, num_envs=2, learning_rate=1e-3)
    flags |= dict(eval_episodes=3, best_eval_episodes=4, eval_frequency=5, total_steps=10)
    return lambda **more: train(**(flags | more))


@pytest.mark.parametrize("network", ["impala", "tiles"])
def test_plays_the_game(play, folder, rom_path, capsys, network):
    def play(*, train=play, **flags):
        return train(**({} if flags.get("eval_only") else {"network": network}), **flags)

    result = play()
    assert torch.load(folder / "models" / "bc_pokemon_best.pth")["network"]["kind"] == network
    assert result["best"]["successes"] == result["best"]["episodes"] == 4
    best = torch.load(folder / "models" / "bc_pokemon_best.pth")
    assert (best["milestone"], best["game"], best["max_steps"]) == ("GAME_RUNNING", "tallgrass", 6)
    assert best["metrics"]["seeds"] == [11000, 11001, 11002, 11003]
    scalars = set(events(folder).Tags()["scalars"])
    names = ("mean_return", "std_return", "mean_episode_length", "mean_milestones", "success_rate", "success_rate_low")
    assert {f"eval/{name}" for name in names} <= scalars
    films = folder / "runs" / result["run_name"] / "videos"
    assert list(films.glob("step*_ep1_success_steps*.mp4"))

    capsys.readouterr()
    alone = play(eval_only=True, resume_from="models/bc_pokemon_best.pth", eval_episodes=5)["evaluation"]
    assert (alone["successes"], alone["episodes"], alone["seeds"][0]) == (5, 5, 21000)
    assert "5/5 = 100 % [57, 100]" in capsys.readouterr().out
    assert len(list(films.glob("eval_bc_pokemon_best_ep1_success_*.mp4"))) == 1

    again = play(exp_name="cut", total_steps=5), play(exp_name="cut", resume_from="models/cut_last.pth")
    assert [part["step"] for part in again] == [5, 10]
    play(exp_name="silent", eval_frequency=0)
    models = folder / "models"
    assert same_weights(models / "bc_pokemon_final.pth", models / "cut_final.pth")  # going on changes nothing,
    assert same_weights(models / "bc_pokemon_final.pth", models / "silent_final.pth")  # and neither does playing


@pytest.fixture(scope="session")
def own_rom(rom_titled):
    """A game that nobody knows."""
    return rom_titled("MY OWN")


def record_by_hand(folder, rom, episodes=4):
    """Recordings of a game without milestones, as collect_expert_data.py --human makes them."""
    with PokemonEnv(rom, state_in_info=False) as env:
        facts = {"buttons": list(env.buttons), "game": env.identity.game, "rom_sha256": env.identity.rom_sha256, "milestone": None}
        for seed in range(episodes):
            screens, pressed = [env.reset(seed=seed)[0]], [int(i) for i in np.random.default_rng(seed).integers(0, 8, 12)]
            for button in pressed:
                screens.append(env.step(button)[0])
            one = Episode(np.stack(screens), np.array(pressed), np.zeros(12), np.zeros(12, bool), metadata={**facts, "seed": seed})
            save_episode(folder, one)


@pytest.mark.filterwarnings("ignore:.*by its picture alone")
def test_a_game_without_milestones_is_validated_and_filmed(train, folder, own_rom, capsys):
    record_by_hand(folder / "mine", own_rom)
    own = dict(expert_data_dir="mine", rom_path=str(own_rom), eval_episodes=5, eval_frequency=2)
    result = train(**own, total_steps=4)
    said = capsys.readouterr().out
    assert "; a game without milestones, of which 400 steps are filmed from power-on\n" in said
    assert "success" not in said.replace("success [95 %", "").replace("steps (successes)", "")  # the table's head
    assert {"val_loss", "val_accuracy"} <= result["last"].keys() and "success_rate" not in result["last"]
    assert result["best"]["val_loss"] <= result["last"]["val_loss"]
    films = sorted(path.name for path in (folder / "runs" / result["run_name"] / "videos").iterdir())
    assert "step4.mp4" in films and "filmed as " in said
    with av.open(str(folder / "runs" / result["run_name"] / "videos" / "step4.mp4")) as film:
        assert film.streams.video[0].frames == 401
    assert not [tag for tag in events(folder).Tags()["scalars"] if tag.startswith(("eval/", "candidate/"))]
    best = torch.load("models/bc_pokemon_best.pth")
    assert (best["game"], best["max_steps"], best["milestone"]) == ("picture_only", None, None)

    again = train(**own | {"total_steps": 6, "resume_from": "models/bc_pokemon_last.pth"})  # it goes on alike
    assert again["step"] == 6 and again["run_name"] == result["run_name"] and "success_rate" not in again["last"]
    assert (folder / "runs" / result["run_name"] / "videos" / "step6.mp4").is_file()

    capsys.readouterr()
    alone = dict(eval_only=True, resume_from="models/bc_pokemon_best.pth", rom_path=str(own_rom), max_steps=9)
    evaluation = train(**alone)["evaluation"]
    said = capsys.readouterr().out
    assert evaluation.keys() == {"step"} and "success" not in said and "of which 9 steps are filmed from power-on" in said
    (film,) = re.findall(r"video: (.*)", said)
    assert film.endswith("/eval_bc_pokemon_best.mp4") and Path(film).is_file()
    with pytest.raises(bc_pokemon.FlagError, match="--eval-only: unknown game has no milestones, .* leave out --no-video"):
        train(**alone, video=False)
    capsys.readouterr()
    assert "val_loss" in train(**own, exp_name="quiet", video=False)["last"]
    assert "; a game without milestones, not played\n" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*by its picture alone")
def test_what_else_there_is_for_a_game_without_milestones(folder, own_rom, monkeypatch):
    monkeypatch.chdir(folder)
    record_by_hand(folder / "mine", own_rom, episodes=1)
    facts = describe_data.describe("mine")
    assert facts["milestones"] == [None] and facts["rows"] == 12
    with pytest.raises(dagger_pokemon.FlagError, match="has no milestones, and so no expert .* clone recordings .* bc_pokemon.py"):
        dagger_pokemon.main(dagger_pokemon.Args(rom_path=str(own_rom), expert_data_dir="mine", cuda=False))
    assert not Path("runs").exists() and not (Path("models").exists() and list(Path("models").iterdir()))
    with pytest.raises(auto_dagger_pipeline.PipelineError, match="has no milestones, and so no experts: clone .* bc_pokemon.py$"):
        flags = dict(rom_path=str(own_rom), milestone_config=str(ROOT / "milestone_config.json"))
        auto_dagger_pipeline.main(auto_dagger_pipeline.Args(**flags))
    with pytest.raises(ValueError, match="has no milestones, so there are no students"):
        ship_students.main(ship_students.Args(rom_path=str(own_rom)))
    with pytest.raises(ValueError, match="has no milestones, so there is nothing to tell apart"):
        train_router.main(train_router.Args(rom_path=str(own_rom), cuda=False))
    with pytest.raises(play_script.FlagError, match="has no milestones, .* film a clone with bc_pokemon.py --eval-only$"):
        play_script.main(play_script.Args(rom_path=str(own_rom)))


def test_limits_belong_to_the_game(play, folder):
    config = json.loads((ROOT / "milestone_config.json").read_text())
    config["milestones"][3]["id"] = "OF_ANOTHER_GAME"  # which has other milestones of the same names
    (folder / "other.json").write_text(json.dumps(config))
    with pytest.raises(MilestoneConfigError, match="^other.json: is another game's, .* OF_ANOTHER_GAME; .* or --max-steps$"):
        play(max_steps=None, milestone_config="other.json")
    (folder / "none.json").write_text('{"milestones": []}')
    with pytest.raises(MilestoneConfigError, match="^none.json: has no milestone GAME_RUNNING; give --max-steps$"):
        play(max_steps=None, milestone_config="none.json")
    with pytest.raises(MilestoneConfigError, match="^none.json: has no milestone at all; give --max-steps$"):
        step_limit("none.json", GAME, None)


def test_worlds_that_can_t_be_played(play):
    for flags, message in (
        ({"worlds": "garbage"}, "worlds 'garbage': give a number"),
        ({"tier": "T2", "worlds": "0"}, "T2 is played in other worlds than world 0"),
    ):
        with pytest.raises(bc_pokemon.FlagError, match=message):
            play(**flags)
    play(eval_episodes=0)
    with pytest.raises(bc_pokemon.FlagError, match="worlds '5-1': the range ends before it begins"):
        play(eval_only=True, resume_from="models/bc_pokemon_last.pth", worlds="5-1")


@pytest.mark.parametrize(
    ("demonstrated", "flags", "training", "alone"),
    [
        ({"tier": "T1", "worlds": "5"}, {}, "on tier T1 in world 5", "on tier T1 in world 5"),
        ({"tier": None, "worlds": None}, {}, "on tier T1 in world 0", "on tier T1 in world 0"),  # mixed
        ({"tier": "T2", "worlds": "train"}, {}, "on tier T2 in worlds 1000-1099", "on tier T2 in worlds 10500-10999"),
        ({"tier": "T2", "worlds": "train"}, {"tier": "T3"}, "on tier T3 in world 0", "on tier T3 in world 0"),
    ],
)
def test_where_it_is_evaluated_is_said(play, monkeypatch, capsys, demonstrated, flags, training, alone):
    def select(*args):
        files, facts = select_episodes(*args)
        return files, facts | demonstrated

    select_episodes = bc_pokemon.select_episodes
    monkeypatch.setattr(bc_pokemon, "select_episodes", select)
    few = dict(flags, eval_episodes=1, best_eval_episodes=1, total_steps=1, eval_frequency=1, video=False)
    play(**few)
    assert f"from step 0; evaluated {training}\n" in capsys.readouterr().out
    play(**few, eval_only=True, resume_from="models/bc_pokemon_last.pth")
    assert f"models/bc_pokemon_last.pth: GAME_RUNNING, evaluated {alone}\n" in capsys.readouterr().out
    play(**few | {"eval_episodes": 0, "overwrite": True})
    assert "evaluated" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../../up", "/up", ""])
def test_the_name_in_a_checkpoint_is_no_path(play, folder, name):
    play()
    last, stranger = folder / "models" / "bc_pokemon_last.pth", folder / "models" / "stranger.pth"
    torch.save(torch.load(last) | {"run_name": name and name.replace("/up", f"{folder}/up" if name[0] == "/" else "/up")}, stranger)
    play(eval_only=True, resume_from="models/stranger.pth", eval_episodes=1)
    assert len(list((folder / "runs" / "stranger" / "videos").glob("*.mp4"))) == 1
    with pytest.raises(CheckpointError, match=r"stranger.pth: its run_name is .*, which is no plain name"):
        play(resume_from="models/stranger.pth", total_steps=12)
    assert not list(folder.parent.rglob("up"))


def test_a_checkpoint_is_not_played_with_another_rom(play, folder, rom_titled):
    play(eval_episodes=0)
    with pytest.raises(CheckpointError, match="bc_pokemon_last.pth: has rom_sha256 .* another build"):
        play(eval_only=True, resume_from="models/bc_pokemon_last.pth", rom_path=str(rom_titled("OTHER GAME")))


def test_promised_defaults():
    promised = {
        "exp_name": "bc_pokemon", "seed": 1, "torch_deterministic": True, "cuda": True, "track": False,
        "wandb_project_name": "pokemon-il", "wandb_entity": None, "expert_data_dir": "expert_data",
        "max_expert_episodes": None, "total_steps": 100000, "batch_size": 64, "learning_rate": 1e-4,
        "weight_decay": 1e-5, "hidden_dim": 256, "eval_frequency": 5000, "eval_episodes": 5, "save_frequency": 10000,
        "model_dir": "models", "save_best": True, "resume_from": None, "best_eval_episodes": 20,
    }  # fmt: skip
    defaults = vars(bc_pokemon.Args())
    assert {name: defaults[name] for name in promised} == promised
