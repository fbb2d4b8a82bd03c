"""What users do to a run's folders, files and output, each found by trying it from a fresh clone."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import PIL.Image
import pytest
import torch

import bc_pokemon
import collect_expert_data
import dagger_pokemon
import play
from agent.answer_cache import AnswerCache, AnswerCacheError
from agent.oracle import PolicyError
from agent.sandbox.oracle import SandboxError
from benchmarks import realisability
from common import demonstrations
from common.demonstrations import (
    DemonstrationError,
    Episode,
    clear_unfinished,
    copies_held_out,
    episode_files,
    load_episode,
    load_metadata,
    save_episode,
    split_episodes,
)
from common.runtime import sqlite_files
from common.runtime.checkpoints import CheckpointError, check_fits, load_checkpoint, save_checkpoint
from common.runtime.flags import as_typed, parse_command_line, quoted
from common.runtime.interrupts import heed_interrupts
from common.runtime.main import run_main
from common.runtime.run_names import RunError, only_trainer
from common.selection import is_better
from common.video import VideoWriter, write_video
from dagger.data import DaggerData, DaggerDataError
from pipeline.records import PipelineRecords, Record
from pipeline.students import students_gone
from pokemon_env.gym_env import PokemonEnv
from tasks.milestone_config import load_milestone_config
from tools import describe_data, export_minari, train_router

ROOT = Path(__file__).resolve().parents[2]
BUTTONS = ["A", "B", "START", "SELECT", "UP", "DOWN", "LEFT", "RIGHT"]
SMALL = dict(network="tiles-small", hidden_dim=16, batch_size=8, num_threads=1, video=False, cuda=False)
CLONE = SMALL | dict(total_steps=2, eval_frequency=0, eval_episodes=0, save_frequency=0)
DAGGER = SMALL | dict(
    milestone="GAME_RUNNING", tier="T0", n_iterations=1, episodes_per_iter=2, max_episode_steps=4, train_steps_per_iter=2,
    eval_episodes=1, best_eval_episodes=1, eval_max_steps=4, num_envs=1, milestone_config=str(ROOT / "milestone_config.json"),
    rom_path=str(ROOT / "tallgrass" / "tallgrass.gb"),
)  # fmt: skip


def record(folder, episodes=6, seed=0, **metadata):
    """Demonstrations of random screens."""
    rng = np.random.default_rng(seed)
    for _ in range(episodes):
        screens = rng.integers(0, 256, (5, 144, 160, 3), dtype=np.uint8)
        entries = {"milestone": "LIGHT", "buttons": BUTTONS, "game": "light"} | metadata
        save_episode(folder, Episode(screens, rng.integers(0, 8, 4), np.zeros(4), np.zeros(4, bool), metadata=entries))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clone(**flags):
    return bc_pokemon.main(bc_pokemon.Args(**(CLONE | flags)))


def learn(**flags):
    return dagger_pokemon.main(dagger_pokemon.Args(**(DAGGER | flags)))


def script(*words, alone=False, **settings):
    """A process with more in its environment, or with nothing but that."""
    environment = ({} if alone else os.environ | {"COLUMNS": "200", "TERM": "dumb"}) | settings.pop("env", {})
    return subprocess.Popen([sys.executable, *map(str, words)], env=environment, text=True, **settings)


# What is another's, or came later, stays


def test_overwriting_a_run_leaves_those_whose_names_begin_alike(here):
    """`--exp-name x --overwrite` deleted all that began with x_iter, x_iterative_best.pth too."""
    learn(exp_name="x")
    others = ["x_iterative_best.pth", "x_iter2_final.pth", "x_iter0_data.sqlite"]
    for name in others:
        (here / "models" / name).write_bytes(b"another's")
    (here / "models" / "x_iter7.pth").write_bytes(b"its own")
    learn(exp_name="x", overwrite=True)
    assert [(here / "models" / name).read_bytes() for name in others] == [b"another's"] * 3
    assert not (here / "models" / "x_iter7.pth").exists()


def test_going_back_to_an_earlier_checkpoint_does_not_throw_away_what_came_after(here, capsys):
    """A copy of an older `_last.pth`: the data set was cut off there, labels and all, without a word."""
    learn(exp_name="x")
    shutil.copy("models/x_last.pth", "models/monday.pth")
    learn(exp_name="x", n_iterations=2, resume_from="models/x_last.pth")
    with DaggerData("models/x_data.sqlite", "read") as data:
        before = data.digest()
    with pytest.raises(CheckpointError, match=r"monday.pth: is of step 2, but models/x_last.pth of step 4 .* --overwrite"):
        learn(exp_name="x", n_iterations=2, resume_from="models/monday.pth")
    with DaggerData("models/x_data.sqlite", "read") as data:
        assert data.digest() == before
    learn(exp_name="x", n_iterations=2, resume_from="models/x_last.pth")  # from the end: nothing is behind it
    learn(exp_name="x", n_iterations=2, resume_from="models/monday.pth", overwrite=True)
    with DaggerData("models/x_data.sqlite", "read") as data:
        assert data.digest() == before  # it did the same again


def test_going_back_to_a_numbered_checkpoint_is_said_too(here):
    record("expert_data")
    clone(total_steps=4, save_frequency=2)
    with pytest.raises(CheckpointError, match=r"bc_pokemon_2.pth: is of step 2, but models/bc_pokemon_last.pth of step 4"):
        clone(resume_from="models/bc_pokemon_2.pth", total_steps=3)
    assert clone(resume_from="models/bc_pokemon_2.pth", total_steps=3, exp_name="branch")["step"] == 3  # under a name of its own
    (here / "models" / "bc_pokemon_last.pth").unlink()
    with pytest.raises(CheckpointError, match=r"but models/bc_pokemon_final.pth of step 4"):
        clone(resume_from="models/bc_pokemon_2.pth", total_steps=3)
    assert clone(resume_from="models/bc_pokemon_2.pth", total_steps=3, overwrite=True)["step"] == 3


def test_what_of_a_network_does_not_fit_is_said():
    """Of both networks the beginning was printed, which was the same."""
    has, wanted = ({"kind": "tiles", "image_size": [144, 160], "channels": 32, "frame_stack": stack} for stack in (1, 2))
    with pytest.raises(CheckpointError, match=r"has network \{'frame_stack': 1\}, here it is \{'frame_stack': 2\}: its weights"):
        check_fits({"network": has}, "x.pth", network=wanted)


# Folders that are moved, deleted, or were never there


def test_a_data_set_that_is_moved_while_it_is_written_ends_the_run(here, monkeypatch):
    """It went on to the end, and named a data set that was not there; the labels were in a file that had no name any more."""
    train, seen = dagger_pokemon.train, []

    def then_moved(*args):
        result = train(*args)
        seen.append((here / "models").rename(here / "moved"))
        return result

    monkeypatch.setattr(dagger_pokemon, "train", then_moved)
    with pytest.raises(DaggerDataError, match=r"models/x_data.sqlite: was moved, deleted or replaced while .* --resume-from"):
        learn(exp_name="x", n_iterations=2)
    monkeypatch.setattr(dagger_pokemon, "train", train)
    assert len(seen) == 1 and not list(here.glob("models/*.pth"))  # nothing more was written, to be confused with it
    shutil.rmtree("models", ignore_errors=True)
    (here / "moved").rename(here / "models")
    assert learn(exp_name="x", n_iterations=2, resume_from="models/x_last.pth")["iteration"] == 2


def test_a_moved_run_is_told_where_its_data_set_is(here):
    learn(exp_name="x")
    (here / "models").rename(here / "elsewhere")
    flags = dict(exp_name="x", n_iterations=2, resume_from="elsewhere/x_last.pth")
    with pytest.raises(DaggerDataError, match=r"models/x_data.sqlite: .* is not there; say --model-dir elsewhere, where it is"):
        learn(**flags)
    assert not (here / "models").exists()
    assert learn(**flags, model_dir="elsewhere")["iteration"] == 2
    (here / "elsewhere" / "x_data.sqlite").unlink()
    with pytest.raises(DaggerDataError, match="copy it there from where the run was"):
        learn(**(flags | {"n_iterations": 3}), model_dir="elsewhere")


def test_the_best_of_a_moved_clone_is_found_beside_its_checkpoint(here, capsys):
    record("expert_data")
    best = clone(total_steps=2, eval_frequency=2)["best"]
    (here / "models").rename(here / "elsewhere")
    assert clone(total_steps=3, eval_frequency=0, resume_from="elsewhere/bc_pokemon_last.pth")["best"] == best
    said = capsys.readouterr().out
    assert "is missing" not in said and "elsewhere/bc_pokemon_best.pth" in said


@pytest.mark.parametrize("what", ["expert_data_dir", "model_dir"])
def test_a_link_to_a_disk_that_is_not_there(here, what):
    """A scratch disk that was cleared, or is not mounted on this machine: "File exists" helps nobody."""
    record("expert_data", 2)
    (here / "link").symlink_to("/scratch/gone")
    with pytest.raises((DemonstrationError, RunError), match=r"link is a link to /scratch/gone, which is not there"):
        clone(**{what: "link/below" if what == "model_dir" else "link"})
    with pytest.raises(OSError, match=r"link is a link to /scratch/gone, which is not there"):
        args = dict(milestone="GAME_RUNNING", n_episodes=1, rom_path=DAGGER["rom_path"])
        collect_expert_data.main(collect_expert_data.Args(**args, expert_data_dir="link"))


def test_data_folders_that_are_links(here):
    """The usual way to keep data on another disk: links to folders that are there are followed."""
    (here / "disk" / "data").mkdir(parents=True)
    (here / "disk" / "models").mkdir()
    for name, place in (("expert_data", "data"), ("models", "models")):
        (here / name).symlink_to(here / "disk" / place)
    record("expert_data", 2)
    assert clone()["step"] == 2 and (here / "disk" / "models" / "bc_pokemon_final.pth").is_file()
    assert clone(resume_from="models/bc_pokemon_last.pth", total_steps=3)["step"] == 3


def test_a_home_folder_that_the_shell_left_alone(here, monkeypatch):
    """`--model-dir=~/models` made a folder named ~."""
    monkeypatch.setenv("HOME", str(here / "home"))
    monkeypatch.setattr(sys, "argv", ["x", "--model-dir=~/models", "--expert-data-dir", "~/data", "--exp-name", "~x"])
    args = parse_command_line(bc_pokemon.Args)
    assert (args.model_dir, args.expert_data_dir, args.exp_name) == (f"{here}/home/models", f"{here}/home/data", "~x")


@pytest.mark.parametrize("name", ["data:v2", "a b [c] ?#%41", "ü%03d"])
def test_films_in_folders_with_odd_names(here, name):
    """What stands before a colon was a protocol to FFmpeg, and the film an input/output error."""
    screens = [np.zeros((144, 160, 3), np.uint8)] * 2
    assert write_video(f"{name}/film.mp4", screens).stat().st_size > 0


def test_episodes_are_recorded_whose_films_are_not(here, monkeypatch, capsys):
    """A full disk, or films that are another user's: the recorder ended after its first episode, and named a hidden file."""

    def refuse(*given):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), ".episode_0001.1.1.tmp.mp4")

    monkeypatch.setattr(VideoWriter, "_open", refuse)
    args = dict(milestone="GAME_RUNNING", tier="T0", n_episodes=2, record_video=True, num_envs=1)
    args |= {name: DAGGER[name] for name in ("rom_path", "milestone_config")}
    assert collect_expert_data.main(collect_expert_data.Args(**args)) == 0
    words = "expert_data/videos/episode_0001.mp4: cannot be written (Permission denied); recording continues without films\n"
    assert capsys.readouterr().err.count(words) == 1 and len(episode_files("expert_data")) == 2


