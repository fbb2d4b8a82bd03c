"""collect_expert_data.py, as a user runs it."""

from __future__ import annotations

import ast
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from common.demonstrations import NO_LABEL, episode_files, load_episode, load_metadata
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "collect_expert_data.py"
pytestmark = pytest.mark.usefixtures("forked_scripts")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Start states for these tests: power-on needs none, and the others come from here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def collect(rom_path, cache, tmp_path):
    """Run the script in tmp_path; flags as on the command line."""

    def run(*flags: str, ok: bool | None = True, **environment: str) -> subprocess.CompletedProcess:
        done = subprocess.run(command(rom_path, cache, *flags), cwd=tmp_path, capture_output=True, text=True,
        timeout=300,
                              env=os.environ | {"COLUMNS": "160"} | environment)  # fmt: skip
        assert ok is None or (done.returncode == 0) == ok, done.stdout + done.stderr
        return done

    return run


def command(rom_path: Path, cache: Path, *flags: str) -> list[str]:
    fixed = ["--rom-path", rom_path, "--milestone-config", ROOT / "milestone_config.json"]
    fixed += ["--state-dir", cache / "states", "--start-states-dir", cache / "start_states"]
    given = {flag for flag in flags if flag.startswith("--")}
    kept = [item for pair in zip(fixed[::2], fixed[1::2], strict=True) if pair[0] not in given for item in pair]
    return [sys.executable, str(SCRIPT), *map(str, kept), *flags]


def own_policy(folder: Path, milestone: str, body: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / f"{milestone}.py").write_text(f"def run(state):\n{body}")
    return str(folder)


def test_help_answers_at_once():
    seconds = []
    for _ in range(3):  # the best of three: the machine may be busy with something else
        began = time.perf_counter()
        done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, timeout=60)
        seconds.append(time.perf_counter() - began)
        assert done.returncode == 0 and "--n-episodes" in done.stdout
    assert min(seconds) < 1.5, seconds


