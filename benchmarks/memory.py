#!/usr/bin/env python3
"""Does tier T3 need a memory? Two networks on the same labels, one that remembers and one that sees the present picture.

    python -m benchmarks.memory

In STARTER_CHOSEN on T3 the professor says once which monster he kept, and the screen never shows it again. Both networks
have the same convolutions and learn from the same demonstrations, whole episodes at a time; between the convolutions and the
logits the one has a GRU, the other nothing that lasts. Writes `{output_dir}/memory.md` and `.json`.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from common.runtime.flag_types import Count, Seed, check_bounds
from common.runtime.flags import as_flags, parse_command_line


@dataclass
class Args:
    milestone: str = "STARTER_CHOSEN"
    """what to learn; T3 hides something in STARTER_CHOSEN and TRAINER_BEATEN"""
    worlds: str = "0"
    """worlds to learn and to play in"""
    n_labels: Count = 40_000
    """labels to learn from"""
    noise: float = 0.2
    """probability of a random press while recording; the label stays the expert's"""
    updates: Count = 2500
    """training steps of each network"""
    batch_episodes: Count = 8
    """episodes in a training step, each up to --max-length steps long"""
    max_length: Count = 40
    """longer episodes are cut into pieces of so many steps, all but the first of which begin without a memory"""
    learning_rate: float = 1e-3
    """Adam's, falling along a cosine"""
    network: Literal["impala", "tiles"] = "tiles"
    """the convolutions of both networks"""
    hidden_dim: int = 256
    """width of the GRU, and of the layer in its place"""
    test_episodes: Count = 100
    """episodes that the table counts"""
    seed: Seed = 1
    """of the demonstrations, the weights and the batches"""
    num_threads: int | None = None
    """CPU threads for torch; default is one for each core that nobody uses"""
    output_dir: str = "results/memory"
    """folder for the demonstrations and the table"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import numpy as np
import torch
import torch.nn.functional as F

from agent.policy_expert import find_policy
from benchmarks.folders import PLAY_SOURCES, fingerprint, own_folder, run_table, source_files, summary
from benchmarks.steps import OWN_POLICIES, TEST_SEED, game_flags, make_policy, milestones, run_script
from collect_expert_data import Args as CollectArgs
from common.demonstrations import episode_files, load_episode
from common.learner import check_finite
from common.networks import make_network
from common.policies import NetworkPolicy, Policy, RecurrentPolicy
from common.recurrent import RecurrentNetwork
from common.runtime.device import autocast, seed_everything, set_threads
from common.runtime.files import save_json, save_text
from common.runtime.progress import ProgressReport
from common.statistics import rate_text
from pokemon_env.games.tallgrass import GAME
from pokemon_env.rom import BUNDLED_ROM
from tasks.episode_starts import choose_starts
from tasks.play import SeededPlay

MARKER = ".memory_settings"
"""A file in the demonstrations' folder: it is this benchmark's own, and what it was made with."""
UNLABELLED = -100
"""What cross_entropy ignores: steps without a label, and the padding of short episodes."""


def load_pieces(
    folder: Path, n_labels: int, max_length: int, preprocess: Callable[[np.ndarray], np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Episodes with so many labels together, as pictures (T, C, h, w) uint8 and labels (T,) int64, T <= max_length."""
    pieces, labels = [], 0
    for path in episode_files(folder):
        episode = load_episode(path)
        pictures = np.stack([preprocess(screen) for screen in episode.observations[:-1]])
        wanted = np.where(episode.actions < 0, UNLABELLED, episode.actions)
        pieces += [(pictures[i : i + max_length], wanted[i : i + max_length]) for i in range(0, len(wanted), max_length)]
        labels += int((wanted != UNLABELLED).sum())
        if labels >= n_labels:
            break
    return pieces