def test_data_sets_in_folders_with_odd_names(here):
    result = learn(exp_name="ü[b] ?#%41", model_dir="mödels [y] ?#%41")
    last = "mödels [y] ?#%41/ü[b] ?#%41_last.pth"
    assert learn(exp_name="ü[b] ?#%41", model_dir="mödels [y] ?#%41", resume_from=last, n_iterations=2)["iteration"] == 2
    assert result["iteration"] == 1


@pytest.mark.parametrize("name", ["models/x_best.pth", "expert_data/episode_0001.npz"])
def test_a_file_that_was_named_by_mistake_is_not_to_be_deleted(here, name):
    """`python -m tools.describe_data models/x_best.pth` advised to delete the student."""
    (here / name).parent.mkdir()
    (here / name).write_bytes(b"PK\x03\x04" + b"weights" * 100)
    for opened in (lambda: describe_data.describe(name), lambda: AnswerCache(name, 8).__enter__()):
        with pytest.raises((DaggerDataError, AnswerCacheError), match="is not .*; is its name right") as error:
            opened()
        assert "delete" not in str(error.value)


def test_folders_whose_names_are_not_utf8(here, monkeypatch):
    """From an old disk, or another system's archive: TensorBoard and SQLite were tracebacks, after the checks."""
    folder = os.fsdecode(b"m\xe9")
    record(folder + "/data", 2)
    monkeypatch.setattr(sys, "stdout", open("said", "w", errors="backslashreplace"))  # as a script's, by common.lasting_output
    clone(expert_data_dir=folder + "/data", model_dir=folder)
    learn(exp_name="x", model_dir=folder, answer_cache=folder + "/answers.sqlite")
    monkeypatch.setattr(sys, "argv", ["x", "--resume-from", f"{folder}/x_last.pth", "--n-iterations", "2"])
    assert dagger_pokemon.main(dagger_pokemon.parse_args())["iteration"] == 2
    sys.stdout.flush()
    assert r" --model-dir $'m\xe9' " in Path("said").read_text()
    records = PipelineRecords(Path(folder))
    records.put(Record("CLOCK_SET", 0, "now", "failed", reason=f"{folder}: is a folder"))
    assert r"m\udce9: is a folder" in records.csv_path.read_text(encoding="utf-8")
    write = subprocess.run(["bash", "-c", f"printf %s {quoted(folder)}"], capture_output=True)
    assert write.stdout == b"m\xe9" and quoted("a b") == "'a b'"
    assert as_typed({"model_dir": "m\x1b", "x": "\ud800"}) == r"--model-dir 'm\x1b' --x '\ud800'"


