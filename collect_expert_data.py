#!/usr/bin/env python3
"""Record demonstrations: scripted experts, or a person at the keyboard, play milestones of a game.

    python collect_expert_data.py --milestone RIVAL_HOUSE --n-episodes 50 --noise 0.2
    python collect_expert_data.py --milestones CLOCK_SET LEAVE_HOUSE
    python collect_expert_data.py --milestone RIVAL_HOUSE --tier T2        # in 999 worlds instead of one
    python collect_expert_data.py                                          # all milestones in turn
    python collect_expert_data.py --human --milestone CLOCK_SET            # play it yourself
    python collect_expert_data.py --human --rom-path my_game.gb            # any game, by its screen

Writes `{expert_data_dir}/episode_0001.npz`, ... (`common/demonstrations.py` describes the format). A file appears whole
or not at all, so recording can be stopped at any time; the next run continues the numbering.

In the window of --human the keys are: arrows, A = A, S = B, Return = START, Backspace = SELECT, Escape = stop. Presses that
are typed faster than the game takes them wait, up to 128, while the game plays faster. The title shows the next ones, and
Delete drops them. A key that is held is pressed repeatedly. Each press is written to disk at once, in
`{expert_data_dir}/under_way.*.jsonl`: however the run ends, the same command resumes there.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.flag_groups import TierName
from common.runtime.flag_types import Amount, Count, Few, Seed, ShareBelowOne, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    n_episodes: Count = 20
    """Episodes to record for each milestone in this run."""
    n_labels: Count | None = None
    """Record until the folder holds this many labels of each milestone. None records --n-episodes."""
    expert_data_dir: str = "expert_data"
    """Folder that the episodes are written to."""
    milestone: str | None = None
    """Record this milestone. None: those of --milestones."""
    milestones: tuple[str, ...] = ()
    """Record these milestones. Without any, all of the game in turn."""
    rom_path: str = "tallgrass/tallgrass.gb"
    """The game's ROM; the default is the bundled game."""
    seed: Seed = 1
    """Seed of the episodes. The same seed continues where the folder's last run with it stopped."""
    num_envs: Few = 2
    """Environments that play in parallel, each in a thread."""
    noise: ShareBelowOne = 0.0
    """Probability that the pressed button is a random one; the label stays the expert's (DART)."""
    max_steps: Count | None = None
    """Steps after which an episode has failed. None takes the milestone's limit from --milestone-config."""
    keep_failures: bool = False
    """Also record episodes that did not reach their milestone; with --human, those that are stopped before it."""
    record_video: bool = False
    """Also write each recorded episode as {expert_data_dir}/videos/episode_0001.mp4 (H.264)."""
    human: bool = False
    """Let a person play, in the emulator's window."""
    window_speed: Amount = 1.0
    """Speed with --human: 1 is the console's own, 2 twice that, 0 as fast as possible."""

    # Where episodes start, and which experts label them
    tier: TierName | None = None
    """Difficulty tier of the bundled game. T0: world 0, people stand still, no jitter. T1: world 0, everything varies. T2: other
    worlds. T3: as T1, and labels depend on earlier screens. None takes T1.
    """
    worlds: str | None = None
    """Worlds to play in: 0, 7, 1-999, train, choose or test. None takes 1-999 on T2, else 0."""
    start_states: Literal["worlds", "train", "heldout", "first", "power-on"] | None = None
    """Where episodes start. worlds: at the milestone's beginning in a world, at a place drawn for each episode. train: in the
    recorded states to learn from. heldout: in those for evaluation. first: in {PREV}_completed.state. power-on: at power-on.
    None takes worlds if the game has them, else train.
    """
    load_state: str | None = None
    """Start in this .state file, or in those of this folder in turn. None follows --start-states."""
    state_dir: str = ".milestone_trainer_cache/milestone_states"
    """Folder of {PREV}_completed.state; missing ones are made by playing the experts."""
    start_states_dir: str = ".milestone_trainer_cache/start_states"
    """Folder of the recorded start states; missing ones are made by playing the experts."""
    policy_dir: str = ".milestone_trainer_cache/successful_policies"
    """Folder of experts, {MILESTONE_ID}.py, which play in a sandbox. A milestone without a file there is played by the game's own
    expert, in this process.
    """
    unsafe_policies: bool = False
    """Run policies in this process, for platforms without a sandbox. Only for files that you trust as your own."""
    milestone_config: str = "milestone_config.json"
    """The milestones with their limits."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import field
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agent.demonstrate import play_episode
from agent.human_player import Ending, HandRecording, saved_steps
from agent.open_expert import UNSAFE_NOTICE, SandboxedExpert, has_own_policies, is_games_own, open_policy, where_it_runs
from agent.oracle import LabelsWithdrawn
from agent.policy_expert import PolicyExpert
from common.demonstrations import (
    NO_LABEL,
    Episode,
    clear_unfinished,
    count_labelled,
    episode_files,
    load_metadata,
    save_episode,
)
from common.press_journal import PressJournal
from common.runtime.files import AlreadyLockedError, exclusive_lock, make_folder
from common.runtime.main import StopRequest, run_main
from common.runtime.plain_text import in_one_line, some
from common.runtime.progress import ProgressReport, plain_console, print_table
from common.runtime.seeding import derived_seed
from common.video import write_video
from pokemon_env.builds import plays_alike
from pokemon_env.errors import PokemonEnvError, WindowClosed
from pokemon_env.games.base import Game
from pokemon_env.gym_env import PokemonEnv
from tasks.episode_starts import EpisodeStarts, choose_starts
from tasks.milestone_config import load_milestone_config, not_of_game

ATTEMPTS_PER_EPISODE = 4
"""An expert that fails this often for each wanted episode is given up."""
DEFAULT_MAX_STEPS = 1000
"""The limit if neither --max-steps nor the milestone's entry gives one; for a person, ten times that."""


