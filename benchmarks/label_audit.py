#!/usr/bin/env python3
"""How good are a language model's labels? Models as experts, beside the scripted expert, chance, and policies, in one table.

    python -m benchmarks.label_audit --models claude-haiku-5-5 claude-sonnet-5-5 --states 500
    python -m benchmarks.label_audit --models qwen3-4b --expert-base-url http://127.0.0.1:8000/v1

All are asked at the same states of all milestones: half were visited by scripted experts with random presses among theirs, half in
random play, and with --data some by a student. An answer agrees if it is the scripted expert's button, and it is right if it is any
button on a shortest path, where the game knows those. An abstention does neither. Writes `label_audit.md`, `label_audit.json` and
`label_audit.html`, which shows the wrong answers with their reasons, to the folder --output-dir.

Answers stand in the file of calls: the same command asks nothing again, and a stopped one goes on. Which server answered is not
part of a question. So models of two servers come into one table: audit each alone, and then name both with --replay.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from common.flag_groups import ModelFlags, TierName
from common.runtime.flag_types import Count, CountOrZero, FlagError, Seed, Share, check_bounds
from common.runtime.flags import as_typed, parse_command_line, quoted


@dataclass
class Args(ModelFlags):
    expert_model: tyro.conf.Suppress[str] = ""
    """The model that is being asked: one of --models after another."""
    models: tuple[str, ...] = ()
    """Language models to ask, all of one server. None asks none: the other rows of the table cost nothing."""
    expert_sees: Literal["both", "state", "picture"] = "both"
    """What a language model is shown: the game's state as text, the screen, or both."""
    expert_answers: Literal["tool", "button"] = "tool"
    """How a language model answers: with a button or one of the game's tools, or with a button alone."""
    states: CountOrZero = 500
    """States of noisy experts and of random play, half and half, evenly over the milestones. 0 takes those of --data alone."""
    data: str | None = None
    """Data set of a DAgger run, whose student's states are taken as well. None takes no student's."""
    data_states: Count = 500
    """States of --data at most."""
    milestones: tuple[str, ...] = ()
    """Milestones whose states are played. None: all."""
    tier: TierName = "T1"
    """The game's tier."""
    worlds: str | None = None
    """Worlds to play in. None: those of the tier to choose by."""
    noise: Share = 0.3
    """Probability with which a noisy expert presses a random button."""
    seed: Seed = 1
    """Seed of the states, and of chance."""
    policy_dir: str | None = None
    """Folder of policies, {MILESTONE_ID}.py, for a row of their own, at the states of the milestones that it has. They answer in a
    sandbox. None: no such row."""
    unsafe_policies: bool = False
    """Run those in this process, for platforms without a sandbox. Only for files that you trust as your own."""
    shown: CountOrZero = 200
    """Wrong answers of each expert on the page, evenly over the kinds of scene."""
    output_dir: str = "results/label_audit"
    """Folder for table, JSON and page."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import numpy as np

from agent.code_agent import CodeAgent
from agent.llm import prompts
from agent.llm.calls import CallFile
from agent.llm.client import ACCIDENTS, ModelClient, Question
from agent.llm.forecast import cost_table, forecast
from agent.llm.prices import Prices
from agent.open_expert import UNSAFE_NOTICE, open_policy_oracle
from agent.open_model import open_client
from agent.oracle import Answer
from agent.policy_expert import InProcessOracle
from benchmarks.folders import fingerprint, run_table
from benchmarks.label_cases import Case, digest_of, played_cases, shuffled, student_cases
from benchmarks.label_page import write_page
from benchmarks.label_table import Answers, Result, cost_of, described, markdown, record
from common.runtime.files import save_json, save_text
from common.runtime.main import StopRequest
from common.runtime.progress import ProgressReport, print_table
from common.runtime.scripts import never
from common.runtime.seeding import derive
from pokemon_env.games.tallgrass import GAME

SCRIPTED, CHANCE = "the scripted expert", "chance"
SAMPLED = 20
"""Real prompts whose tokens are counted for a preview."""
_DECIDE_NOTHING = (
    "expert_model", "expert_key_env", "expert_timeout", "expert_tries", "expert_concurrency", "max_cost", "prices", "model_calls",
    "replay", "shown", "output_dir",
)  # fmt: skip


def ask_scripted(cases: Sequence[Case]) -> Answers:
    """Return the scripted expert's answers, given anew in another order: what differs depends on more than the state."""
    answers: Answers = [None] * len(cases)
    oracles = {name: InProcessOracle((GAME.policy_dir, name), GAME) for name in {case.milestone for case in cases}}
    for number in reversed(range(len(cases))):
        (answers[number],) = oracles[cases[number].milestone].label_batch([cases[number].situation])
    return answers