@pytest.fixture
def another_user():
    """To be another user than who wrote the files of the test so far."""
    if os.geteuid() == 0:  # who may write in any file
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


def test_a_lock_that_another_user_left(here, request):
    """A run as root in a container was killed: "cannot be written; name another", of a folder that could be."""
    folder, lock = here / "models", Path("models/.x.lock")
    here.chmod(0o755)
    folder.mkdir()
    folder.chmod(0o777)
    with only_trainer("models", "x"):
        lock.chmod(0o444)
        request.getfixturevalue("another_user")
        try:
            lock.read_bytes()
        except PermissionError as error:  # a folder above, or a module of the kernel's, forbids it: then nothing is shown here
            pytest.skip(f"another user can't read in {os.getcwd()}: {error}")
        with (
            pytest.raises(RunError, match=rf"another process trains this run \(process {os.getpid()}, "),
            only_trainer("models", "x"),
        ):
            raise AssertionError
        left = lock.read_bytes()
        lock.unlink()
    lock.write_bytes(left)
    lock.chmod(0o444)
    with only_trainer("models", "x"):
        assert lock.stat().st_uid == os.geteuid()
    lock.write_bytes(left)
    lock.chmod(0o000)
    with pytest.raises(RunError, match=r"--model-dir models: cannot be written \(.x.lock there is another user's, who may have to"):
        with only_trainer("models", "x"):
            raise AssertionError


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_can_t_be_written(here, request, mode):
    """Your own, but read-only: its lock was tried for again and again, without an end and without a word."""
    here.chmod(0o755)
    Path("models").mkdir(mode=mode)

    def waited_for(number, frame):
        raise AssertionError("it is waited for")

    before = signal.signal(signal.SIGALRM, waited_for)
    signal.alarm(5)
    request.getfixturevalue("another_user")
    try:
        with pytest.raises(RunError, match=r"--model-dir models: cannot be written \(Permission denied\); name another"):
            with only_trainer("models", "x"):
                raise AssertionError
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_demonstrations_that_are_not_ours_to_read(here, request):
    """They were "broken or cut short; delete it and record it again", and a folder of them held none."""
    here.chmod(0o755)
    record("expert_data", 2)
    record("hidden", 2)
    file = here / "expert_data" / "episode_0002.npz"
    file.chmod(0o000)
    Path("hidden").chmod(0o000)
    request.getfixturevalue("another_user")
    with pytest.raises(DemonstrationError, match=r"episode_0002.npz: can't be read \(Permission denied\); is it yours to read"):
        load_metadata(file)
    with pytest.raises(DemonstrationError, match=r"hidden: can't be read \(Permission denied\); is it yours to read"):
        episode_files("hidden")