@dataclass
class Tally:
    """The result of recording one milestone: a row of the final table."""

    wanted: int
    """episodes; 0 if labels are counted instead"""
    wanted_labels: int = 0
    saved: int = 0
    labels: int = 0
    """Of the milestone, in the folder."""
    attempts: int = 0
    successes: int = 0
    steps: int = 0
    file_bytes: int = 0
    answers: int = 0
    abstentions: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.labels >= self.wanted_labels if self.wanted_labels else self.saved >= self.wanted

    @property
    def hopeless(self) -> bool:
        """Whether the expert failed so often that more attempts are useless."""
        failures = self.attempts - self.successes
        if self.wanted_labels:
            return failures >= 20 and failures > (ATTEMPTS_PER_EPISODE - 1) * self.successes
        return self.attempts >= ATTEMPTS_PER_EPISODE * self.wanted


class Recorder:
    """Saves episodes with their metadata."""

    def __init__(self, args: Args, env: PokemonEnv):
        self.args, self.game, self.films = args, env.game, args.record_video
        self.facts = {
            "game": env.game.id,
            "rom_sha256": env.identity.rom_sha256,
            "buttons": list(env.buttons),
            "recorder": "human" if args.human else "policy",
            "run_seed": args.seed,
            "env": {
                "hold_frames": env.hold_frames,
                "release_frames": env.release_frames,
                "randomize_release_frames": env.randomize_release_frames,
                "release_frames_range": list(env.release_frames_range),
                "idle_frames_range": list(env.idle_frames_range),
            },
            "versions": {name: version(name) for name in ("pyboy", "numpy", "gymnasium")},
        }

    def save(self, episode: Episode, milestone: str | None, tally: Tally, **more: Any) -> Path:
        episode.metadata |= {**self.facts, "milestone": milestone, **more}
        path = save_episode(self.args.expert_data_dir, episode)
        tally.saved += 1
        tally.labels += int((episode.actions != NO_LABEL).sum())
        tally.steps += len(episode)
        tally.lengths.append(len(episode))
        tally.file_bytes += path.stat().st_size
        if self.films:
            film = path.parent / "videos" / f"{path.stem}.mp4"
            try:
                write_video(film, list(episode.observations))
            except OSError as error:
                self.films = False
                print(f"{film}: cannot be written ({error.strerror or error}); recording continues without films", file=sys.stderr)
        return path


