"""How clones are evaluated while they train: on held-out demonstrations, and by play."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from cloning.flags import PlayFlags
from cloning.parts import Parts
from cloning.validation import validate
from common.demonstrations import DemonstrationError
from common.evaluation import Evaluator
from common.flag_groups import LabelSetFlags
from common.results import confusion_figure
from common.runtime.checkpoints import shown
from common.selection import is_better, play_candidate
from pokemon_env.builds import plays_alike
from pokemon_env.games import find_game
from pokemon_env.games.base import Game
from pokemon_env.rom import Rom
from pokemon_env.splits import has_splits
from tasks.evaluation import evaluation_starts, how_played, make_evaluator


def check_game(rom_path: str, folder: str, files: Sequence[Path], facts: Mapping[str, Any], plays: bool) -> Game | None:
    """Return the game that evaluations play, None if they do not. Raises DemonstrationError if it is not the demonstrations'.

    Args:
        rom_path: the game's ROM.
        folder, files, facts: the demonstrations, as `select_episodes` gives them.
        plays: whether there are evaluations that play.
    """
    buttons = facts.get("buttons")
    if buttons is None:
        raise DemonstrationError(f"{files[0]}: its metadata does not name the buttons; record it again")
    if not plays:
        return None
    rom = Rom.read(rom_path)
    if not plays_alike(facts.get("rom_sha256") or rom.header.sha256, rom.header.sha256):
        raise DemonstrationError(
            f"{folder}: recorded with another ROM than {rom_path}, or another build of it; "
            f"record again, give the right one with --rom-path, or train without play: --eval-episodes 0"
        )
    game = find_game(rom)
    if list(buttons) != list(game.buttons):  # otherwise it would silently press other buttons than it learned
        raise DemonstrationError(
            f"{folder}: its buttons are {shown(buttons)}, but those of {rom_path} {', '.join(game.buttons)}; "
            "record again, give the right ROM with --rom-path, or train without play: --eval-episodes 0"
        )
    return game


def where_learned(flags: PlayFlags, facts: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the tier and worlds of the demonstrations, which evaluations are played in if no flag says another."""
    # The worlds of demonstrations on T2 are those to learn from: a flag that names another tier does not mean them.
    return {"tier": flags.tier or facts["tier"], "worlds": None if has_splits(facts["tier"]) else facts.get("worlds")}


def open_evaluator(
    flags: PlayFlags,
    game: Game,
    facts: Mapping[str, Any],
    *,
    max_steps: int | None,
    frame_stack: int,
    device: torch.device,
    videos: Path | None = None,
) -> tuple[Evaluator, str]:
    """Open the environments for evaluations. Returns the evaluator, and a text that says where it plays.

    Args:
        flags: where, and for how long.
        game: the game that is played.
        facts: milestone, tier, worlds and buttons of what was learned.
        max_steps: the limit of an episode; None takes the milestone's.
        frame_stack, device: of the networks.
        videos: folder for films; None for none.
    """
    purpose: Literal["choose", "test"] = "test" if flags.eval_only else "choose"
    where, milestone = where_learned(flags, facts), facts["milestone"]
    starts = evaluation_starts(flags, game, milestone, where["tier"], where["worlds"], purpose)
    evaluator = make_evaluator(
        flags, game, milestone, starts, n_episodes=max(flags.eval_episodes, flags.best_eval_episodes), max_steps=max_steps,
        frame_stack=frame_stack, buttons=facts["buttons"], device=device, videos=videos,
    )  # fmt: skip
    return evaluator, how_played(evaluator, starts)


def evaluate_network(flags: PlayFlags, label_flags: LabelSetFlags, parts: Parts, *, save_best: bool, last: bool) -> dict[str, Any]:
    """Validate, play, and log both. The last network, and each that may be the best, also play the longer evaluation.

    Args:
        flags: of the play.
        label_flags: which buttons are right.
        parts: with the network.
        save_best: whether the best network is kept.
        last: whether this is the last network.

    Returns a record in plain types (`thorough`: whether its results are the longer evaluation's). Raises Stopped.
    """
    run, progress, evaluator = parts.run, parts.progress, parts.evaluator
    network, step, best = parts.learner.network, progress.step, progress.best
    record: dict[str, Any] = {"step": step, "thorough": False}
    texts = []
    if parts.data.val is not None:
        buttons = parts.data.facts["buttons"]
        metrics, counts = validate(network, parts.data.val, buttons, label_flags, has_neighbours=parts.data.spread == 1)
        run.log_scalars("val", metrics, step)
        run.log.add_figure("val/confusion", confusion_figure(counts, buttons, f"step {step}"), step)
        record |= {"val_loss": metrics["loss"], "val_accuracy": metrics["accuracy"]}
        texts.append(f"validation loss {metrics['loss']:.4f}, accuracy {metrics['accuracy']:.3f}")
    if evaluator is not None and evaluator.has_goal:
        played, said = play_candidate(
            evaluator, network, step, best, run.log, eval_episodes=flags.eval_episodes,
            best_eval_episodes=flags.best_eval_episodes, eval_seed=flags.eval_seed, save_best=save_best, last=last,
            should_stop=run.stop,
        )  # fmt: skip
        record |= played
        texts += said
    elif evaluator is not None and (last or (save_best and is_better(record, best))):
        n_films = len(evaluator.films)
        evaluator.play(network, 1, flags.eval_seed, f"step{step}", run.stop)
        texts += [f"filmed as {film}" for film in evaluator.films[n_films:]]  # none on a full disk
    return record | {"text": "; ".join(texts) or "nothing to evaluate on"}
