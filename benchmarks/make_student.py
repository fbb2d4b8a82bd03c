"""Make a student from a number of labels, as a recipe says: record demonstrations, then clone them or run DAgger."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bc_pokemon import Args as BcArgs
from benchmarks import steps
from benchmarks.folders import fingerprint
from benchmarks.protocol import Recipe
from collect_expert_data import Args as CollectArgs
from common.demonstrations import count_labelled, episode_files
from common.runtime.checkpoints import load_checkpoint
from common.runtime.flags import as_flags
from dagger_pokemon import Args as DaggerArgs
from pokemon_env.games.tallgrass import benchmark_v1, frozen

RECORDING: dict[Path, threading.Lock] = defaultdict(threading.Lock)
"""Held while demonstrations are recorded: the students of one seed share them."""


@dataclass(frozen=True)
class Order:
    """One student: what it learns, from how many labels, as which recipe says, and where its files go.

    The recipe's settings: `network`, `learning_rate`, `batch_size`, `training_steps` (labels -> gradient steps); `flags`, further
    ones for cloning; `training`, for cloning a multiple of the steps; `frame_stack`, 1 if absent; and for DAgger `dagger`:

    - `iterations`, `query_rate`, `query_by`, `beta_schedule`, `label_set`, `label_share` are the script's flags.
    - `training`: gradient steps as a multiple of a clone's.
    - `demonstrated`: one in so many labels is a demonstration's; as `iterations` if absent.
    - `start`: "demonstrations" if absent; "nothing", where the student plays from the first rollout on; or "clone", where half
      of the labels and of the steps go into cloning, and DAgger has half the iterations.
    """

    tier: str
    milestone: str
    method: str
    """Names its files."""
    labels: int
    seed: int
    recipe: Recipe
    folder: Path
    """For demonstrations, networks and logs."""
    noise: float

    @property
    def data(self) -> Path:
        """The folder of its demonstrations, which all students with this seed and noise share."""
        usual = self.recipe.settings.get("noise", self.noise) == self.noise
        return self.folder / f"expert_data_{self.seed}{'' if usual else '_other_noise'}"

    def name(self, gradient_steps: int) -> str:
        """Name its files: with other settings it is another student."""
        settings = {key: value for key, value in self.recipe.settings.items() if key != "training_steps"}
        made = f"{settings['network']}{gradient_steps}_{fingerprint(settings, [])[:6]}"
        return f"{self.method}_{self.milestone}_{self.labels}_{self.seed}_{made}"


def training_steps(recipe: Recipe, labels: int) -> int:
    """Return the gradient steps of a clone of this number of labels: the table's next larger number serves those between."""
    table = recipe.settings["training_steps"]
    return next((count for size, count in table.items() if labels <= size), max(table.values()))


def record(order: Order, labels: int, should_stop: Callable[[], bool]) -> None:
    """Record what is missing of the demonstrations with this number of labels."""
    flags = as_flags(
        CollectArgs, milestone=order.milestone, tier=order.tier, noise=order.recipe.settings.get("noise", order.noise),
        seed=order.seed, n_labels=labels, num_envs=1, expert_data_dir=str(order.data), **steps.OWN_POLICIES, **steps.game_flags(),
    )  # fmt: skip
    log = order.folder / f"collect_{order.data.name.removeprefix('expert_data_')}.log"
    with RECORDING[order.data]:
        if order.data.is_dir() and sum(map(count_labelled, episode_files(order.data))) >= labels:
            return  # to start the recorder, only to find that out, takes as long as a short training
        steps.run_script("collect_expert_data.py", *flags, log=log, should_stop=should_stop)


def train(order: Order, script: str, name: str, flags: dict[str, Any], should_stop: Callable[[], bool]) -> Path:
    """Train a network to its end, or resume that. Returns the checkpoint of the last network."""
    folder, settings = order.folder, order.recipe.settings
    last, final = (folder / f"{name}_{which}.pth" for which in ("last", "final"))
    if final.is_file():
        return final
    flags = flags | dict(
        milestone=order.milestone, tier=order.tier, exp_name=name, seed=order.seed, model_dir=str(folder),
        network=settings["network"], frame_stack=settings.get("frame_stack", 1), learning_rate=settings["learning_rate"],
        batch_size=settings["batch_size"], lr_schedule="cosine", save_best=False, video=False, cuda=False, num_threads=1,
        **steps.game_flags(), **steps.resuming(last),
    )  # fmt: skip
    words = as_flags({"bc_pokemon.py": BcArgs, "dagger_pokemon.py": DaggerArgs}[script], **flags)
    steps.run_script(script, *words, log=folder / f"{name}.log", should_stop=should_stop)
    for path in (last, *folder.glob(f"{name}_data.sqlite*")):  # three times as large as the network, and of no use any more
        path.unlink(missing_ok=True)
    return final


