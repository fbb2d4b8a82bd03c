"""Make all start states of a game: saved where each milestone's expert has just reached its goal.

    python -m tools.record_start_states
    python -m tools.record_start_states --rom-path game.gb --policy-dir my_policies

Existing states are kept.
"""
# ruff: noqa: E402 - the flags are parsed before the emulator is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.runtime.flag_types import CountOrZero, Few, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    rom_path: Path = Path("tallgrass/tallgrass.gb")
    """The game's ROM; the default is the bundled game."""
    n_train: CountOrZero = 20
    """States of each milestone to learn from."""
    n_heldout: CountOrZero = 20
    """States of each milestone to evaluate on."""
    state_dir: Path = Path(".milestone_trainer_cache/milestone_states")
    """Folder of {PREV}_completed.state."""
    start_states_dir: Path = Path(".milestone_trainer_cache/start_states")
    """Folder of the two sets."""
    policy_dir: Path | None = None
    """Folder of experts for milestones that the game brings no policy for. None: there are none."""
    unsafe_policies: bool = False
    """Run those in this process, for platforms without a sandbox. Only for files that you trust as your own."""
    num_threads: Few = 2
    """Runs that play in parallel."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

from agent.open_expert import UNSAFE_NOTICE
from common.runtime.flag_types import FlagError
from common.runtime.main import run_main
from pokemon_env.errors import PokemonEnvError
from pokemon_env.gym_env import PokemonEnv
from tasks.recorded_starts import ensure_start_states


def main(args: Args) -> int:
    check_bounds(args)
    if args.unsafe_policies:
        print(UNSAFE_NOTICE)
    with PokemonEnv(args.rom_path) as env:
        ids = [milestone.id for milestone in env.milestones]
    if not ids:
        raise FlagError(f"--rom-path: {args.rom_path} has no milestones, and so no start states; choose another game")
    states = ensure_start_states(ids[-1], **vars(args))
    counts = f"{len(states.files('train'))} to learn from and {len(states.files('heldout'))} held out"
    print(f"{args.start_states_dir}: states for {len(ids) - 1} milestones, each {counts}")
    return 0


if __name__ == "__main__":
    run_main("record_start_states.py", lambda: main(args), errors=(PokemonEnvError, ValueError))
