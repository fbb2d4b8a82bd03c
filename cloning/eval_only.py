"""`--eval-only`: play with a checkpoint, on start states and seeds that no network was chosen by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cloning.evaluation import open_evaluator
from cloning.flags import PlayFlags
from common.flag_groups import RunFlags
from common.networks import build_network, check_plays
from common.results import print_results
from common.runtime.checkpoints import CheckpointError, check_fits, load_checkpoint
from common.runtime.device import seed_everything, select_device, set_threads
from common.runtime.flag_types import FlagError
from common.runtime.plain_names import is_plain_name
from common.runtime.run_names import RUNS
from common.runtime.seeding import EVAL_ONLY, EVALUATION
from pokemon_env.builds import same_builds
from pokemon_env.games import find_game
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import Rom

EVAL_ONLY_SEEDS = EVAL_ONLY.first - EVALUATION.first
"""Offset from --eval-seed to the first seed of --eval-only, so that no network was chosen by those episodes."""


def evaluate_checkpoint(flags: PlayFlags, run_flags: RunFlags, *, max_steps: int | None) -> dict[str, Any]:
    """Play --eval-episodes episodes with the checkpoint of --resume-from, and film the first.

    Args:
        flags: where it plays.
        run_flags: which checkpoint it is, and how it computes.
        max_steps: the limit of an episode; None takes the milestone's.

    Returns the name of the checkpoint's run, and the record of the evaluation.
    """
    device = select_device(run_flags.cuda)
    seed_everything(run_flags.seed, run_flags.torch_deterministic)
    set_threads(run_flags.num_threads)
    path = run_flags.resume_from
    if path is None:
        raise CheckpointError("--eval-only needs a checkpoint: give one with --resume-from")
    checkpoint = load_checkpoint(path)
    game = find_game(rom := Rom.read(flags.rom_path))
    check_fits(checkpoint, path, rom_sha256=same_builds(rom.header.sha256), buttons=list(game.buttons))
    if not game.milestones and not flags.video:
        raise FlagError(f"--eval-only: {game.name} has no milestones, so it can only be filmed: leave out --no-video")
    frame_stack = checkpoint.get("frame_stack", 1)
    network = build_network(checkpoint, path)
    with PokemonEnv(flags.rom_path) as env:
        check_plays(network, path, env.observation_space.shape or (), len(env.buttons), frame_stack)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # as in common.learner

    facts = {key: checkpoint.get(key) for key in ("milestone", "tier", "worlds", "buttons")}
    facts["milestone"] = flags.milestone or facts["milestone"]
    name, run_name = Path(path).stem, checkpoint.get("run_name")
    evaluator, played = open_evaluator(
        flags, game, facts, max_steps=max_steps, frame_stack=frame_stack, device=device,
        videos=RUNS / (run_name if is_plain_name(run_name) else name) / "videos" if flags.video else None,
    )  # fmt: skip
    print(f"{path}: {facts['milestone'] or 'the whole game'}, {played}")
    n_episodes = flags.eval_episodes if evaluator.has_goal else 1
    result = evaluator.play(network, n_episodes, flags.eval_seed + EVAL_ONLY_SEEDS, f"eval_{name}")
    evaluator.close()
    record = {"step": checkpoint.get("global_step")}
    if evaluator.has_goal:
        record |= result.record()
        print_results({"checkpoint": (record, path)})
    for film in evaluator.films:
        print(f"video: {film}")
    return {"run_name": run_name, "evaluation": record, "signal": None}