def ask_chance(cases: Sequence[Case], seed: int) -> Answers:
    """Return random buttons, all equally likely."""
    rng = np.random.default_rng(derive(seed, "label audit", "chance"))
    return [Answer(int(action)) for action in rng.integers(len(GAME.buttons), size=len(cases))]


def find_policies(args: Args) -> dict[str, Path]:
    """Return milestone -> file of those that --policy-dir has. Raises PolicyError for one that cannot be loaded."""
    if args.policy_dir is None:
        return {}
    found = {one.id: Path(args.policy_dir) / f"{one.id}.py" for one in GAME.milestones}
    found = {name: path for name, path in found.items() if os.path.lexists(path)}  # what is there, but is no file, is told below
    if not found:
        raise ValueError(f"--policy-dir {args.policy_dir}: has no policy, such as {GAME.milestones[0].id}.py; is the name right?")
    if args.unsafe_policies:
        print(UNSAFE_NOTICE)
    for path in found.values():
        with open_policy_oracle(path, GAME, unsafe=args.unsafe_policies) as oracle:
            oracle.start()
    return found


def ask_policies(policies: Mapping[str, Path], cases: Sequence[Case], unsafe: bool) -> Answers:
    """Return the answers of policy files, each at the states of its milestone."""
    answers: Answers = [None] * len(cases)
    for name, path in policies.items():
        numbers = [number for number, case in enumerate(cases) if case.milestone == name]
        with open_policy_oracle(path, GAME, unsafe=unsafe) as oracle:
            found = oracle.label_batch([cases[number].situation for number in numbers])
            oracle.check()
            if oracle.withdrawn is not None:
                found = [Answer(None, "withdrawn", oracle.withdrawn)] * len(numbers)
        for number, answer in zip(numbers, found, strict=True):
            answers[number] = answer
    return answers


class Asker:
    """Asks one model at the states of all milestones: an expert for each, and one client for all of them.

    Raises ModelError, PriceError or CallFileError for a model that cannot be asked, before anything is.
    """

    def __init__(self, args: Args, model: str, opened: ExitStack):
        self.args, self.model = args, model
        self.client: ModelClient = open_client(replace(args, expert_model=model), "", opened)
        self.client.start(pictures=args.expert_sees != "state")
        self._agents: dict[str, CodeAgent] = {}

    def agent(self, milestone: str) -> CodeAgent:
        """Return the model as the expert of a milestone."""
        if milestone not in self._agents:
            sees, form = self.args.expert_sees, self.args.expert_answers
            self._agents[milestone] = CodeAgent(self.client, GAME, milestone, sees=sees, form=form)
        return self._agents[milestone]

    def question(self, case: Case, state: dict[str, Any]) -> Question:
        return self.agent(case.milestone).question(state, case.frame)

    def ask(self, cases: Sequence[Case], on_answer: Callable[[], None], should_stop: Callable[[], bool] = never) -> Answers:
        """Return the model's answers.

        Args:
            cases: the states.
            on_answer: is called at each answer.
            should_stop: once it is true, nothing more is asked, and what is under way is waited for, as it is paid.
        """
        answers: Answers = [None] * len(cases)
        states: dict[int, dict[str, Any]] = {}

        def questions() -> Iterator[Question]:
            for number, case in enumerate(cases):
                states[number] = case.state
                yield self.question(case, states[number])

        for number, reply in self.client.ask_each(questions(), should_stop):
            answers[number] = self.agent(cases[number].milestone).answer(reply, states.pop(number))
            on_answer()
        if cases and all(answer is not None and answer.kind == "not recorded" for answer in answers):
            raise ValueError(
                f"{self.args.model_calls}: has no answer of {self.model} to any of these states, asked with these flags; leave out "
                "--replay, or give the flags that the audit was made with"
            )
        return answers


def preview(args: Args, askers: Sequence[Asker], cases: Sequence[Case]) -> None:
    """Print what the models' answers will cost. Asks nothing."""
    for asker in askers:
        questions = [asker.question(case, case.state) for case in cases[:SAMPLED]]
        case = forecast(asker.client, questions, len(cases))
        print(asker.model)
        print_table(cost_table({"likely": case, "most": case}))
        print("\n".join(case.notes()))


def run_name(args: Args, backend: str, cases: Sequence[Case]) -> str:
    """Return the name under which the file of calls counts the audit's money: the same for the same states and questions."""
    asked = [digest_of(cases), backend, args.expert_sees, args.expert_answers, args.expert_effort, args.expert_max_tokens]
    return f"label_audit_{fingerprint(asked, [prompts.__file__])}"


