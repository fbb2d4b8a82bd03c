"""The flags of all scripts: each explained where it stands, bounded by its type, and typed as its own command line."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
from pathlib import Path

import pytest

import auto_dagger_pipeline
import bc_pokemon
import collect_expert_data
import dagger_pokemon
import play
from common.runtime.flag_types import FlagError, Mark, check_bounds, marked
from common.runtime.flags import as_flags, changed_flags, parse_command_line

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [auto_dagger_pipeline, bc_pokemon, collect_expert_data, dagger_pokemon, play]


def explained(kind: type) -> set[str]:
    """The fields under which a text stands, in the class and those that it inherits."""
    names = set()
    for part in kind.__mro__[:-1]:
        body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0].body
        for item, after in zip(body, body[1:], strict=False):
            if isinstance(item, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                names.add(item.target.id)
    return names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_every_flag_is_explained(script):
    fields = {item.name for item in dataclasses.fields(script.Args)}
    assert len(fields) > 10 and fields <= explained(script.Args)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_defaults_are_within_their_bounds(script):
    check_bounds(script.Args())


def test_values_out_of_their_types_bounds_are_refused():
    for wrong in (dict(n_iterations=0), dict(query_rate=1.5), dict(seed=2**32), dict(num_threads=5000), dict(keep_last=0),
                  dict(learning_rate=float("nan")), dict(expert_timeout=1e308), dict(expert_timeout=0.0),
                  dict(query_budget=-1)):  # fmt: skip
        (name,) = wrong
        with pytest.raises(FlagError, match=f"^--{name.replace('_', '-')} is .*, but must be "):
            check_bounds(dagger_pokemon.Args(**wrong))
    check_bounds(dagger_pokemon.Args(num_threads=None, query_budget=0, query_rate=0.0, target_success_rate=None))


def test_the_command_line_of_a_child_is_checked_and_parses_to_what_was_meant(monkeypatch):
    meant = dict(
        milestone="BADGE", n_iterations=3, learning_rate=1e-3, label_set=True, video=False, query_budget=None, network="tiles",
        rollout_videos="a folder", overwrite=True,
    )  # fmt: skip
    monkeypatch.chdir(ROOT)  # where the defaults name what is there
    words = as_flags(dagger_pokemon.Args, **meant)
    monkeypatch.setattr(sys, "argv", ["dagger_pokemon.py", *words])
    assert parse_command_line(dagger_pokemon.Args) == dagger_pokemon.Args(**meant)
    several = as_flags(auto_dagger_pipeline.Args, skip_milestones=("BADGE", "HEALED"))
    monkeypatch.setattr(sys, "argv", ["auto_dagger_pipeline.py", *several])
    assert parse_command_line(auto_dagger_pipeline.Args).skip_milestones == ("BADGE", "HEALED")
    with pytest.raises(TypeError, match="no_such_flag"):
        as_flags(dagger_pokemon.Args, no_such_flag=1)
    with pytest.raises(FlagError, match="--n-iterations is '3', but must be int"):
        as_flags(dagger_pokemon.Args, n_iterations="3")
    with pytest.raises(FlagError, match="--network is 'vast', but must be .*impala"):
        as_flags(dagger_pokemon.Args, network="vast")
    with pytest.raises(FlagError, match="--query-rate is 2.0, but must be at most 1"):
        as_flags(dagger_pokemon.Args, query_rate=2.0)


def test_what_makes_a_resumed_run_another_one():
    args = dagger_pokemon.Args(seed=2, video=False, n_iterations=3)
    before = dataclasses.asdict(dagger_pokemon.Args())
    assert changed_flags(args, before) == ["--seed was 1 and is 2"]
    assert changed_flags(args, before, also=("n_iterations",)) == ["--seed was 1 and is 2", "--n-iterations was 10 and is 3"]
    assert changed_flags(args, {}) == []  # flags that the run did not know yet
    assert marked(bc_pokemon.Args, Mark.ONCE) == {"eval_only", "overwrite", "resume_from"}
    assert {"tier", "worlds"} <= marked(bc_pokemon.Args, Mark.FREE)  # there they only say how networks are evaluated
    assert not {"tier", "worlds", "milestone"} & marked(dagger_pokemon.Args, Mark.FREE)