def test_containers_that_record_into_one_folder(here, monkeypatch):
    """All processes have the number 1 there: one took the other's half-written file away, and it was gone, or got its name."""
    write, screens = np.savez_compressed, np.zeros((3, 8, 8, 3), np.uint8)

    def episode(label):
        return Episode(screens, np.full(2, label), np.zeros(2), np.zeros(2, bool))

    def as_another_begins(file, **arrays):
        monkeypatch.setattr(np, "savez_compressed", write)
        monkeypatch.setattr(demonstrations, "is_running", lambda pid: False)  # so it is to the other one
        clear_unfinished("expert_data")
        save_episode("expert_data", episode(2))
        write(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", as_another_begins)
    save_episode("expert_data", episode(1))
    assert [load_episode(path).actions[0] for path in episode_files("expert_data")] == [2, 1]
    assert not list(Path("expert_data").glob(".recording*"))


def test_containers_that_make_one_cache(here, monkeypatch):
    """Both are process 1: one deleted the other's file while it was made, and that one's run could not begin."""
    name_new_file = sqlite_files.name_new_file

    def as_another_begins(temporary, path):
        monkeypatch.setattr(sqlite_files, "name_new_file", name_new_file)
        monkeypatch.setattr(sqlite_files, "is_running", lambda pid: False)  # so it is to the other one
        sqlite_files.clear_unfinished(path)
        return name_new_file(temporary, path)

    monkeypatch.setattr(sqlite_files, "name_new_file", as_another_begins)
    with AnswerCache("cache.sqlite") as cache:
        assert len(cache) == 0
    assert [path.name for path in here.iterdir()] == ["cache.sqlite"]


def test_a_disk_without_hard_links_keeps_what_two_recorders_recorded(here, monkeypatch):
    """Three recorders with a seed each: of 240 episodes, all reported as recorded, 231 were there."""
    names, screens = [1, 1, 2], np.zeros((3, 8, 8, 3), np.uint8)  # the second looked before the first had its name
    monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(PermissionError(errno.EPERM, "no links")))
    first, second = (Episode(screens, np.full(2, label), np.zeros(2), np.zeros(2, bool)) for label in (1, 2))
    save_episode("expert_data", first)
    monkeypatch.setattr(demonstrations, "next_episode_number", lambda folder: names.pop(0))
    save_episode("expert_data", second)
    assert [load_episode(path).actions[0] for path in episode_files("expert_data")] == [1, 2]


@pytest.mark.parametrize("moved", [True, False])
def test_the_best_of_a_dagger_run_that_is_gone_is_said(here, capsys, moved):
    """The table at its end named a file that was not there, and no later network was kept unless it was better than that one."""
    flags = dict(exp_name="x", model_dir="models")
    learn(**flags)
    if moved:  # all that the message asks for
        Path("new").mkdir()
        for name in ("x_last.pth", "x_data.sqlite"):
            shutil.copy(f"models/{name}", "new")
        shutil.rmtree("models")
        flags["model_dir"] = "new"
    best = Path(flags["model_dir"], "x_best.pth")
    best.unlink(missing_ok=True)
    result = learn(**flags, n_iterations=2, resume_from=best.with_name("x_last.pth").as_posix())
    assert f"{best} is missing: the best network is chosen from the evaluations after this" in capsys.readouterr().out
    assert result["best"]["iteration"] == 1 and best.is_file()


def test_the_best_of_a_dagger_run_under_a_new_name_is_named_where_it_is(here, capsys):
    learn(exp_name="x")
    shutil.copy("models/x_data.sqlite", "models/y_data.sqlite")
    flags = dict(exp_name="y", n_iterations=2, resume_from="models/x_last.pth", save_best=False)
    assert learn(**flags)["best"]["iteration"] == 0
    said = capsys.readouterr().out
    assert "gone" not in said and said.count("models/x_best.pth") == 2  # in the first run's table, and in this one's


@pytest.mark.parametrize("script", [bc_pokemon, dagger_pokemon])
def test_a_run_that_goes_on_with_other_packages(here, capsys, script):
    """Checkpoints name their versions, and nobody looked: the pictures of another PyBoy, the sums of another torch."""
    record("expert_data")
    run = partial(clone if script is bc_pokemon else learn, exp_name="x")
    run()
    last = Path("models/x_last.pth")
    content = load_checkpoint(last)
    again = dict(resume_from=str(last), overwrite=True)
    run(**again)
    assert "bit for bit" not in capsys.readouterr().out
    now = content["versions"]["torch"]
    content["versions"] = {"torch": "1.0", "numpy": content["versions"]["numpy"], "extinct": "1"}
    save_checkpoint(last, content)
    run(**again)
    assert f"not bit-identical to an uninterrupted run: torch was 1.0 and is {now}\n" in capsys.readouterr().out