def check_flags(args: Args) -> list[str]:
    """Return the milestones to play. Raises FlagError for flags that cannot be meant."""
    check_bounds(args)
    names = [one.id for one in GAME.milestones]
    if unknown := sorted(set(args.milestones) - set(names)):
        raise FlagError(f"--milestones: {GAME.name} has no {', '.join(unknown)}; it has {', '.join(names)}")
    if twice := sorted({model for model in args.models if args.models.count(model) > 1}):
        raise FlagError(f"--models: {twice[0]} is named twice; name each model once")
    if not args.states and args.data is None:
        raise FlagError("--states is 0 and there is no --data, so there are no states; give one of the two")
    for flag in ("replay", "preview"):
        if getattr(args, flag) and not args.models:
            raise FlagError(f"--{flag} is only for a language model; name it with --models")
    return [name for name in names if name in args.milestones or not args.milestones]


def find_cases(args: Args, milestones: Sequence[str]) -> list[Case]:
    """Return the states. Those of --data are looked for first, so that a wrong file is told at once."""
    visited = [] if args.data is None else student_cases(args.data, args.data_states, args.seed)
    if not args.states:
        return visited
    with ProgressReport("milestones played", len(milestones)) as report:
        played = played_cases(
            milestones, args.states,
            tier=args.tier, worlds=args.worlds, noise=args.noise, seed=args.seed, on_milestone=report.update,
        )  # fmt: skip
    return shuffled(played + visited, args.seed)


def audit(args: Args, askers: Sequence[Asker], policies: Mapping[str, Path], cases: Sequence[Case]) -> list[Result]:
    """Ask all experts. The models go last, as they cost money. Raises KeyboardInterrupt if that was stopped."""
    results = [Result(SCRIPTED, ask_scripted(cases)), Result(CHANCE, ask_chance(cases, args.seed))]
    if policies:
        results.append(Result(f"policies of {args.policy_dir}", ask_policies(policies, cases, args.unsafe_policies)))
    if not askers:
        return results
    run = run_name(args, askers[0].client.settings.backend, cases)
    prices, numbers, stop = Prices(args.prices), itertools.count(1), StopRequest()
    try:
        with ProgressReport("answers of models", len(askers) * len(cases)) as report:
            for asker in askers:
                asker.client.run = run
                answers = asker.ask(cases, lambda: report.update(next(numbers)), stop)
                if stop():
                    raise KeyboardInterrupt
                with CallFile(args.model_calls, write=False) as calls:
                    rows = [row for row in calls.rows(run, found=True) if row["model"] == asker.model]
                results.append(Result(asker.model, answers, cost_of(rows, prices)))
    finally:
        stop.restore()
    return results


def command(args: Args) -> str:
    """Return the flags that decide what the table says, as they are typed, where they are not the defaults."""
    words = []
    for name, value in asdict(args).items():
        if value != getattr(Args, name) and name not in _DECIDE_NOTHING:
            many = isinstance(value, tuple)
            words.append(f"--{name.replace('_', '-')} {' '.join(map(quoted, value))}" if many else as_typed({name: value}))
    return " ".join(words)


def lost(results: Sequence[Result]) -> list[str]:
    """Return a line that says how many answers of models did not come."""
    asked = [answer for result in results if result.cost is not None for answer in result.answers if answer is not None]
    kinds = Counter(str(answer.kind) for answer in asked if answer.kind in ACCIDENTS)
    if not kinds:
        return []
    counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    return [f"{kinds.total():,} answers were lost by accident ({counts}): abstentions here, and the same command asks again"]


def main(args: Args) -> int:
    milestones = check_flags(args)
    with ExitStack() as opened:
        askers = [Asker(args, model, opened) for model in args.models]
        policies = find_policies(args)
        cases = find_cases(args, milestones)
        if args.preview:
            preview(args, askers, cases)
            return 0
        results = audit(args, askers, policies, cases)
        said = list(dict.fromkeys(line for asker in askers for line in asker.client.summary()))
        said += lost(results)
    output, text = Path(args.output_dir), markdown(cases, results, command(args))
    flags = {name: value for name, value in asdict(args).items() if name != "expert_model"}
    records = [record(cases, result) for result in results]
    save_json(output / "label_audit.json", {"args": flags, "states": [described(case) for case in cases], "experts": records})
    save_text(output / "label_audit.md", text)
    page = write_page(output / "label_audit.html", cases, [one for one in results if one.name != CHANCE], args.shown)
    print(text)
    print("\n".join([*said, f"the wrong answers: {page}"]))
    if different := records[0]["all"]["asked"] - records[0]["all"]["agree"]:
        print(f"{SCRIPTED} answers {different} states otherwise when it is asked again: it depends on more than the state")
    return 1 if different else 0


if __name__ == "__main__":
    run_table("label_audit.py", lambda: main(args), args.output_dir)