def clone(
    order: Order, should_stop: Callable[[], bool], gradient_steps: int | None = None, held_out: bool = False, name: str = ""
) -> Path:
    """Record what is missing of the demonstrations, and clone them, or with `held_out` nine tenths. Returns the checkpoint.

    Args:
        gradient_steps: None: as the recipe says.
        name: of its files. Default is the order's.
    """
    settings = order.recipe.settings
    more = settings.get("flags", {})
    count = gradient_steps or round(settings.get("training", 1) * training_steps(order.recipe, order.labels))
    record(order, more.get("spread_labels", 1) * order.labels, should_stop)
    flags: dict[str, Any] = more | dict(
        max_labels=order.labels, expert_data_dir=str(order.data), val_fraction=0.1 if held_out else 0, total_steps=count,
        eval_frequency=count if held_out else 0, eval_episodes=0, save_frequency=0,
    )  # fmt: skip
    name = name or order.name(count) + ("_study" if held_out else "")
    return train(order, "bc_pokemon.py", name, flags, should_stop)


def demonstrated_labels(order: Order) -> int:
    """Return how many of a DAgger student's labels are demonstrations'."""
    settings = order.recipe.settings["dagger"]
    match settings.get("start", "demonstrations"):
        case "nothing":
            return 0
        case "clone":
            return order.labels // 2
    return order.labels // settings.get("demonstrated", settings["iterations"])


def dagger(order: Order, should_stop: Callable[[], bool]) -> Path:
    """Train one network with DAgger: some of the labels are demonstrations', the others queries. Returns the checkpoint."""
    settings, milestone, tier = order.recipe.settings["dagger"], order.milestone, order.tier
    demonstrations, iterations = demonstrated_labels(order), settings["iterations"]
    count = round(settings["training"] * training_steps(order.recipe, order.labels))
    name, rollouts, flags = order.name(count), iterations, dict[str, Any]()
    match settings.get("start", "demonstrations"):
        case "demonstrations":
            rollouts -= 1  # they stand for the first
        case "clone":
            half = Order(tier, milestone, order.method, demonstrations, order.seed, clone_recipe(order), order.folder, order.noise)
            flags["init_from"] = str(clone(half, should_stop, count // 2, name=f"{name}_clone"))
            iterations = rollouts = max(iterations // 2, 1)
            count -= count // 2
    if demonstrations:
        record(order, demonstrations, should_stop)
        flags |= dict(expert_data_dir=str(order.data), max_labels=demonstrations)
    visited = (order.labels - demonstrations) / rollouts / settings["query_rate"]
    flags |= dict(
        n_iterations=iterations, query_budget=order.labels - demonstrations,
        episodes_per_iter=math.ceil(visited / frozen.mean_steps(milestone, tier)), query_rate=settings["query_rate"],
        query_by=settings["query_by"], beta_schedule=settings["beta_schedule"], stochastic_rollouts=True,
        max_episode_steps=benchmark_v1.step_limit(milestone, tier), label_set=settings["label_set"],
        label_share=settings["label_share"], train_steps_per_iter=math.ceil(count / iterations), answer_cache="",
        save_iterations=False, **steps.OWN_POLICIES, **steps.sandbox_flags(),
    )  # fmt: skip
    # No network is chosen by play: the script's own evaluation is as short as it can be.
    flags |= dict(eval_frequency=0, eval_episodes=1, best_eval_episodes=1, eval_max_steps=1)
    return train(order, "dagger_pokemon.py", name, flags, should_stop)


def clone_recipe(order: Order) -> Recipe:
    """Return the recipe of the clone that a DAgger student begins as: its own, and with label sets where DAgger has them."""
    settings = {key: value for key, value in order.recipe.settings.items() if key != "dagger"}
    dagger = order.recipe.settings["dagger"]
    sets = {key: dagger[key] for key in ("label_set", "label_share")}
    return Recipe(f"{order.recipe.name}, its clone", settings | {"flags": sets}, order.recipe.chosen)


def learn(order: Order, should_stop: Callable[[], bool]) -> Path:
    """Make the student: by DAgger if the recipe has settings for it, or else a clone. Returns the checkpoint."""
    return (dagger if "dagger" in order.recipe.settings else clone)(order, should_stop)


def facts(order: Order, checkpoint: Path) -> dict[str, Any]:
    """Return what stands beside a student's result: its labels, how many it used, seed, gradient steps, network and recipe."""
    content, used = load_checkpoint(checkpoint), order.labels
    gradient_steps = content["global_step"]
    if "dagger" in order.recipe.settings:
        used = demonstrated_labels(order) + content["labels"]["labels"]
        if order.recipe.settings["dagger"].get("start") == "clone":
            gradient_steps += load_checkpoint(clone_of(checkpoint))["global_step"]
    return {
        "labels": order.labels, "labels_used": used, "seed": order.seed, "gradient_steps": gradient_steps,
        "network": content["network"], "recipe": order.recipe.record(),
    }  # fmt: skip


def clone_of(checkpoint: Path) -> Path:
    """Return the checkpoint of the clone that a DAgger student with `start` "clone" began as."""
    return checkpoint.with_name(checkpoint.name.replace("_final.pth", "_clone_final.pth"))
