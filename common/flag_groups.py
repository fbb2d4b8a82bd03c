"""Flags that several scripts share, in groups by subject. A script's `Args` inherits the groups that it needs.

A field that a script declares again keeps its place in the group, with another default, type or explanation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from common.runtime.flag_types import Amount, Bounds, Count, CountOrZero, Few, Free, Once, Seed, Share, ShareBelowOne
from common.runtime.seeding import EVALUATION

TierName = Literal["T0", "T1", "T2", "T3", "T4"]
"""The tiers of `pokemon_env.tiers`, which a command line must know without an import of the environment."""


@dataclass
class RunFlags:
    """A training run: its name, its files, its logs."""

    exp_name: Free[str] = "run"
    """Name of the experiment: its checkpoints, its data and the run's folder begin with it."""
    seed: Seed = 1
    """Seed of everything random: initial weights, splits, rollouts, batches, augmentation."""
    torch_deterministic: bool = True
    """Choose reproducible kernels on a GPU."""
    cuda: bool = True
    """Train on a GPU if there is one."""
    num_threads: Free[Few | None] = None
    """CPU threads for torch. Runs repeat bit for bit only with the same number. None: one for each core that is free when the run
    begins; a resumed run takes as many as it began with."""
    track: Free[bool] = False
    """Mirror the logs to Weights & Biases (WANDB_MODE=offline keeps them on this machine)."""
    wandb_project_name: Free[str] = "pokemon-il"
    """W&B project."""
    wandb_entity: Free[str | None] = None
    """W&B entity (user or team)."""
    model_dir: Free[str] = "models"
    """Folder for checkpoints, and for the data set of DAgger."""
    last_interval: Free[Amount] = 60.0
    """Seconds between writes of `{exp_name}_last.pth`, from which an interrupted run is resumed."""
    save_best: Free[bool] = True
    """Keep the network that played best in `{exp_name}_best.pth`."""
    keep_last: Free[Count | None] = None
    """Number of the run's numbered checkpoints to keep. The newest are kept, older ones are deleted. None keeps all."""
    overwrite: Once[bool] = False
    """Allow this run to replace files of another run with the same name, or its own files that are later than --resume-from."""
    resume_from: Once[str | None] = None
    """Checkpoint to resume from. Its flags are used, unless the command line gives others. Never taken from a file, so give them
    again: --policy-dir, --unsafe-policies, --expert, --expert-model, --track and W&B's. None begins a new run."""


@dataclass
class GameFlags:
    """The game, and where in it the episodes take place."""

    rom_path: Free[str] = "tallgrass/tallgrass.gb"
    """The game's ROM; the default is the bundled game."""
    milestone: str | None = None
    """The milestone to learn. None: that of the demonstrations, or of the checkpoint that the run starts from."""
    milestone_config: Free[str] = "milestone_config.json"
    """The milestones with their limits."""
    tier: TierName | None = None
    """Difficulty tier of the bundled game. None takes the demonstrations' tier, or T1."""
    worlds: str | None = None
    """Worlds for rollouts and evaluations: 0, 7, 1-999, train, choose or test. None: world 0, and on tier T2 the training worlds
    (1-999) for rollouts and the worlds to choose by (1000-1099) for evaluations."""
    start_states: str | None = None
    """Folder of `.state` files that episodes start from. None lets the game draw a start of the milestone; a game without worlds
    uses recorded states, which are made if they are missing."""
    num_envs: Few = 8
    """Environments that play in parallel."""


@dataclass
class DemonstrationFlags:
    """Demonstrations to learn from."""

    max_expert_episodes: Count | None = None
    """Use only this many demonstrations, the first ones. None uses all."""
    max_labels: Count | None = None
    """Use only this many labels of them, the first ones. None uses all."""
    spread_labels: Count = 1
    """Draw the labels of --max-labels from this many times as many, at random: as many labels from more episodes. 1 takes the
    first ones."""


@dataclass
class LabelSetFlags:
    """Which buttons are right."""

    label_set: bool = False
    """Accept every button that lies on a shortest path, where that is known, instead of only the one that the expert would
    press."""
    label_share: Share = 0.0
    """With --label-set, the share in the loss of the button that the expert would press. 0 lets the student choose among the
    accepted buttons; 1 is as without --label-set. A small share prevents cycles if the expert does not follow a shortest path."""


@dataclass
class CloningFlags(DemonstrationFlags):
    """Demonstrations to clone, and the share that is held out."""

    expert_data_dir: Free[str] = "expert_data"
    """Folder with demonstrations, `episode_*.npz`."""
    val_fraction: ShareBelowOne = 0.1
    """Share of each milestone's episodes that is held out for validation: at least one of two or more, unless it is 0."""
    patience: Free[CountOrZero] = 0
    """Stop after this many evaluations in a row without a lower validation loss. 0 never stops early."""