def test_a_batch_that_does_not_fit_into_memory():
    """torch says so by a RuntimeError, which was a traceback of thirty lines."""

    def train(error=None):
        if error is not None:
            raise error
        torch.empty(1 << 50, dtype=torch.uint8)

    for main in (train, partial(train, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"))):
        with pytest.raises(SystemExit, match=r"^x.py: there is not enough memory \(.*allocate.*\); take a smaller --batch-size"):
            run_main("x.py", main)
    with pytest.raises(RuntimeError, match="another"):  # which nobody can mend by a flag
        run_main("x.py", partial(train, RuntimeError("another")))


def test_states_that_are_gone_before_the_next_rollout_are_said(here, capsys):
    """A run that was copied without its `_starts/` folder went on otherwise, without a word."""
    flags = dict(exp_name="x", cutoff_share=1.0, beta_schedule="none", milestone="CLOCK_SET")
    learn(**flags)
    assert list((here / "models" / "x_starts").rglob("*.state"))
    learn(**flags, n_iterations=2, resume_from="models/x_last.pth")
    assert "are gone" not in capsys.readouterr().out
    shutil.rmtree("models/x_starts")
    learn(**flags, n_iterations=3, resume_from="models/x_last.pth")
    assert "2 states of --cutoff-share are gone from models/x_starts" in capsys.readouterr().out


def test_a_pipeline_whose_student_was_deleted_says_so(here):
    """It was "completed", and nothing to be done."""
    records = PipelineRecords(here)
    for name, status in (("CLOCK_SET", "completed"), ("LEAVE_HOUSE", "completed"), ("ROUTE_1", "failed")):
        records.put(Record(name, 0, "now", status, student=f"models/{name}.pth"))
    (here / "models").mkdir()
    (here / "models" / "LEAVE_HOUSE.pth").touch()
    (line,) = students_gone(records, here)
    assert line.startswith(f"CLOCK_SET: completed, but its student is gone ({here}/models/CLOCK_SET.pth)")
    assert line.endswith("--milestone CLOCK_SET --overwrite")


def test_one_folder_under_two_names_has_one_lock(here):
    (here / "disk").mkdir()
    (here / "link").symlink_to(here / "disk")
    with only_trainer("disk", "x"), pytest.raises(RunError, match="another process trains this run"), only_trainer("link", "x"):
        raise AssertionError


@pytest.mark.parametrize("script", [play, collect_expert_data, train_router, realisability])
def test_a_seed_below_0(here, script):
    """A traceback of Gymnasium's in play.py, "expected non-negative integer" after the folder had been made in another."""
    with pytest.raises(ValueError, match="--seed is -1, .* at least 0"):
        script.main(script.Args(seed=-1, rom_path=DAGGER["rom_path"]))
    assert not list(here.iterdir())


def test_no_cache_is_said_as_elsewhere(here, monkeypatch):
    """`--answer-cache None` made a cache of that name, where `--rollout-videos None` means none."""
    monkeypatch.setattr(sys, "argv", ["x", "--answer-cache", "None"])
    assert dagger_pokemon.parse_args().answer_cache is None
    learn(exp_name="x", answer_cache=None)
    assert learn(exp_name="x", answer_cache=None, n_iterations=2, resume_from="models/x_last.pth")["iteration"] == 2
    assert {path.name for path in here.iterdir()} == {"models", "runs"}


def test_saves_of_other_emulators_beside_a_rom(here):
    """They neither change what is recorded, nor are they changed."""
    shutil.copy(DAGGER["rom_path"], "game.gb")
    with PokemonEnv("game.gb", tier="T0") as env:
        picture, _ = env.reset(seed=0)
    for name in ("game.gb.ram", "game.gb.rtc", "game.sav", "game.gb.state"):
        (here / name).write_bytes(b"\xff" * 0x2000)
    with PokemonEnv("game.gb", tier="T0") as env:
        assert np.array_equal(env.reset(seed=0)[0], picture)
        env.step(0)
    assert all((here / name).read_bytes() == b"\xff" * 0x2000 for name in ("game.gb.ram", "game.gb.rtc", "game.sav"))
    assert len(list(here.iterdir())) == 5


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_configuration_that_was_saved_in_notepad(here, encoding):
    text = Path(DAGGER["milestone_config"]).read_text(encoding="utf-8")
    Path("config.json").write_text(text, encoding=encoding, newline="\r\n")
    assert load_milestone_config("config.json") == load_milestone_config(DAGGER["milestone_config"])


def test_flags_that_leave_nothing_to_do(here, capsys):
    """Fewer steps, iterations or labels than there are already: nothing is done again, undone or asked for."""
    record("expert_data")
    clone()
    assert clone(resume_from="models/bc_pokemon_last.pth", total_steps=1)["step"] == 2
    learn(exp_name="x", n_iterations=2, query_budget=9)
    with DaggerData("models/x_data.sqlite", "read") as data:
        before = data.digest()
    assert learn(exp_name="x", n_iterations=1, query_budget=9, resume_from="models/x_last.pth")["iteration"] == 2
    with DaggerData("models/x_data.sqlite", "read") as data:
        assert data.digest() == before
    labels = learn(exp_name="x", n_iterations=3, query_budget=1, resume_from="models/x_last.pth")["labels"]["labels"]
    assert load_checkpoint("models/x_iter1.pth")["labels"]["labels"] == labels
    assert "--query-budget was 9 and is 1" in capsys.readouterr().out


# A mind that is changed before the run goes on


def test_demonstrations_that_come_too_late(here, capsys):
    """`--resume-from x_last.pth --expert-data-dir more`: they were passed over without a word."""
    record("some", milestone="GAME_RUNNING", game="tallgrass")
    learn(exp_name="x", expert_data_dir="some")
    learn(exp_name="x", expert_data_dir="some", n_iterations=2, resume_from="models/x_last.pth")
    assert "not read" not in capsys.readouterr().out
    learn(exp_name="x", expert_data_dir="more", n_iterations=3, resume_from="models/x_last.pth")
    assert "more: not read, a run takes demonstrations in when it begins" in capsys.readouterr().out


def test_the_best_after_another_number_of_episodes():
    """After `--best-eval-episodes` was raised, 2 of 4 was better than 1 of 1."""
    counts = ((1, 1), (2, 4), (0, 1))
    few, many, fewer = ({"thorough": True, "successes": n, "episodes": of, "mean_return": n / of} for n, of in counts)
    assert is_better(few, many) and not is_better(many, few) and is_better(many, fewer)


@pytest.mark.parametrize("changed", [dict(tier="T1"), dict(eval_max_steps=3)], ids=["tier", "limit"])
def test_the_best_after_other_evaluations(here, capsys, changed):
    """A network of an easier tier, or a longer limit, stayed the best to the end, without a word."""
    learn(exp_name="x")
    capsys.readouterr()
    learn(exp_name="x", n_iterations=2, resume_from="models/x_last.pth", **changed)
    flag = next(iter(changed)).replace("_", "-")
    assert f"models/x_best.pth was chosen by other evaluations (before --{flag}): it stays until" in capsys.readouterr().out
    said = dict(tier="T0", eval_max_steps=4) | changed  # what it is already
    learn(exp_name="x", n_iterations=2, resume_from="models/x_last.pth", **said)
    assert "other evaluations" not in capsys.readouterr().out


# Demonstrations that were put together by hand


def test_copies_of_an_episode_are_never_on_both_sides_of_the_split(here, capsys):
    """Two folders of one seed put together, or a file manager's "episode_0001 (1).npz": validation saw what was trained on."""
    record("expert_data", 4)
    for number in range(1, 5):
        shutil.copy(f"expert_data/episode_000{number}.npz", f"expert_data/episode_000{number} (1).npz")
    clone(val_fraction=0.5)
    said = capsys.readouterr().out
    held_out = load_checkpoint("models/bc_pokemon_last.pth")["progress"]["held_out"]
    files = sorted(Path("expert_data").iterdir())
    train_files, val_files = split_episodes(episode_files("expert_data"), 0.5, 1)
    copies = copies_held_out(train_files, val_files)
    assert len(files) == 8 and copies and all(copy.read_bytes() == first.read_bytes() for copy, first in copies.items())
    assert held_out == [path.name for path in val_files if path not in copies]
    assert f"not held out, because each is a copy of an episode for training: {next(iter(copies)).name}" in said
    kept = [path for path in val_files if path not in copies]
    assert copies_held_out([path for path in files if path not in kept], kept) == {} == copies_held_out([], [])


def test_what_was_trained_on_does_not_validate_after_more_was_recorded(here, capsys):
    """The split was drawn anew among the old and the new episodes."""
    record("expert_data", 10)
    clone(val_fraction=0.3)
    first = load_checkpoint("models/bc_pokemon_last.pth")["progress"]
    record("expert_data", 30, seed=1)
    clone(val_fraction=0.3, total_steps=3, resume_from="models/bc_pokemon_last.pth")
    second = load_checkpoint("models/bc_pokemon_last.pth")["progress"]
    old = {name for name in second["held_out"] if name in first["demonstrations"]}
    assert old == set(first["held_out"]) and len(second["held_out"]) > len(old)
    assert "demonstrations new: episode_0011.npz" in capsys.readouterr().out
    for name in first["held_out"]:  # and what was held out may go
        (here / "expert_data" / name).unlink()
    clone(val_fraction=0.3, total_steps=4, resume_from="models/bc_pokemon_last.pth")
    third = load_checkpoint("models/bc_pokemon_last.pth")["progress"]["held_out"]
    assert third == [name for name in second["held_out"] if name not in first["held_out"]]


def test_all_that_a_run_learned_from_is_gone(here, capsys):
    """Another data set in the folder of that name: it is said, and split as it is."""
    record("expert_data", 4)
    clone()
    shutil.rmtree("expert_data")
    record("expert_data", 14, seed=1)
    for path in sorted(Path("expert_data").iterdir())[:4]:
        path.unlink()
    assert clone(total_steps=3, resume_from="models/bc_pokemon_last.pth")["step"] == 3
    assert "demonstrations new: episode_0005.npz" in capsys.readouterr().out


def test_a_folder_with_nothing_but_a_recording_that_is_under_way(here):
    (here / "expert_data").mkdir()
    (here / "expert_data" / "under_way.CLOCK_SET.seed1.jsonl").touch()
    with pytest.raises(
        DemonstrationError, match=r"no episode_\*.npz; .* \(under_way.CLOCK_SET.seed1.jsonl is an unfinished recording"
    ):
        clone()


def test_demonstrations_of_another_tool(here):
    """As many pictures as actions, no metadata but what is asked for, whole numbers of another type: they are learned from."""
    for number in range(1, 4):
        arrays = dict(observations=np.full((5, 144, 160, 3), number, np.uint8), actions=np.arange(5, dtype=np.int8))
        arrays |= dict(rewards=np.zeros(5, np.float64), dones=np.zeros(5, np.int64))
        Path("expert_data").mkdir(exist_ok=True)
        np.savez(f"expert_data/episode_{number:04d}.npz", **arrays, metadata=np.array('{"buttons": ["A", "B", "C", "D", "E"]}'))
    assert clone()["step"] == 2
    arrays.pop("rewards")
    np.savez("expert_data/episode_0004.npz", **arrays)
    with pytest.raises(DemonstrationError, match=r"episode_0004.npz: lacks rewards"):
        clone(overwrite=True)


def test_demonstrations_of_two_tiers_in_one_folder(here, capsys):
    """The lines of docs/scripts/collect.md one after the other: all evaluations were on T1, without a word."""
    record("expert_data", 3, tier="T1", worlds="0")
    record("expert_data", 4, seed=1, tier="T2", worlds="train")
    clone(overwrite=True)
    assert "of several tiers, 3 of T1 and 4 of T2: played on T1; choose with --tier\n" in capsys.readouterr().out
    clone(overwrite=True, tier="T2")
    assert "several tiers" not in capsys.readouterr().out


def test_demonstrations_that_are_one_folder_below(here):
    """Recorded as on one page, and learned from as on another: "record some" was the advice."""
    record("expert_data/rival_house")
    with pytest.raises(DemonstrationError, match=r"expert_data: holds no .*, or name a folder in it that does: expert_data/riv"):
        clone()
    learn(exp_name="x")
    with pytest.raises(DaggerDataError, match=r"models: .* name the data set in it, such as models/x_data.sqlite"):
        describe_data.describe("models")


def test_a_milestone_in_lower_case(here):
    """The advice was to record some of a milestone that there is not."""
    record("expert_data")
    with pytest.raises(DemonstrationError, match=r"no demonstrations of light, only of LIGHT; write LIGHT$"):
        clone(milestone="light")


def test_dagger_from_a_clone_with_the_network_left_out(here):
    """One was told to leave as they were the flags that one had not given, and of the networks all but their kinds."""
    record("expert_data", milestone="GAME_RUNNING", game="tallgrass")
    clone()
    flags = r"give --network tiles-small --hidden-dim 16 --frame-stack 1, as when"
    with pytest.raises(CheckpointError, match=r"has network \{'kind': 'tiles'\}, here it is \{'kind': 'impala'\}: .*" + flags):
        learn(network="impala", hidden_dim=256, init_from="models/bc_pokemon_final.pth")
    with pytest.raises(CheckpointError, match=r"has network \{'hidden_dim': 16\}, here it is \{'hidden_dim': 8\}: .*" + flags):
        learn(hidden_dim=8, init_from="models/bc_pokemon_final.pth")


def test_an_export_whose_name_has_no_version(here):
    """`--dataset-id demos`: a TypeError of Minari's."""
    pytest.importorskip("minari")
    record("expert_data")
    with pytest.raises(export_minari.ExportError, match=r"--dataset-id demos: has no version; give demos-v0$"):
        export_minari.export(export_minari.Args("expert_data", "demos", output_dir="exported"))


# One's own policies


def collect(**flags):
    args = dict(milestone="GAME_RUNNING", n_episodes=1, num_envs=1, rom_path=DAGGER["rom_path"])
    args |= dict(milestone_config=DAGGER["milestone_config"])
    return collect_expert_data.main(collect_expert_data.Args(**(args | flags)))


def test_a_folder_of_policies_that_is_mistyped(here):
    """Demonstrations and labels were of the game's own policy, without a word."""
    for work in (collect, learn):
        with pytest.raises(PolicyError, match=r"^mypols: no such folder of policies; is --policy-dir right\?"):
            work(policy_dir="mypols")


def test_a_policy_that_is_misnamed(here, capsys):
    """In lower case, say: the same."""
    (here / "mine").mkdir()
    collect(policy_dir="mine", expert_data_dir="before")
    assert "own policy" not in capsys.readouterr().out  # an empty folder raises no hopes
    (here / "mine" / "game_running.py").write_text("def run(state): return 'start'")
    collect(policy_dir="mine")
    assert "the game's own policy plays where mine has none: it has no GAME_RUNNING.py\n" in capsys.readouterr().out
    learn(policy_dir="mine")
    assert "labels by the game's own policy: mine has no GAME_RUNNING.py\n" in capsys.readouterr().out


def test_gymnasiums_own_vector_environments():
    """CleanRL's idiom: where only one of two had a menu, Gymnasium could not batch the state. docs/environment.md says how."""
    make = partial(PokemonEnv, start_milestone="RIVAL_HOUSE", max_episode_steps=6, state_in_info=False)
    envs = gymnasium.vector.SyncVectorEnv([make, make])
    try:
        envs.reset(seed=1)
        for _ in range(14):  # beyond an episode's end
            infos = envs.step(np.array([1, 2]))[-1]  # B, and START, which opens the menu
    finally:
        envs.close()
    assert infos["milestones"]["RIVAL_HOUSE"]["completed"].tolist() == [False, False]


# Output that is cut off, and surroundings that are odd


def test_a_run_outlives_whoever_reads_its_output(here):
    """`| head -1`, a closed terminal: training ended at its next line, with nothing saved, and no word said.

    It runs as cron would start it, without HOME; and as from a notebook, whose backend for pictures it inherits: where that is not
    installed, the first evaluation was a traceback.
    """
    record("expert_data")
    words = ["--num-threads", 1, "--network", "tiles-small", "--hidden-dim", 16, "--batch-size", 8, "--total-steps", 3]
    words += ["--eval-frequency", 1, "--eval-episodes", 0, "--save-frequency", 0]
    outside = {"HOME": "/proc/nowhere", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    streams = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with script(ROOT / "bc_pokemon.py", *words, **streams, cwd=here, env=outside, alone=True) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert said.count("what is printed cannot be written any more (Broken pipe); the run continues without it\n") == 1
    assert "Traceback" not in said and load_checkpoint("models/bc_pokemon_final.pth")["global_step"] == 3


def test_a_sandbox_that_the_system_kills_while_it_starts(here, monkeypatch):
    """Memory ran out: that was "policies can't be run in a sandbox here", with the advice to do without one."""
    start = subprocess.Popen

    def then_killed(*args, **settings):
        process = start(*args, **settings)
        process.kill()
        return process

    monkeypatch.setattr("agent.sandbox.oracle.subprocess.Popen", then_killed)
    with pytest.raises(SandboxError, match="was killed by the system while it started, as .* start again$") as error:
        learn()
    assert "unsafe" not in str(error.value)
    monkeypatch.setattr("agent.sandbox.oracle.subprocess.Popen", no_more_processes)
    with pytest.raises(SandboxError, match=r"cannot be started \(Resource temporarily unavailable\), as .* start again$") as error:
        learn()


def no_more_processes(*args, **settings):
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def test_both_streams_lead_to_the_same_reader_that_has_ended(here):
    code = "from common.runtime.lasting_output import outlive_output; import sys; outlive_output(); sys.stdin.read(); "
    code += "print('x', flush=True); print('y', file=sys.stderr, flush=True); open(sys.argv[1], 'w').close()"
    streams = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with script("-c", code, here / "end", cwd=ROOT, **streams) as process:  # as with `2>&1 | head -1`
        process.stdout.close()
        process.stdin.close()
        assert process.wait(60) == 0
    assert (here / "end").exists()


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_is_closed(here, ignored):
    """SIGHUP, as when one logs out: a run lost what it had not saved. Under `nohup` it goes on."""
    code = "import signal, sys, os; from common.runtime.main import StopRequest; stop = StopRequest();"
    code += "os.kill(os.getpid(), signal.SIGHUP); print(stop.signal); stop.restore(); print(signal.getsignal(signal.SIGHUP).name)"
    prefix = ["nohup"] if ignored else []
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # these tests may be run under nohup themselves
    )  # fmt: skip
    assert done.stdout.split() == (["None", "SIG_IGN"] if ignored else ["1", "SIG_DFL"])


def test_output_that_is_on_a_full_disk_or_can_t_show_a_letter(here):
    code = "from common.runtime.lasting_output import outlive_output; outlive_output(); print('ü' * 10000); print('end')"
    with open("/dev/full", "w") as full, script("-c", code, stdout=full, stderr=subprocess.PIPE, cwd=ROOT) as process:
        said = process.stderr.read()
    assert process.returncode == 0 and said.count("\n") == 1 and "No space left on device" in said
    with script("-c", code, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONIOENCODING": "ascii"}) as process:
        assert process.stdout.read() == "\\xfc" * 10000 + "\nend\n"
    assert process.returncode == 0
    with script("-c", code, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout.read() == "ü" * 10000 + "\nend\n"


def test_help_that_nobody_reads_to_its_end(here):
    """`--help | head -1` was a BrokenPipeError, and `--help >&-` an AttributeError."""
    collect = ROOT / "collect_expert_data.py"
    with script(collect, "--help", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
    closed = subprocess.run(["bash", "-c", f"{sys.executable} {collect} --help >&-"], capture_output=True, text=True)
    assert (closed.returncode, closed.stderr) == (0, "")


def test_ctrl_c_before_the_work_begins(here):
    """While torch is imported, for 3 seconds: a traceback through the import machinery."""
    code = "import os, signal, sys; sys.argv[0] = 'path/x.py'; from common.runtime.flags import parse_command_line as parse;"
    code += "from dataclasses import make_dataclass; parse(make_dataclass('Args', [])); os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "x.py: interrupted\n" and done.returncode == -signal.SIGINT


def test_a_ctrl_c_that_comes_inside_the_emulator(here, monkeypatch, capsys):
    """PyBoy printed it and went on, and so did the script, to its end: one press of Ctrl-C was lost."""
    for name in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, name, getattr(sys, f"__{name}__"))
    heed_interrupts()
    with PokemonEnv() as env:
        env.reset(seed=0)
        looked = PIL.Image.Image.readonly
        monkeypatch.setattr(PIL.Image.Image, "readonly", property(lambda image: signal.raise_signal(signal.SIGINT)))
        with pytest.raises(KeyboardInterrupt):
            env.step(0)
            monkeypatch.setattr(PIL.Image.Image, "readonly", looked)
            time.sleep(5)
    assert capsys.readouterr().err == ""


def test_no_clock_is_trusted_for_names(here, monkeypatch):
    """A clock that was set back, or stands at its beginning: runs still have a folder each, and go on."""
    record("expert_data")
    names = []
    for now in (2e9, 0.0, 0.0, 1e9):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        names.append(clone(exp_name=f"run{len(names) % 2}", overwrite=True)["run_name"])
    assert len(set(names)) == 4 and {path.name for path in (here / "runs").iterdir()} == set(names)
    for now in (0.0, 5e9):  # a zip file has no time before 1980, and none after 2107: no checkpoint could be read
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert clone(exp_name="run1", resume_from="models/run1_last.pth", total_steps=3)["run_name"] == names[3]


FREEZE = """
import os, subprocess, time
from agent.oracle import Situation
from agent.sandbox.oracle import PolicyOracle
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv

with PokemonEnv() as env:
    _, info = env.reset(seed=0)
    situation = Situation(env.snapshot(), info["prev_action"])
with PolicyOracle(sys.argv[1], GAME, call_seconds=2.5) as oracle:
    oracle.start()
    rows = [tuple(map(int, row.split())) for row in subprocess.check_output(["ps", "-eo", "ppid=,pid="], text=True).splitlines()]
    ours = {os.getpid()}
    for _ in range(3):  # the worker, and its child
        ours |= {pid for parent, pid in rows if parent in ours}
    family = " ".join(map(str, ours))
    command = f"sleep 0.2; kill -STOP {family}; sleep 4; kill -CONT {family}"
    subprocess.Popen(["sh", "-c", command], start_new_session=True, stderr=subprocess.DEVNULL)
    print(oracle.label_batch([situation])[0])
"""


def test_a_job_that_is_suspended_blames_no_policy(here):
    """SLURM's gang scheduling stops all processes of a job, a laptop its containers: an answer under way was "too slow"."""
    (here / "P.py").write_text("def run(state):\n    for _ in range(8_000_000):\n        pass\n    return 'up'\n")
    with script("-c", "import sys" + FREEZE, here / "P.py", cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.read().startswith("Answer(action=4, kind=None")