def choose_milestones(args: Args, known: Sequence[str], game: str) -> list[str]:
    """Return the milestones to record, in the game's order. Raises ValueError for one that the game doesn't have."""
    wanted = {*args.milestones, *([] if args.milestone is None else [args.milestone])}
    if unknown := wanted - set(known):
        has = f"it has {', '.join(known)}" if known else "it has none: record it with --human"
        raise ValueError(f"{game} has no milestone {', '.join(sorted(unknown))}; {has}")
    if not wanted and not known:
        raise ValueError(f"{game} has no milestones, and so no experts: record it with --human")
    return [name for name in known if name in wanted or not wanted]


def limits(args: Args, game: Game) -> dict[str, int]:
    """Return each milestone's max_steps; those that the file does not name are missing, and all if it is another game's."""
    if args.max_steps is not None and not Path(args.milestone_config).exists():
        return {}
    entries = load_milestone_config(args.milestone_config)
    return {} if not_of_game(entries, game) else {name: entry.max_steps for name, entry in entries.items()}


def find_starts(args: Args, game: Game, milestone: str | None) -> EpisodeStarts:
    """Return where the milestone's episodes start."""
    return choose_starts(
        game,
        milestone,
        args.rom_path,
        purpose="train",
        kind=args.start_states,
        load_state=args.load_state,
        worlds=args.worlds,
        tier=args.tier,
        state_dir=args.state_dir,
        start_states_dir=args.start_states_dir,
        policy_dir=args.policy_dir,
        unsafe_policies=args.unsafe_policies,
        num_threads=args.num_envs,
    )


def first_attempt(args: Args, milestone: str | None, there: list[dict[str, Any]]) -> int:
    """Return the number of the first attempt: after those of earlier runs with this seed, so that none is played twice.

    there: the metadata of the episodes in the folder.
    """
    same = [m for m in there if (m.get("run_seed"), m.get("milestone")) == (args.seed, milestone)]
    return max((m["attempt"] + 1 for m in same if m.get("attempt") is not None), default=0)


def metadata_there(args: Args) -> list[dict[str, Any]]:
    """Return the metadata of the episodes in the folder."""
    if not any(Path(args.expert_data_dir).glob("episode_*.npz")):
        return []
    return [load_metadata(path) for path in episode_files(args.expert_data_dir)]


def count_labels(args: Args, recorder: Recorder, milestone: str | None, starts: EpisodeStarts) -> int:
    """Return the number of labels that the folder holds of a milestone.

    Raises ValueError if some of them were recorded with other settings: a mixture is not wanted.
    """
    if not any(Path(args.expert_data_dir).glob("episode_*.npz")):
        return 0
    asked = {"rom_sha256": recorder.facts["rom_sha256"], "noise": args.noise, "tier": None, "worlds": None, **starts.settings}
    labels = 0
    for path in episode_files(args.expert_data_dir):
        metadata = load_metadata(path)
        if metadata.get("milestone") != milestone:
            continue
        for key in ("rom_sha256", "noise", "tier", "worlds"):
            if not plays_alike(metadata.get(key), asked[key]):
                raise ValueError(
                    f"{path} was recorded with {key} {metadata.get(key)!r}, and now it is {asked[key]!r}: choose another "
                    "--expert-data-dir for --n-labels"
                )
        labels += count_labelled(path)
    return labels


def episode_seed(seed: int, milestone: str | None, attempt: int) -> int:
    """Return a seed of its own for each attempt at each milestone."""
    return derived_seed(seed, milestone or "", attempt)


