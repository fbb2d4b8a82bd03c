"""DAgger's flags, by what they are about; `Args` of dagger_pokemon.py inherits them, and the parts of a run are told them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from common.flag_groups import DemonstrationFlags, EvaluationFlags, ExpertFlags, GameFlags, LabelSetFlags, NetworkFlags, RunFlags
from common.runtime.flag_types import Bounds, Count, CountOrZero, FlagError, Free, Once, Share


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
    """Training steps of an iteration, each on one batch of all that was labelled so far."""
    eval_frequency: Free[CountOrZero] = 1
    """Iterations between evaluations. 0 for none but the last network's."""
    eval_episodes: Free[Count] = 5
    """Episodes of play per evaluation."""
    eval_max_steps: Free[Count | None] = None
    """Steps after which an evaluation's episode is cut off. None takes the milestone's from --milestone-config."""

    # What the run begins with
    expert_data_dir: Free[str | None] = None
    """Folder with demonstrations to begin with, `episode_*.npz`. Without --init-from they stand for the first rollout."""
    init_from: Free[str | None] = None
    """Checkpoint of the same network to begin with, for example a clone's `_best.pth`."""

    # Rollouts
    beta_schedule: Literal["first", "linear", "exponential", "none"] = "first"
    """Probability that the expert acts instead of the student, in each iteration: all the time in the first one and never
    after it (not even then with demonstrations or --init-from); falling to 0 along a line; --beta-decay to the power of the
    iteration; or never."""
    beta_decay: Share = 0.5
    """For --beta-schedule exponential."""
    stochastic_rollouts: bool = False
    """In rollouts, draw the student's buttons from its probabilities instead of pressing the likeliest."""
    stochastic_eval: Free[bool] = False
    """In evaluations, too, draw the student's buttons from its probabilities; play.py finds that in the checkpoint."""
    handover_share: Share = 0.0
    """Share of the episodes, in rollouts and evaluations, that begin where the expert of the milestone before has just reached
    its goal, as in the whole game: mid-sentence if need be. Where the game draws a start, all is at rest."""
    cutoff_share: Share = 0.0
    """Share of a rollout's episodes that begin where an episode of the previous rollout was cut off, if there are any: in the
    whole game no episode ends after a defeat or a wrong turn."""
    json_events: Once[bool] = False
    """Print each event as a line of JSON, too, for a program that started this one."""
    rollout_videos: Free[str | None] = None
    """Folder for films of the first episode of each rollout, rollout_iter{N}_ep0_{MILESTONE}.mp4. None for none."""

    # Labels
    query_budget: CountOrZero | None = None
    """Labels at most. Answers from the cache count, demonstrations don't. None for no limit."""
    query_budget_per_iteration: Count | None = None
    """Labels at most that are asked for after one rollout. Where the expert acts it is asked at every step, whatever this says;
    those labels count first. None: what is left of --query-budget, divided by the iterations left."""
    query_rate: Share = 1.0
    """Share of the states that the student visits in a rollout that are asked about (of the distinct ones, and of those where
    the expert did not act itself)."""
    query_by: Literal["random", "novelty", "disagreement"] = "novelty"
    """Which, when that is less than all: any; those farthest from what has a label, in the network's features; or those
    where the network with its dropout on agrees least with itself."""
    ask_repeats: bool = False
    """Also label what the student sees again and again in one episode, as often as it sees it; each counts as a label."""
    expert_timeout: Annotated[float, Bounds(0.01)] = 60
    """Seconds that the expert may take for one answer; a policy file gets 2 at most."""

    # Training
    sampling: Literal["uniform", "deduplicated", "sqrt", "balanced"] = "balanced"
    """How rows are drawn: all alike; equal pictures with equal labels once, or as the root of their number; or once in each
    episode, so that a student that is stuck does not flood the batches."""
    button_balance: Share = 0.0
    """0 leaves the buttons' shares in the batches as they are, 1 makes them equal, between is between."""
    target_success_rate: Share | None = None
    """Stop when the lower bound of the student's success on 50 fixed seeds passes this share of the expert's. None never."""


def chooses(args: DaggerFlags) -> bool:
    """Return whether fewer rows may be queried than a rollout brings, so that --query-by decides which."""
    return args.query_rate < 1 or args.query_budget is not None or args.query_budget_per_iteration is not None


def check_flags(args: DaggerFlags) -> None:
    """Raise FlagError for flags that cannot be used, or not together. To be called before anything slow begins or is written."""
    if args.expert == "code-agent":
        raise FlagError("--expert code-agent is not there yet: a language model will stand there. Take --expert policy")
    if args.query_budget == 0 and args.expert_data_dir is None and args.resume_from is None:
        raise FlagError("--query-budget 0 leaves nothing to learn from: raise it, or give demonstrations with --expert-data-dir")
    if args.handover_share + args.cutoff_share > 1:
        raise FlagError("--handover-share and --cutoff-share are more than 1 together")
    if args.query_by != "novelty" and not chooses(args):
        print(
            f"--query-by {args.query_by} changes nothing: all states are asked about, without --query-rate, --query-budget or "
            "--query-budget-per-iteration"
        )