def sample(pieces: list[tuple[np.ndarray, np.ndarray]], count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw `count` pieces: pictures (B, T, C, h, w) uint8, labels (B, T) int64 with UNLABELLED after their ends."""
    chosen = [pieces[i] for i in rng.integers(len(pieces), size=count)]
    length = max(len(labels) for _, labels in chosen)
    pictures = np.zeros((count, length, *chosen[0][0].shape[1:]), np.uint8)
    labels = np.full((count, length), UNLABELLED, np.int64)
    for row, (some, wanted) in enumerate(chosen):
        pictures[row, : len(wanted)], labels[row, : len(wanted)] = some, wanted
    return torch.from_numpy(pictures), torch.from_numpy(labels)


def train(args: Args, network: torch.nn.Module, pieces: list[tuple[np.ndarray, np.ndarray]], name: str) -> None:
    """Imitate the expert on whole episodes. The network without a memory sees the same batches, picture by picture."""
    rng = np.random.default_rng([args.seed, 3])
    optimizer = torch.optim.Adam(network.parameters(), lr=args.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.updates)
    half_precision = autocast(torch.device("cpu"))
    with ProgressReport(name, args.updates) as report:
        for update in range(1, args.updates + 1):
            pictures, labels = sample(pieces, args.batch_episodes, rng)
            real = labels != UNLABELLED
            with half_precision():
                if isinstance(network, RecurrentNetwork):
                    logits = network(pictures)[0][real]
                else:
                    logits = network(pictures[real])
            loss = F.cross_entropy(logits.float(), labels[real])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if update % 10 == 0 or update == args.updates:
                accuracy = (logits.argmax(-1) == labels[real]).float().mean().item()
                check_finite(network, update, loss.item(), args.learning_rate)
                report.update(update, f"loss {loss.item():.4f}, accuracy {accuracy:.3f}")


def test(args: Args, policy: Policy) -> dict[str, Any]:
    """The test episodes with one policy."""
    starts = choose_starts(GAME, args.milestone, BUNDLED_ROM, purpose="test", tier="T3", worlds=args.worlds)
    limit = milestones()[args.milestone].max_steps
    with SeededPlay(
        BUNDLED_ROM, args.milestone, starts, n_episodes=args.test_episodes, seed=TEST_SEED, max_steps=limit, state_in_info=True
    ) as episodes:
        return summary(episodes.play(policy))


def markdown(args: Args, results: dict[str, dict[str, Any]]) -> str:
    """The table, with the command that makes it."""
    names = {"expert": "expert", "recurrent": "network with a GRU", "frame": "network of one picture"}
    lines = ["| who plays | success | steps of successes |", "|-|-|-|"]
    for key, name in names.items():
        part = results[key]
        steps = "-" if part["mean_steps"] is None else f"{part['mean_steps']:.1f}"
        lines.append(f"| {name} | {rate_text(part['successes'], part['episodes'])} | {steps} |")
    defaults = asdict(Args())
    given = {name: value for name, value in asdict(args).items() if value != defaults[name]}
    flags = "".join(f" --{name.replace('_', '-')} {value}" for name, value in given.items())
    lines += ["", f"`python -m benchmarks.memory{flags}`: tier T3, {args.n_labels:,} labels, {args.updates} updates each."]
    return "\n".join(lines) + "\n"


def main(args: Args) -> int:
    check_bounds(args)
    set_threads(args.num_threads)
    output = Path(args.output_dir)
    recorded = [args.milestone, args.worlds, args.noise, args.seed]
    policy = find_policy(args.milestone, GAME.policy_dir)
    own_folder(output / args.milestone, MARKER, fingerprint(recorded, [BUNDLED_ROM, policy, *source_files(*PLAY_SOURCES)]))
    data = output / args.milestone / "expert_data"
    flags = as_flags(
        CollectArgs, milestone=args.milestone, tier="T3", worlds=args.worlds, n_labels=args.n_labels, noise=args.noise,
        **OWN_POLICIES, expert_data_dir=str(data), seed=args.seed, **game_flags(),
    )  # fmt: skip
    run_script("collect_expert_data.py", *flags)
    screen_shape = load_episode(episode_files(data)[0]).observations.shape[1:]

    def make(name: str) -> torch.nn.Module:
        frame = make_network(args.network, len(GAME.buttons), args.hidden_dim, screen_shape)
        if name == "frame":
            return frame
        return RecurrentNetwork(len(GAME.buttons), args.hidden_dim, network=args.network, image_size=frame.image_shape[1:])

    pieces = load_pieces(data, args.n_labels, args.max_length, make("frame").preprocess)

    results: dict[str, Any] = {"expert": test(args, make_policy("expert", args.milestone, None))}
    for name in ("recurrent", "frame"):
        began = time.monotonic()
        seed_everything(args.seed)
        network = make(name).to(memory_format=torch.channels_last)
        train(args, network, pieces, name)
        results[name] = test(args, RecurrentPolicy(network) if name == "recurrent" else NetworkPolicy(network))
        results[name]["minutes"] = (time.monotonic() - began) / 60
    save_json(output / "memory.json", {"args": asdict(args), **results})
    save_text(output / "memory.md", markdown(args, results))
    print(markdown(args, results))
    return 0


if __name__ == "__main__":
    run_table("memory.py", lambda: main(args), args.output_dir)