def attempts_in_order(
    args: Args, milestone: str, starts: EpisodeStarts, max_steps: int, first: int
) -> Iterator[tuple[int, Episode, Counter[str]]]:
    """Play attempt after attempt, `num_envs` at once, and yield them in order, whichever ends first.

    Yields the attempt's number, the episode, and the reasons for which the expert abstained.
    """
    players: SimpleQueue[tuple[PokemonEnv, PolicyExpert | SandboxedExpert]] = SimpleQueue()
    opened: list[PokemonEnv | PolicyExpert | SandboxedExpert] = []

    def play(attempt: int) -> tuple[int, Episode, Counter[str]]:
        env, expert = players.get()
        try:
            reasons: Counter[str] = Counter()
            seed = episode_seed(args.seed, milestone, attempt)
            start = starts.files[attempt % len(starts.files)]
            episode = play_episode(
                env, expert, seed, start, max_steps, args.noise, lambda _, answer: reasons.update([answer.reason])
            )
            if isinstance(expert, SandboxedExpert):
                expert.check()
            return attempt, episode, reasons
        finally:
            players.put((env, expert))

    pool = ThreadPoolExecutor(args.num_envs)
    pending: deque[Future[tuple[int, Episode, Counter[str]]]] = deque()
    try:
        for _ in range(args.num_envs):
            env = PokemonEnv(args.rom_path, target_milestone=milestone, **starts.settings)
            opened.append(env)
            expert = open_policy((args.policy_dir, milestone), env, args.unsafe_policies)
            opened.append(expert)
            players.put((env, expert))
        pending.extend(pool.submit(play, first + i) for i in range(args.num_envs))
        attempt = first + args.num_envs
        while True:
            result = pending.popleft().result()
            pending.append(pool.submit(play, attempt))
            attempt += 1
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
        for one in opened:
            one.close()
        for future in pending:  # attempts beyond those wanted: what they show about the expert holds for the others
            if not future.cancelled() and isinstance(error := future.exception(), LabelsWithdrawn):
                raise error


@contextmanager
def untrusted_named(saved: Sequence[str]) -> Iterator[None]:
    """Name in the error the run's episodes with labels of an expert whose answers turn out to depend on more than the state."""
    try:
        yield
    except LabelsWithdrawn as error:
        if not saved:
            raise
        which = f"{len(saved)} episode(s) of it, {saved[0]} to {saved[-1]}"
        raise LabelsWithdrawn(f"{error}. This run saved {which}: delete them") from error


def record_experts(args: Args, recorder: Recorder, tallies: dict[str | None, Tally], ids: list[str], console: Console) -> None:
    """Record each milestone's episodes from its scripted expert."""
    max_steps = limits(args, recorder.game)
    # Making the recorded states of the last milestone, if they are wanted, makes all.
    starts = {milestone: find_starts(args, recorder.game, milestone) for milestone in reversed(ids)}
    for milestone in ids:
        tally = tallies[milestone] = Tally(0 if args.n_labels else args.n_episodes, args.n_labels or 0)
        tally.labels = count_labels(args, recorder, milestone, starts[milestone]) if args.n_labels else 0
        if tally.complete:
            continue
        limit = args.max_steps or max_steps.get(milestone, DEFAULT_MAX_STEPS)
        first = first_attempt(args, milestone, metadata_there(args))
        saved: list[str] = []
        total = args.n_labels or args.n_episodes
        with (
            untrusted_named(saved),
            ProgressReport(milestone, total, start=tally.labels, console=console) as report,
            closing(attempts_in_order(args, milestone, starts[milestone], limit, first)) as attempts,
        ):
            for attempt, episode, reasons in attempts:
                labelled = int((episode.actions != NO_LABEL).sum())
                tally.attempts += 1
                tally.successes += episode.metadata["success"]
                tally.answers += len(episode)
                tally.abstentions += len(episode) - labelled
                tally.reasons += reasons
                if labelled and (episode.metadata["success"] or args.keep_failures):
                    path = recorder.save(episode, milestone, tally, attempt=attempt, **starts[milestone].settings)
                    saved.append(path.name)
                done = min(tally.labels, args.n_labels) if args.n_labels else tally.saved
                report.update(done, f"{tally.attempts} attempts")
                if tally.complete or tally.hopeless:
                    break


