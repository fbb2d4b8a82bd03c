"""DAgger's flags, by subject. `Args` of dagger_pokemon.py inherits them, and the parts of a run receive them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.flag_groups import DemonstrationFlags, EvaluationFlags, ExpertFlags, GameFlags, LabelSetFlags, NetworkFlags, RunFlags
from common.runtime.flag_types import Count, CountOrZero, FlagError, Free, Once, Share


@dataclass
class DaggerFlags(RunFlags, GameFlags, DemonstrationFlags, LabelSetFlags, NetworkFlags, EvaluationFlags, ExpertFlags):
    """A run of DAgger."""

    save_iterations: Free[bool] = True
    """Keep the network of each iteration in `{exp_name}_iter{N}.pth`."""
    n_iterations: Free[Count] = 10
    """Iterations: roll out, label, train, evaluate."""
    episodes_per_iter: Count = 5
    """Episodes of a rollout."""
    max_episode_steps: Count = 1000
    """Steps after which an episode of a rollout is cut off."""
    train_steps_per_iter: Count = 10000
    """Training steps of an iteration, each on one batch of everything labelled so far."""
    eval_frequency: Free[CountOrZero] = 1
    """Iterations between evaluations. 0 evaluates only the last network."""
    eval_episodes: Free[Count] = 5
    """Episodes of play per evaluation."""
    eval_max_steps: Free[Count | None] = None
    """Steps after which an evaluation's episode is cut off. None takes the milestone's from --milestone-config."""

    # What the run begins with
    expert_data_dir: Free[str | None] = None
    """Folder with demonstrations to begin with, `episode_*.npz`. Without --init-from they replace the first rollout. None
    begins without demonstrations."""
    init_from: Free[str | None] = None
    """Checkpoint of the same network to begin with, for example a clone's `_best.pth`. None begins with new weights."""

    # Rollouts
    beta_schedule: Literal["first", "linear", "exponential", "none"] = "first"
    """Probability that the expert acts instead of the student, in each iteration. first: 1 in the first iteration (0 with
    demonstrations or --init-from), 0 in the others. linear: falls to 0 along a line. exponential: --beta-decay to the power of
    the iteration. none: 0."""
    beta_decay: Share = 0.5
    """Base of --beta-schedule exponential."""
    stochastic_rollouts: bool = False
    """In rollouts, draw the student's buttons from its probabilities instead of pressing the likeliest."""
    stochastic_eval: Free[bool] = False
    """Draw the student's buttons from its probabilities in evaluations, too. play.py reads this from the checkpoint."""
    handover_share: Share = 0.0
    """Share of the episodes, in rollouts and evaluations, that begin where the previous milestone's expert has just reached its
    goal, as in the whole game: possibly mid-sentence. In the starts that the game draws, everything is at rest."""
    handovers: str | None = None
    """Folder of the states at which the episodes of --handover-share begin: `train/*.state` in rollouts, `choose/*.state` in
    evaluations. None lets the previous milestone's expert make them."""
    cutoff_share: Share = 0.0
    """Share of a rollout's episodes that begin where an episode of the previous rollout was cut off, if there are any: in the
    whole game no episode ends after a defeat or a wrong turn."""
    json_events: Once[bool] = False
    """Also print each event as a line of JSON, for a program that started this one."""
    rollout_videos: Free[str | None] = None
    """Folder for films of the first episode of each rollout, rollout_iter{N}_ep0_{MILESTONE}.mp4. None films none."""

    # Labels
    query_budget: CountOrZero | None = None
    """The most labels. Answers from the cache count, demonstrations do not. None sets no limit."""
    query_budget_per_iteration: Count | None = None
    """The most labels that are queried after one rollout. Where the expert acts it is always queried; those labels count first.
    None: what is left of --query-budget, divided by the iterations left."""
    query_rate: Share = 1.0
    """Share of the states visited in a rollout that are queried: of the distinct ones, and of those where the expert did not act
    itself."""
    query_by: Literal["random", "novelty", "disagreement"] = "novelty"
    """Which states are queried if not all are. random: any. novelty: those farthest from all labelled ones, in the network's
    features. disagreement: those where the network, with its dropout on, agrees least with itself."""
    ask_repeats: bool = False
    """Query what the student sees repeatedly in one episode each time that it sees it, not once. Each counts as a label."""

    # Training
    sampling: Literal["uniform", "deduplicated", "sqrt", "balanced"] = "balanced"
    """How rows are drawn. uniform: all alike. deduplicated: equal pictures with equal labels count once. sqrt: they count as the
    root of their number. balanced: they count once in each episode, so that a stuck student does not flood the batches."""
    button_balance: Share = 0.0
    """How far the buttons' shares in the batches are equalised: 0 leaves them as they are, 1 makes them equal."""
    target_success_rate: Share | None = None
    """Stop when the lower bound of the student's success on 50 fixed seeds passes this share of the expert's.
    None never stops early."""


def chooses(args: DaggerFlags) -> bool:
    """Return whether fewer rows may be queried than a rollout brings, so that --query-by decides which."""
    return args.query_rate < 1 or args.query_budget is not None or args.query_budget_per_iteration is not None


def is_started(args: DaggerFlags) -> bool:
    """Return whether the student has learned something before the first rollout, or has demonstrations in its place."""
    return args.expert_data_dir is not None or args.init_from is not None


def who_else_asks(args: DaggerFlags) -> str:
    """Return which questions to a language model are not for labels of what the student visited; "" for none. They cost, too."""
    if args.expert != "code-agent":
        return ""
    asked = []
    if args.beta_schedule in ("linear", "exponential") or (args.beta_schedule == "first" and not is_started(args)):
        steps = args.episodes_per_iter * args.max_episode_steps
        most = f"up to {steps:,} in a rollout"
        asked.append(f"--beta-schedule {args.beta_schedule}: where the expert acts, each step is a question, {most}")
    if args.target_success_rate is not None:
        asked.append("--target-success-rate: the expert plays 50 episodes, and each step is a question")
    return "; ".join(asked)


def check_flags(args: DaggerFlags) -> None:
    """Raise FlagError for flags that cannot be used, or not together. Call it before anything slow begins or is written."""
    if args.expert != "code-agent":
        if meant := [f"--{name.replace('_', '-')}" for name in ("max_cost", "replay", "preview") if getattr(args, name)]:
            raise FlagError(f"{', '.join(meant)}: only for a language model; give --expert code-agent, too, or leave it out")
    if args.expert_batch and who_else_asks(args):
        raise FlagError(
            "--expert-batch: the expert acts, and a batch may take a day; give --beta-schedule none, and no --target-success-rate"
        )
    if args.query_budget == 0 and args.expert_data_dir is None and args.resume_from is None:
        raise FlagError("--query-budget 0 leaves nothing to learn from: raise it, or give demonstrations with --expert-data-dir")
    if args.handover_share + args.cutoff_share > 1:
        raise FlagError("--handover-share and --cutoff-share are more than 1 together; lower one of them")
    if args.handovers is not None and not args.handover_share:
        raise FlagError("--handovers: no episode begins at one without --handover-share; give it a share, for example 0.5")
    if args.query_by != "novelty" and not chooses(args):
        print(
            f"--query-by {args.query_by} changes nothing: all states are queried without --query-rate, --query-budget or "
            "--query-budget-per-iteration"
        )
