#!/usr/bin/env python3
"""Every student at its own milestone: does it reach its expert, and what do 16 bits or a smaller network cost?

    python -m benchmarks.students                                                         # those that come with the game
    python -m benchmarks.students --students dagger_pipeline_results tallgrass/students   # folder beside folder

Plays each milestone's student, from each folder, over the same held-out seeded episodes in which the pipeline tests, beside the
expert; the limit of an episode is the one that the first folder's student was trained with. Prints a table, names the students
that do not reach 95 % of their expert's success, and writes `{output_dir}/students.json` and `.md`.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from common.runtime.flag_types import Count, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    students: tuple[str, ...] = ("tallgrass/students",)
    """folders of students: a pipeline's output folder, or one with {ID}.pth"""
    milestones: tuple[str, ...] = ()
    """these alone; none: all"""
    test_episodes: Count = 50
    """of each student and of each expert"""
    parallel: Count = 2
    """milestones that are played at once"""
    output_dir: str = "results/students"
    """folder for the table"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

from pathlib import Path

import torch

from agent.students import find_students
from benchmarks.folders import summary
from benchmarks.steps import TEST_SEED, check_milestones, make_policy, milestones
from common.networks import build_network, check_plays
from common.runtime.checkpoints import CheckpointError, load_checkpoint, shown
from common.runtime.files import exclusive_lock, save_json, save_text
from common.runtime.main import run_main
from common.runtime.progress import ProgressReport
from common.runtime.workers import run_in_parallel
from pokemon_env.builds import plays_alike
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games.tallgrass import GAME, benchmark_v1
from pokemon_env.rom import BUNDLED_ROM
from pokemon_env.splits import has_splits
from tasks.episode_starts import choose_starts
from tasks.play import SeededPlay

FULL_SHARE = 0.95
"""Of the expert's success: the student has learned its milestone."""


def play(args: Args, milestone: str, students: list[Path], should_stop: Callable[[], bool]) -> dict[str, Any]:
    """One milestone's row: "max_steps", the expert's `summary`, and a list of the students'."""
    contents = [load_checkpoint(path) for path in students]
    first = contents[0]
    wanted = {"milestone": milestone, "tier": first.get("tier"), "worlds": first.get("worlds")}
    for path, content in zip(students, contents, strict=True):
        for key, value in wanted.items():
            if content.get(key) != value:
                raise CheckpointError(f"{path}: its {key} is {content.get(key)}, wanted {value}")
        made_for = {"rom_sha256": benchmark_v1.ROM_SHA256, "buttons": list(benchmark_v1.BUTTONS)}
        for key, value in made_for.items():  # its network may fit all the same, and press other buttons than it learned
            if content.get(key) is not None and not plays_alike(content[key], value):
                raise CheckpointError(
                    f"{path}: its {key} is {shown(content[key])}, wanted {value}; name another folder of students"
                )
        frames = content.get("frame_stack", 1)
        check_plays(build_network(content, path), path, benchmark_v1.SCREEN_SHAPE, len(benchmark_v1.BUTTONS), frames)
        if "max_steps" not in content:
            raise CheckpointError(f"{path}: does not say how many steps its episodes may take (max_steps)")
    # On T2 nobody is tested in the worlds that it learned in.
    worlds = None if has_splits(first.get("tier")) else first.get("worlds")
    starts = choose_starts(GAME, milestone, BUNDLED_ROM, purpose="test", kind="worlds", tier=first.get("tier"), worlds=worlds)
    limit = first["max_steps"]
    with SeededPlay(
        BUNDLED_ROM, milestone, starts, n_episodes=args.test_episodes, seed=TEST_SEED, max_steps=limit, state_in_info=True
    ) as episodes:

        def result(name: str, path: Path | None) -> dict[str, Any]:
            return summary(episodes.play(make_policy(name, milestone, path), should_stop=should_stop))

        return {
            "max_steps": limit,
            "expert": result("expert", None),
            "students": [{"kib": path.stat().st_size / 1024} | result("student", path) for path in students],
        }


def short_of(rows: dict[str, dict[str, Any]], place: int) -> list[str]:
    """The milestones whose student in that folder stays below FULL_SHARE of its expert, with both counts."""
    return [
        f"{name} ({row['students'][place]['successes']} against {row['expert']['successes']})"
        for name, row in rows.items()
        if row["students"][place]["successes"] < FULL_SHARE * row["expert"]["successes"]
    ]


def markdown(args: Args, rows: dict[str, dict[str, Any]]) -> str:
    """The table, and what it says."""
    title = f"Successes in {args.test_episodes} test episodes (seeds from {TEST_SEED}), within the steps of the students' training."
    lines = [title, "", f"| milestone | steps | expert | {' | '.join(args.students)} |", "|-|-|-|" + "-|" * len(args.students)]
    for name, row in rows.items():
        counts = [student["successes"] for student in row["students"]]
        lines.append(f"| {name} | {row['max_steps']} | {row['expert']['successes']} | {' | '.join(map(str, counts))} |")
    columns = [[row["students"][place] for row in rows.values()] for place in range(len(args.students))]
    sums = [sum(row["expert"]["successes"] for row in rows.values())]
    sums += [sum(student["successes"] for student in column) for column in columns]
    sizes = [sum(student["kib"] for student in column) / len(column) for column in columns]
    lines += [f"| all | | {' | '.join(map(str, sums))} |", f"| KiB each | | | {' | '.join(f'{size:,.0f}' for size in sizes)} |", ""]
    for place, folder in enumerate(args.students):
        short = short_of(rows, place)
        learned = f"{len(rows) - len(short)} of {len(rows)} students have at least {FULL_SHARE:.0%} of their expert's successes"
        lines.append(f"- `{folder}`: {learned}{'; not ' + ', '.join(short) if short else ''}.")
    return "\n".join(lines) + "\n"


def main(args: Args) -> int:
    """Play all students, while no other run writes to the same folder."""
    with exclusive_lock(Path(args.output_dir) / ".students.lock"):
        return play_students(args)


def play_students(args: Args) -> int:
    """`main`, in a folder that is locked."""
    check_bounds(args)
    check_milestones(args.milestones)
    names = [name for name in milestones() if not args.milestones or name in args.milestones]
    if not args.students:
        raise ValueError("--students names no folder")
    found = [find_students(Path(folder), names) for folder in args.students]
    torch.set_num_threads(1)
    rows: dict[str, dict[str, Any]] = {}

    with ProgressReport("milestones", len(names)) as report:

        def keep(name: str, row: dict[str, Any]) -> None:
            rows[name] = row
            report.update(len(rows))

        run_in_parallel(
            lambda name, should_stop: play(args, name, [paths[name] for paths in found], should_stop), names, args.parallel, keep
        )
    rows = {name: rows[name] for name in names}
    text = markdown(args, rows)
    output = Path(args.output_dir)
    save_json(output / "students.json", {"args": asdict(args), "milestones": rows})
    save_text(output / "students.md", text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    run_main("students.py", lambda: main(args), errors=(PokemonEnvError, ValueError))