def record_human(args: Args, recorder: Recorder, tallies: dict[str | None, Tally], ids: list[str | None], console: Console) -> bool:
    """Record what a person plays; return whether they left before everything was recorded.

    An unfinished recording is in a journal from the first press on. It becomes an episode when the milestone is reached, and stays
    a journal if the person leaves before. Without a milestone there is no end: the presses become an episode when the person leaves
    or there are enough for one, and the game can be continued in any case.
    """

    def say(text: str) -> None:
        console.print(text)

    max_steps = {} if ids == [None] else limits(args, recorder.game)
    ours = {journal_path(args, milestone) for milestone in ids}
    for path in sorted(set(Path(args.expert_data_dir).glob("under_way.*.jsonl")) - ours):
        say(f"also unfinished, with another milestone or seed: {path}")
    say("keys: arrows, A = A, S = B, Return = START, Backspace = SELECT; Delete drops waiting presses, Escape stops")
    for milestone in ids:
        starts = find_starts(args, recorder.game, milestone)
        tally = tallies[milestone] = Tally(args.n_episodes)
        limit = args.max_steps or 10 * max_steps.get(milestone, DEFAULT_MAX_STEPS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warning that the game is unknown was given before
            env = PokemonEnv(
                args.rom_path,
                render_mode="human",
                target_milestone=milestone,
                state_in_info=False,
                window_speed=args.window_speed,
                **starts.settings,
            )
        stop = StopRequest()
        try:
            while not tally.complete:
                recording = open_recording(args, recorder, env, milestone, starts, say)
                try:
                    if play_by_hand(args, recorder, recording, milestone, starts, limit, tally, stop, say):
                        return True
                finally:
                    journal = recording.journal
                    journal.close()
                    if journal.path.exists():
                        say(f"{len(journal.presses)} presses are kept in {journal.path}: the same command resumes there")
                        if milestone is not None:
                            say("to record them as they are, give --keep-failures, too, and stop with Escape")
        finally:
            stop.restore()
            env.close()
    return False


def journal_path(args: Args, milestone: str | None) -> Path:
    """Return the file of a milestone's presses (None: of the whole game) while its recording is unfinished."""
    return Path(args.expert_data_dir) / f"under_way.{milestone or 'whole_game'}.seed{args.seed}.jsonl"


def open_recording(
    args: Args, recorder: Recorder, env: PokemonEnv, milestone: str | None, starts: EpisodeStarts, say: Callable[[str], None]
) -> HandRecording:
    """Begin a game that a person plays, or resume the unfinished one.

    Raises DemonstrationError if that one cannot be resumed with these flags.
    """
    there = metadata_there(args)
    journal = PressJournal(journal_path(args, milestone))
    attempt = journal.header.get("attempt", first_attempt(args, milestone, there))
    seed, start = episode_seed(args.seed, milestone, attempt), starts.files[attempt % len(starts.files)]
    emulator = f"{env.identity.emulator} {env.identity.emulator_version} {env.identity.mode}"
    journal.begin(
        {key: recorder.facts[key] for key in ("game", "rom_sha256", "buttons", "env")}
        | {"emulator": emulator, "milestone": milestone, **starts.settings, "start_state": start and str(start)}
        | {"run_seed": args.seed, "attempt": attempt, "seed": seed}
    )
    if journal.presses:
        say(f"resuming after the {len(journal.presses)} presses in {journal.path}; to start over, move that file away")
    return HandRecording(env, journal, saved_steps(journal.recording, there), seed, start)


def play_by_hand(
    args: Args,
    recorder: Recorder,
    recording: HandRecording,
    milestone: str | None,
    starts: EpisodeStarts,
    limit: int,
    tally: Tally,
    stop: StopRequest,
    say: Callable[[str], None],
) -> bool:
    """Let a person play, and record it, until the episode is over or they leave; return whether they left."""
    whole_game = milestone is None
    # A game without an end is not started over when one file is full, unless files of that length were asked for.
    goes_on = whole_game and args.max_steps is None
    ending: Ending = "limit"
    while ending == "limit":
        say(f"{milestone or recorder.game.name}: episode {tally.saved + 1} of {tally.wanted}")
        ending = recording.play(limit, stop, say)
        to_record = recording.terminated or args.keep_failures or whole_game
        if to_record and len(recording):
            tally.attempts += 1
            tally.successes += recording.terminated
            tally.answers += len(recording)
            episode, attempt = recording.take_episode(), recording.journal.header["attempt"]
            path = recorder.save(episode, milestone, tally, attempt=attempt, **starts.settings)
            say(f"{len(episode)} presses recorded as {path}")
        if not goes_on or tally.complete:
            break
    over = recording.terminated or (ending == "limit" and not goes_on) if whole_game else to_record
    if over:
        recording.journal.remove()
    elif ending == "limit" and not whole_game:
        say(f"{milestone}: not reached within {limit} presses; a larger --max-steps lets you continue")
        return True
    return ending in ("closed", "stopped")


def print_tallies(tallies: dict[str | None, Tally], folder: str, console: Console) -> None:
    table = Table("milestone", "episodes", "success", "steps, mean", "steps", "labels", "abstentions", "MB", title=folder)
    rows = list(tallies.items())
    if len(rows) > 1:
        total = Tally(0, lengths=[length for tally in tallies.values() for length in tally.lengths])
        for key in ("wanted", "saved", "labels", "attempts", "successes", "steps", "file_bytes", "answers", "abstentions"):
            setattr(total, key, sum(getattr(tally, key) for tally in tallies.values()))
        rows.append(("all", total))
    for name, tally in rows:
        table.add_row(
            name or "(whole game)",
            f"{tally.saved}/{tally.wanted}" if tally.wanted else str(tally.saved),
            f"{tally.successes}/{tally.attempts}",
            f"{np.mean(tally.lengths):.1f}" if tally.lengths else "",
            f"{tally.steps:,}",
            f"{tally.labels:,}",
            f"{tally.abstentions}/{tally.answers}",
            f"{tally.file_bytes / 1e6:.1f}",
        )
    print_table(table)
    for name, tally in tallies.items():
        for reason, count in tally.reasons.most_common(3):
            console.print(f"{name}: abstained {count} times: {in_one_line(reason)}", markup=False)


@contextmanager
def only_recorder(args: Args) -> Iterator[None]:
    """Lock the folder against another recorder with the same seed, which would record the same episodes again."""
    folder = Path(args.expert_data_dir)
    make_folder(folder)
    clear_unfinished(folder)
    try:
        with exclusive_lock(folder / f".seed{args.seed}.lock"):
            yield
    except AlreadyLockedError as error:
        raise ValueError(
            f"another run with --seed {args.seed} is recording into {folder} ({error.holder}): both would record the same "
            "episodes. Wait for it, or give another seed"
        ) from None


def record(args: Args, recorder: Recorder, tallies: dict[str | None, Tally], ids: list[str | None], console: Console) -> bool:
    """Record everything that was asked for; return whether it was interrupted."""
    try:
        if args.human:
            return record_human(args, recorder, tallies, ids, console)
        record_experts(args, recorder, tallies, ids, console)
    except WindowClosed:  # while the game was being prepared
        return True
    except KeyboardInterrupt:
        console.print("interrupted; what was recorded is whole")
        return True
    return False


def main(args: Args) -> int:
    """Record; return the exit code: 0 if all episodes were recorded, 1 if not."""
    check_bounds(args)
    if args.human and args.n_labels:
        raise ValueError("--n-labels is for scripted experts: with --human give --n-episodes")
    if args.human and args.noise:
        raise ValueError("--noise is for scripted experts: with --human it would press other buttons than the person does")
    console = plain_console(soft_wrap=True)
    if args.unsafe_policies:
        console.print(UNSAFE_NOTICE)
    env = PokemonEnv(args.rom_path)
    env.close()
    known = [milestone.id for milestone in env.milestones]
    recorder = Recorder(args, env)
    tallies: dict[str | None, Tally] = {}
    whole_game = args.human and not (args.milestone or args.milestones)
    ids = [None] if whole_game else choose_milestones(args, known, env.game.name)
    if not args.human:  # before anything is made, check that each has an expert
        without = []
        for milestone in ids:
            expert = open_policy((args.policy_dir, milestone), env, args.unsafe_policies)
            expert.close()
            if not is_games_own(expert.path, env.game):
                console.print(f"{milestone}: {where_it_runs(expert.path, args.unsafe_policies)}", markup=False)
            else:
                without.append(expert.path.name)
        if without and has_own_policies(args.policy_dir, env.game):
            console.print(f"the game's own policy plays where {args.policy_dir} has none: it has no {some(without)}", markup=False)
    with only_recorder(args):
        interrupted = record(args, recorder, tallies, ids, console)
    print_tallies(tallies, args.expert_data_dir, console)
    short = [name for name, tally in tallies.items() if not tally.complete]
    if short and not interrupted:
        names = ", ".join(str(name) for name in short)
        what = "labels" if args.n_labels else "episodes"
        console.print(f"fewer {what} than wanted: {names}. See the failures with --keep-failures --record-video.", markup=False)
    if args.human and interrupted:
        return 0 if any(tally.saved for tally in tallies.values()) else 1
    return 130 if interrupted else int(bool(short))


if __name__ == "__main__":
    run_main("collect_expert_data.py", lambda: main(args), errors=(PokemonEnvError, ValueError))