@pytest.mark.parametrize("script", ["collect_expert_data.py", "benchmarks/expert_table.py", "benchmarks/realisability.py"])
def test_each_flag_says_what_it_is_for(script):
    tree = ast.parse((ROOT / script).read_text())
    (args,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Args")
    for field, following in zip(args.body, [*args.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(following, ast.Expr) and isinstance(following.value.value, str), field.target.id


def test_episodes_are_whole_and_say_where_they_come_from(collect, tmp_path, rom_path, from_nothing):
    done = collect("--milestones", "PLAYER_NAME_SET", "GAME_RUNNING", "--n-episodes", "2")
    files = episode_files(tmp_path / "expert_data")
    assert [path.name for path in files] == [f"episode_{i:04d}.npz" for i in range(1, 5)]
    episodes = [load_episode(path) for path in files]
    assert [e.metadata["milestone"] for e in episodes] == ["GAME_RUNNING"] * 2 + ["PLAYER_NAME_SET"] * 2  # the game's order
    for episode in episodes:
        assert episode.observations.shape == (len(episode) + 1, 144, 160, 3)
        assert episode.dones.tolist() == [False] * (len(episode) - 1) + [True]
        assert episode.rewards[-1] == 1 and episode.episode_return == 1
        assert episode.metadata["success"] and episode.metadata["buttons"] == list(GAME.buttons)
        assert episode.metadata["game"] == "tallgrass" and episode.metadata["noise"] == 0
        assert (episode.pressed == episode.actions).all()
    assert len({e.metadata["seed"] for e in episodes}) == 4
    row = next(line for line in done.stdout.splitlines() if "PLAYER_NAME_SET" in line and "│" in line)
    assert "2/2" in row and str(sum(map(len, episodes[2:]))) in row
    assert not (tmp_path / "expert_data" / "videos").exists()


def test_the_recording_is_what_the_environment_shows(collect, tmp_path, rom_path, cache):
    collect("--milestone", "PLAYER_NAME_SET", "--n-episodes", "1", "--noise", "0.3")
    episode = load_episode(tmp_path / "expert_data" / "episode_0001.npz")
    settings = {key: episode.metadata[key] for key in ("tier", "worlds", "start_milestone")}
    assert settings == {"tier": "T1", "worlds": "0", "start_milestone": "PLAYER_NAME_SET"} and episode.metadata["world"] == 0
    with PokemonEnv(rom_path, state_in_info=False, **settings) as env:
        screens = [env.reset(seed=episode.metadata["seed"])[0]]
        screens += [env.step(int(action))[0] for action in episode.pressed]
    assert np.array_equal(np.stack(screens), episode.observations)


@pytest.mark.slow
def test_running_again_continues_with_other_episodes(collect, tmp_path):
    for _ in range(2):
        collect("--milestone", "PLAYER_NAME_SET", "--n-episodes", "2")
    files = episode_files(tmp_path / "expert_data")
    assert [path.name for path in files] == [f"episode_{i:04d}.npz" for i in range(1, 5)]
    metadata = [load_metadata(path) for path in files]
    assert [entry["attempt"] for entry in metadata] == [0, 1, 2, 3]
    assert len({entry["seed"] for entry in metadata}) == 4


@pytest.mark.slow
def test_the_number_of_environments_changes_nothing(collect, tmp_path):
    for n in ("1", "3"):
        collect(
            "--milestone",
            "PLAYER_NAME_SET",
            "--n-episodes",
            "3",
            "--noise",
            "0.2",
            "--num-envs",
            n,
            "--expert-data-dir",
            n,
        )
    for one, three in zip(episode_files(tmp_path / "1"), episode_files(tmp_path / "3"), strict=True):
        one, three = load_episode(one), load_episode(three)
        assert np.array_equal(one.observations, three.observations) and np.array_equal(one.actions, three.actions)
        assert one.metadata == three.metadata


@pytest.mark.slow
def test_noise_changes_what_is_pressed_and_not_the_labels(collect, tmp_path, rom_path):
    collect("--milestone", "PLAYER_NAME_SET", "--n-episodes", "4", "--noise", "0.5")
    from agent.policy_expert import PolicyExpert

    expert = PolicyExpert((tmp_path, "PLAYER_NAME_SET"), GAME)
    differing = 0
    with PokemonEnv(rom_path, start_milestone="PLAYER_NAME_SET", tier="T1") as env:
        for path in episode_files(tmp_path / "expert_data"):
            episode = load_episode(path)
            _, info = env.reset(seed=episode.metadata["seed"])
            for label, action in zip(episode.actions, episode.pressed, strict=True):
                assert expert.label(info).action == label
                info = env.step(int(action))[-1]
            differing += int((episode.actions != episode.pressed).sum())
            assert episode.metadata["noise"] == 0.5
    assert differing > 3


@pytest.mark.slow
def test_failures_are_left_out_unless_wanted(collect, tmp_path):
    policies = own_policy(tmp_path / "policies", "GAME_RUNNING", "    return 'b'\n")
    flags = ("--milestone", "GAME_RUNNING", "--n-episodes", "2", "--max-steps", "3", "--policy-dir", policies)
    done = collect(*flags, ok=False)
    assert done.returncode == 1 and "fewer episodes than wanted: GAME_RUNNING" in done.stdout and "0/2" in done.stdout
    assert not list(tmp_path.glob("expert_data/*.npz"))
    collect(*flags, "--keep-failures")
    episode = load_episode(tmp_path / "expert_data" / "episode_0001.npz")
    assert len(episode) == 3 and not episode.dones.any() and episode.metadata["success"] is False


@pytest.mark.slow
def test_where_the_expert_abstains_there_is_no_label(collect, tmp_path):
    policies = own_policy(
        tmp_path / "policies", "GAME_RUNNING", "    return 1 / 0 if state['prev_action'] == 'no_op' else 'start'\n"
    )
    done = collect("--milestone", "GAME_RUNNING", "--n-episodes", "2", "--policy-dir", policies)
    assert "abstained" in done.stdout and "ZeroDivisionError" in done.stdout
    for path in episode_files(tmp_path / "expert_data"):
        episode = load_episode(path)
        assert episode.actions.tolist() == [NO_LABEL, GAME.buttons.index("START")]
        assert episode.pressed[0] >= 0 and episode.metadata["abstentions"] == 1
    # Without a single label there is nothing to keep.
    own_policy(tmp_path / "policies", "GAME_RUNNING", "    return 'no_op'\n")
    done = collect("--milestone", "GAME_RUNNING", "--n-episodes", "1", "--policy-dir", policies, "--keep-failures",
                   "--max-steps", "2", "--expert-data-dir", "none", ok=False)  # fmt: skip
    assert done.returncode == 1 and not list(tmp_path.glob("none/*.npz"))


def test_videos(collect, tmp_path):
    collect("--milestone", "PLAYER_NAME_SET", "--n-episodes", "1", "--record-video")
    episode = load_episode(tmp_path / "expert_data" / "episode_0001.npz")
    with av.open(str(tmp_path / "expert_data" / "videos" / "episode_0001.mp4")) as video:
        assert video.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in video.decode(video=0)) == len(episode.observations)


@pytest.mark.slow
def test_start_states(collect, tmp_path, cache, bedroom_state):
    collect("--milestone", "PLAYER_NAME_SET", "--n-episodes", "3", "--start-states", "train")
    starts = [load_metadata(path)["start_state"] for path in episode_files(tmp_path / "expert_data")]
    folder = cache / "start_states" / "tallgrass" / "GAME_RUNNING_completed"
    assert starts == [str(folder / "train" / f"00{i}.state") for i in range(3)]
    for which, place in (
        ("heldout", folder / "heldout" / "000.state"),
        ("first", cache / "states" / "GAME_RUNNING_completed.state"),
    ):
        collect("--milestone", "PLAYER_NAME_SET", "--n-episodes", "1", "--start-states", which, "--expert-data-dir", which)
        assert load_metadata(tmp_path / which / "episode_0001.npz")["start_state"] == str(place)
    collect(
        "--milestone",
        "PLAYER_BEDROOM",
        "--n-episodes",
        "1",
        "--load-state",
        str(bedroom_state),
        "--expert-data-dir",
        "own",
    )
    assert load_metadata(tmp_path / "own" / "episode_0001.npz")["start_state"] == str(bedroom_state)


@pytest.mark.slow
def test_worlds(collect, tmp_path):
    collect("--milestone", "CLOCK_SET", "--n-episodes", "3", "--tier", "T2", "--worlds", "3-4")
    metadata = [load_metadata(path) for path in episode_files(tmp_path / "expert_data")]
    assert {entry["world"] for entry in metadata} <= {3, 4} and {entry["tier"] for entry in metadata} == {"T2"}
    collect("--milestone", "GAME_RUNNING", "--n-episodes", "1", "--start-states", "power-on", "--expert-data-dir", "on")
    on = load_metadata(tmp_path / "on" / "episode_0001.npz")
    assert on["world"] == 0 and "start_milestone" not in on


@pytest.mark.slow
def test_so_many_labels(collect, tmp_path):
    flags = ("--milestone", "CLOCK_SET", "--noise", "0.2")
    collect(*flags, "--n-labels", "20")
    files = episode_files(tmp_path / "expert_data")
    labels = [int((load_episode(path).actions != NO_LABEL).sum()) for path in files]
    assert sum(labels) >= 20 > sum(labels[:-1])
    collect(*flags, "--n-labels", "20")  # there are so many already
    assert episode_files(tmp_path / "expert_data") == files
    collect(*flags, "--n-labels", str(sum(labels) + 1))
    assert len(episode_files(tmp_path / "expert_data")) == len(files) + 1


@pytest.mark.slow
def test_a_killed_run_leaves_whole_files_and_the_next_goes_on(rom_path, cache, tmp_path):
    flags = ("--milestone", "PLAYER_NAME_SET", "--n-episodes")
    process = subprocess.Popen(command(rom_path, cache, *flags, "10000"), cwd=tmp_path, stdout=subprocess.DEVNULL)
    data = tmp_path / "expert_data"
    deadline = time.monotonic() + 120
    while len(list(data.glob("episode_*.npz"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    files = episode_files(data)
    assert len(files) >= 5 and all(load_episode(path).metadata["success"] for path in files)
    subprocess.run(command(rom_path, cache, *flags, "1"), cwd=tmp_path, check=True, capture_output=True)
    assert len(episode_files(data)) == len(files) + 1
    assert load_metadata(episode_files(data)[-1])["attempt"] == len(files)


@pytest.mark.slow
def test_an_interrupted_run_says_what_it_has(rom_path, cache, tmp_path):
    process = subprocess.Popen(command(rom_path, cache, "--milestone", "PLAYER_NAME_SET", "--n-episodes", "10000"),
    cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("expert_data/episode_*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert "interrupted" in output and f"{len(episode_files(tmp_path / 'expert_data'))}/10000" in output


@pytest.mark.parametrize(
    "flags, words",
    [
        (("--milestone", "NO_SUCH"), "no milestone NO_SUCH; it has GAME_RUNNING"),
        (("--n-episodes", "0"), "--n-episodes is 0"),
        (("--num-envs", "0"), "--num-envs is 0"),
        (("--noise", "1"), "--noise is 1.0"),
        (("--noise", "-0.1"), "--noise is -0.1"),
        (("--noise", "0.1", "--human"), "--noise is for scripted experts"),
        (("--rom-path", "no.gb"), "no ROM file no.gb"),
        (("--milestone-config", "no.json"), "no.json: no such file"),
        (("--milestone", "CLOCK_SET", "--load-state", "no.state"), "no state file no.state"),
    ],
)
def test_errors(collect, flags, words):
    done = collect(*flags, ok=False)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr


def test_a_broken_policy_is_told_before_anything_is_recorded(collect, tmp_path):
    policies = own_policy(tmp_path / "policies", "PLAYER_NAME_SET", "    return (\n")
    done = collect("--milestones", "GAME_RUNNING", "PLAYER_NAME_SET", "--policy-dir", policies, ok=False)
    assert done.returncode == 1 and "PLAYER_NAME_SET.py: is not Python" in done.stderr
    assert not (tmp_path / "expert_data").exists()


def test_a_state_in_which_the_milestone_is_reached(collect, bedroom_state):
    done = collect("--milestone", "GAME_RUNNING", "--load-state", str(bedroom_state), ok=False)
    assert done.returncode == 1 and "completed already" in done.stderr


@pytest.mark.slow
def test_a_state_of_another_rom(collect, bedroom_state, rom_titled):
    done = collect("--milestone", "PLAYER_BEDROOM", "--load-state", str(bedroom_state), "--rom-path", str(rom_titled("TALLGRASS")))
    assert done.returncode == 0  # the same title and so the same bytes
    done = collect("--rom-path", str(rom_titled("UNKNOWN")), ok=False)
    assert done.returncode == 1 and "record it with --human" in done.stderr


# ---- a person at the keyboard ----


@pytest.fixture
def display(tmp_path):
    """A virtual desktop, and a function that types on it."""
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("needs Xvfb and xdotool")
    read, write = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "800x700x24", "-nolisten", "tcp"],
    pass_fds=[write],
                              stderr=subprocess.DEVNULL)  # fmt: skip
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait()


class Player:
    """The script with --human on a virtual desktop."""

    def __init__(self, arguments: list[str], display: str, folder: Path):
        self.environment = os.environ | {
            "DISPLAY": display,
            "SDL_AUDIODRIVER": "dummy",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "160",
        }
        self.log = folder / "log.txt"
        self.process = subprocess.Popen(
            arguments, cwd=folder, env=self.environment, stdout=self.log.open("w"), stderr=subprocess.STDOUT
        )

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + 60
        while words not in self.log.read_text():
            assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        time.sleep(1)  # the window comes right after

    def type(self, *keys: str) -> None:
        for key in keys:
            subprocess.run(["xdotool", "key", key], env=self.environment, check=True)
            time.sleep(0.4)

    def xdotool(self, *arguments: str) -> str:
        done = subprocess.run(["xdotool", *arguments], env=self.environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def title(self) -> str:
        return self.xdotool("search", "--onlyvisible", ".", "getwindowname")

    def wait_for_presses(self, presses: int) -> Path:
        """Until the journal holds so many; returns its path."""
        deadline = time.monotonic() + 60
        while True:
            journals = list(self.log.parent.glob("expert_data/under_way.*.jsonl"))
            if journals and journals[0].read_bytes().count(b"\n") == presses + 1:
                return journals[0]
            assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def end(self) -> str:
        self.process.wait(60)
        return self.log.read_text()


@pytest.mark.slow
def test_a_person_plays_a_milestone(rom_path, cache, tmp_path, display):
    player = Player(command(rom_path, cache, "--human", "--milestone", "GAME_RUNNING", "--n-episodes", "2",
    "--window-speed", "0"),
                    display, tmp_path)  # fmt: skip
    player.wait_for("episode 1 of 2")
    player.type("a", "Left", "s", "Return")
    player.wait_for("episode 2 of 2")
    player.type("BackSpace", "x", "Return")
    log = player.end()
    assert player.process.returncode == 0, log
    first, second = (load_episode(path) for path in episode_files(tmp_path / "expert_data"))
    assert [GAME.buttons[i] for i in first.actions] == ["A", "LEFT", "B", "START"]
    assert [GAME.buttons[i] for i in second.actions] == ["SELECT", "START"]  # x is no button
    assert first.optimal.tolist() == [0, 0, 0, 1 << GAME.buttons.index("START")]  # no set where another button was right
    assert first.metadata["recorder"] == "human" and first.metadata["success"] and first.dones.tolist() == [False] * 3 + [True]
    # The same presses by step() give the same pictures: the keyboard changes nothing behind the environment's back.
    with PokemonEnv(rom_path, state_in_info=False, start_milestone="GAME_RUNNING", tier="T1") as env:
        screens = [env.reset(seed=first.metadata["seed"])[0], *(env.step(int(action))[0] for action in first.actions)]
    assert np.array_equal(np.stack(screens), first.observations)


@pytest.mark.slow
def test_a_person_plays_an_unknown_game_until_escape(rom_titled, cache, tmp_path, display):
    player = Player(command(rom_titled("UNKNOWN"), cache, "--human", "--window-speed", "0"), display, tmp_path)
    player.wait_for("episode 1 of 20")
    player.type("Down", "a", "Escape")
    log = player.end()
    assert player.process.returncode == 0 and "by its picture alone" in log, log
    (path,) = episode_files(tmp_path / "expert_data")
    episode = load_episode(path)
    assert [episode.metadata["buttons"][i] for i in episode.actions] == ["DOWN", "A"]
    assert episode.metadata["milestone"] is None and episode.metadata["success"] is None


def pressed(path: Path) -> list[str]:
    return [GAME.buttons[i] for i in load_episode(path).actions]


@pytest.mark.slow
def test_a_person_gives_up_and_goes_on_the_next_day(collect, rom_path, cache, tmp_path, display):
    flags = ["--human", "--milestone", "GAME_RUNNING", "--n-episodes", "1", "--window-speed", "0"]
    player = Player(command(rom_path, cache, *flags), display, tmp_path)
    player.wait_for("episode 1 of 1")
    assert player.title() == "TALLGRASS: press a key"
    player.type("a", "Left", "Escape")
    log = player.end()
    journal = tmp_path / "expert_data" / "under_way.GAME_RUNNING.seed1.jsonl"
    assert player.process.returncode == 1 and "0/1" in log, log
    assert f"2 presses are kept in {journal.relative_to(tmp_path)}" in log and "--keep-failures" in log, log
    assert not list(tmp_path.glob("expert_data/*.npz"))

    recorded = journal.read_bytes()
    done = collect(*flags, "--tier", "T2", ok=False, DISPLAY=display)
    assert done.returncode == 1 and "tier 'T1', and now it is 'T2'" in done.stderr and journal.name in done.stderr
    journal.write_bytes(recorded.replace(b"\n[6, ", b"\n[7, "))  # of which the title screen shows nothing
    done = collect(*flags, ok=False, DISPLAY=display)
    assert done.returncode == 1 and "press 2 of 2 has another outcome" in done.stderr and journal.name in done.stderr

    journal.write_bytes(recorded)
    player = Player(command(rom_path, cache, *flags), display, tmp_path)
    player.wait_for("episode 1 of 1")
    player.type("s", "Return")
    log = player.end()
    assert player.process.returncode == 0 and "resuming after the 2 presses" in log and "kept" not in log, log
    (path,) = episode_files(tmp_path / "expert_data")
    assert pressed(path) == ["A", "LEFT", "B", "START"] and load_metadata(path)["success"] and not journal.exists()
    check_against_steps(path, rom_path, start_milestone="GAME_RUNNING", tier="T1")


def check_against_steps(path: Path, rom_path: Path, **settings: str) -> None:
    """The same presses by step() give the same pictures."""
    episode = load_episode(path)
    with PokemonEnv(rom_path, state_in_info=False, **settings) as env:
        screens = [env.reset(seed=episode.metadata["seed"])[0], *(env.step(int(action))[0] for action in episode.actions)]
    assert np.array_equal(np.stack(screens), episode.observations)


@pytest.mark.slow
def test_failures_of_a_person_are_kept_if_wanted(rom_path, cache, tmp_path, display):
    player = Player(command(rom_path, cache, "--human", "--milestone", "GAME_RUNNING", "--keep-failures"), display, tmp_path)
    player.wait_for("episode 1 of 20")
    player.type("a")
    player.wait_for_presses(1)
    player.process.terminate()
    log = player.end()
    (path,) = episode_files(tmp_path / "expert_data")
    assert player.process.returncode == 0 and pressed(path) == ["A"] and load_metadata(path)["success"] is False, log
    assert not list(tmp_path.glob("expert_data/under_way.*"))


@pytest.mark.slow
def test_presses_outlive_sigkill(collect, rom_path, cache, tmp_path, display):
    flags = ["--human", "--milestone", "GAME_RUNNING", "--n-episodes", "1"]
    player = Player(command(rom_path, cache, *flags), display, tmp_path)
    player.wait_for("episode 1 of 1")
    player.xdotool("key", "--delay", "50", "a", "Left", "Up")
    journal = player.wait_for_presses(3)
    player.process.kill()
    player.end()
    with journal.open("ab") as file:
        file.write(b"[4, 12")  # what a write that was cut leaves
    done = collect(*flags, "--max-steps", "3", ok=False, DISPLAY=display)
    assert done.returncode == 1 and "not reached within 3 presses" in done.stdout and "3 presses are kept" in done.stdout
    player = Player(command(rom_path, cache, *flags), display, tmp_path)
    player.wait_for("episode 1 of 1")
    player.type("Return")
    log = player.end()
    (path,) = episode_files(tmp_path / "expert_data")
    assert player.process.returncode == 0 and pressed(path) == ["A", "LEFT", "UP", "START"], log
    check_against_steps(path, rom_path, start_milestone="GAME_RUNNING", tier="T1")


@pytest.mark.slow
def test_a_game_of_ones_own_is_recorded_over_several_days(rom_titled, cache, tmp_path, display):
    rom = rom_titled("UNKNOWN")
    arguments = command(rom, cache, "--human", "--window-speed", "0")
    for day, keys in enumerate((["Return", "a"], ["a", "Down", "a"]), start=1):
        player = Player(arguments, display, tmp_path)
        player.wait_for("episode 1 of 20")
        for key in keys:  # a tap as a finger makes it: one press, however fast the game runs
            player.xdotool("keydown", key, "sleep", "0.08", "keyup", key)
        player.wait_for_presses((2, 5)[day - 1])
        player.process.send_signal(signal.SIGINT) if day == 1 else player.type("Escape")
        log = player.end()
        assert player.process.returncode == 0 and "Traceback" not in log, log
        assert f"{len(keys)} presses recorded" in log and "the same command resumes" in log, log
    one, two = (load_episode(path) for path in episode_files(tmp_path / "expert_data"))
    assert (one.metadata["first_step"], two.metadata["first_step"]) == (0, 2)
    assert one.metadata["recording"] == two.metadata["recording"]
    with pytest.warns(UserWarning), PokemonEnv(rom, state_in_info=False) as env:
        screens = [env.reset(seed=one.metadata["seed"])[0]]
        screens += [env.step(int(action))[0] for action in [*one.actions, *two.actions]]
    assert np.array_equal(np.stack(screens[:3]), one.observations)
    assert np.array_equal(np.stack(screens[2:]), two.observations)  # the second begins where the first ended


KEYS = {"A": "a", "B": "s", "START": "Return", "SELECT": "BackSpace", "UP": "Up", "DOWN": "Down", "LEFT": "Left", "RIGHT": "Right"}


@pytest.mark.slow
def test_nothing_that_is_typed_is_lost(rom_titled, cache, tmp_path, display):
    typed = random.Random(1).choices(list(KEYS), k=80)
    player = Player(command(rom_titled("UNKNOWN"), cache, "--human"), display, tmp_path)
    player.wait_for("episode 1 of 20")
    player.xdotool("key", "--delay", "125", *(KEYS[button] for button in typed), "Escape")  # 8 a second for 10 seconds
    log = player.end()
    (path,) = episode_files(tmp_path / "expert_data")
    assert pressed(path) == typed, log


def test_without_a_desktop(collect):
    done = collect("--human", "--milestone", "GAME_RUNNING", ok=False, DISPLAY="", WAYLAND_DISPLAY="", SDL_VIDEODRIVER="")
    assert done.returncode == 1 and "no window can be opened here" in done.stderr


def test_two_recorders_with_one_seed_are_refused(collect, tmp_path):
    folder = tmp_path / "expert_data"
    folder.mkdir()
    (folder / ".recording.999999999.tmp").write_bytes(b"left by one that was killed")
    with open(folder / ".seed1.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = collect("--milestone", "GAME_RUNNING", "--n-episodes", "1", "--seed", "1", ok=False)
        assert done.returncode == 1 and "another run with --seed 1 is recording" in done.stderr
        collect("--milestone", "GAME_RUNNING", "--n-episodes", "1", "--seed", "2")
    assert len(episode_files(folder)) == 1
    assert not list(folder.glob(".recording.*"))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.02])
def test_an_expert_that_decides_by_more_than_the_state_is_found_and_its_episodes_named(collect, tmp_path, share):
    own = (ROOT / "tallgrass" / "policies" / "PLAYER_NAME_SET.py").read_text()
    own += "import random\ndecide = run\ndef run(state):\n"
    own += f"    return 'select' if random.Random().random() < {share} else decide(state)\n"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "PLAYER_NAME_SET.py").write_text(own)
    done = collect("--milestone", "PLAYER_NAME_SET", "--n-episodes", "500", "--policy-dir", "mine", "--num-envs", "1", ok=False)
    assert "its answers depend on more than the state" in done.stderr and done.stderr.count("\n") == 1
    saved = [path.name for path in episode_files(tmp_path / "expert_data")] if list(tmp_path.glob("expert_data/*.npz")) else []
    told = f"This run saved {len(saved)} episode(s) of it, {saved[0]} to {saved[-1]}: delete them" if saved else ""
    assert told in done.stderr and ("This run saved" in done.stderr) == bool(saved)