@dataclass
class NetworkFlags:
    """The network, and how it learns."""

    network: Literal["impala", "tiles", "tiles-small"] = "impala"
    """The network. impala: IMPALA's convolutions on 84x84 RGB observations. tiles: convolutions over whole tiles of the grey
    screen, with steps about three times as fast on a CPU, and better on Game Boy games. tiles-small: half as many channels."""
    hidden_dim: Count = 256
    """Width of the layer before the logits."""
    frame_stack: Count = 1
    """Observations that the network sees at once: the current one and those before it."""
    batch_size: Count = 64
    """Observations per batch."""
    learning_rate: Amount = 1e-4
    """Adam's learning rate."""
    lr_schedule: Literal["constant", "cosine"] = "constant"
    """Keep the learning rate constant, or let it fall to 0 along a cosine: over the run, or in DAgger over each iteration."""
    weight_decay: Amount = 1e-5
    """L2 penalty on the weights."""
    bf16: bool = True
    """Compute in bfloat16 where the hardware does: GPUs, and CPUs with AVX-512 BF16 or AMX."""


@dataclass
class EvaluationFlags:
    """How networks are evaluated, and how the best is chosen."""

    eval_episodes: Free[CountOrZero] = 5
    """Episodes of play per evaluation."""
    best_eval_episodes: Free[Count] = 20
    """Further episodes that a candidate for the best plays, on seeds that never change. Their result decides."""
    eval_seed: Free[CountOrZero] = EVALUATION.first
    """First seed of the evaluation's episodes."""
    video: Free[bool] = True
    """Film the first episode of each candidate for the best to runs/{run}/videos/."""


@dataclass
class ModelFlags:
    """A language model, where it is asked, and what it may cost."""

    expert_model: str = "claude-haiku-5-5"
    """The language model."""
    expert_backend: Free[Literal["anthropic", "openai"] | None] = None
    """Kind of server: anthropic (the Messages API) or openai (chat completions: OpenAI, vLLM, Ollama, llama.cpp, OpenRouter).
    None is openai with --expert-base-url, else anthropic."""
    expert_base_url: Free[str | None] = None
    """Where the server is. It must hold no user and no password. None: the SDK's environment variable, else the provider's own."""
    expert_key_env: Free[str | None] = None
    """Name of the environment variable that holds the key. None: ANTHROPIC_API_KEY or OPENAI_API_KEY. A server on this machine
    needs none."""
    expert_timeout: Free[Annotated[float, Bounds(0.01)]] = 60
    """Seconds that the expert may take for one answer: for one try of a language model, and 2 at most for a policy file."""
    expert_tries: Free[Count] = 5
    """Tries for one question."""
    expert_concurrency: Free[Few] = 64
    """Questions under way at once."""
    expert_effort: str | None = "low"
    """How much a model thinks, for those that can be told: low, medium, high. None sends nothing."""
    expert_max_tokens: Count = 2048
    """Tokens that an answer may have; what the model thinks counts."""
    max_cost: Free[Annotated[float, Bounds(1e-6)] | None] = None
    """Dollars that this run may cost, stops and resumes included. It is never passed. None sets no limit."""
    prices: Free[str | None] = None
    """JSON file of prices, whose entries replace or add to those that come along (agent/llm/prices.json)."""
    model_calls: Free[str] = ".milestone_trainer_cache/model_calls.sqlite"
    """File of all requests to models and their answers, in which answers are found again by every run."""
    replay: Free[bool] = False
    """Take answers from that file alone, without a key and without a network."""
    preview: Once[bool] = False
    """Say what the run will cost, and end. Asks nothing."""


@dataclass
class ExpertFlags(ModelFlags):
    """The expert that labels states."""

    expert: Literal["policy", "code-agent"] = "policy"
    """What labels: the milestone's policy file, in a sandbox, or a language model (code-agent: --expert-model)."""
    expert_sees: Literal["both", "state", "picture"] = "both"
    """What a language model is shown: the game's state as text, the screen, or both."""
    expert_answers: Literal["tool", "button"] = "tool"
    """How a language model answers: with a button or one of the game's tools, or with a button alone."""
    expert_batch: Free[bool] = False
    """Ask for a rollout's labels as one batch: half the price, within 24 hours. Only with the Messages API, and only where nobody
    waits for the expert: not where it acts."""
    policy_dir: Free[str] = ".milestone_trainer_cache/successful_policies"
    """Folder of policies, {MILESTONE_ID}.py. A milestone without a file there is labelled by the game's own policy."""
    unsafe_policies: bool = False
    """Run policies in this process, for platforms without a sandbox. Only for files that you trust as your own."""
    answer_cache: Free[str | None] = ".milestone_trainer_cache/answers.sqlite"
    """File of the expert's answers in this and other runs, whose queries are not sent again. None keeps no such file."""
