"""The comparison, written down before it was run: tasks, budgets, what is compared, and the differences that are tested.

DAgger's best recipe is `benchmarks.reference.DAGGER`, the same as the reference scores'. It is chosen by trials on the episodes to
choose by. Every change of one factor below is a change of that recipe, whatever it is; a change that it has made already is left
out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmarks.protocol import Recipe
from benchmarks.reference import DAGGER, RECIPES, SETTINGS, TRAINING_STEPS, UNTRAINED


@dataclass(frozen=True)
class Task:
    """One milestone on one tier."""

    tier: str
    milestone: str
    kind: str = "of your choice"

    @property
    def name(self) -> str:
        """`T2/LEAVE_HOUSE`: its folder."""
        return f"{self.tier}/{self.milestone}"


TASKS = (
    Task("T1", "CLOCK_SET", "menu"),
    Task("T2", "LEAVE_HOUSE", "talk"),
    Task("T2", "RIVAL_HOUSE", "walk"),
    Task("T1", "RIVAL_BATTLE_WON", "battle"),
    Task("T2", "FIRST_CATCH", "catch"),
    Task("T2", "TRAINER_BEATEN", "long"),
    Task("T2", "GYM_TRAINER_BEATEN", "maze"),
)
"""One of each kind: the first scored milestone of the story that is of it, and for "long" the one for which the expert needs the
most steps. Menu and battle are on T1, as they depend least on the map, so that T2 is for those that do. No result had a part."""

LABELS = (250, 1000, 4000)
FACTOR_LABELS = 1000
"""Factors are changed one at a time, at this number of labels only."""
SEEDS = (1, 2, 3)
NOISE = 0.2
"""Probability of a random press while recording; the label stays the expert's. As in the reference."""

STATED = "One change from the recipe, stated in benchmarks/compare/design.py before any of its results was measured."


@dataclass(frozen=True)
class Column:
    """What is compared: a student, with all numbers of labels or only with FACTOR_LABELS, or a player that learns nothing."""

    name: str
    title: str
    recipe: Recipe | None = None
    """None for a player that learns nothing."""
    everywhere: bool = False
    """With all numbers of labels."""
    base: str = ""
    """The column from which it differs in one thing. "" for those that are no such change."""
    question: int = 0
    """Which of QUESTIONS the change is about."""


QUESTIONS = {
    1: "How much better is DAgger than BC?",
    2: "How many labels are needed, and how many iterations?",
    3: "What do batches and the cache save, where the expert is slow?",
    4: "Is BC, then DAgger better than DAgger from nothing?",
    5: "Resolution, frame stack, memory: what must the network see?",
    6: "Further: which states, whose rollouts, which labels?",
}
"""The plan's five, and what its reader asks next."""

METHODS = (
    Column("dagger", "DAgger", RECIPES["dagger"], everywhere=True),
    Column("bc", "BC", RECIPES["bc"], everywhere=True),
    Column("bc_sets", "BC, spread label sets", RECIPES["bc_sets"], everywhere=True),
)
"""Which methods there are, the most important first: cells are measured in this order."""


def _dagger(name: str, title: str, question: int, **changes: Any) -> Column:
    """Return DAgger with other settings of its own."""
    recipe = Recipe(name, SETTINGS | {"dagger": DAGGER | changes}, STATED)
    return Column(name, f"DAgger, {title}", recipe, base="dagger", question=question)


def _seen(name: str, title: str, **changes: Any) -> Column:
    """Return DAgger with another network, or with other observations."""
    recipe = Recipe(name, SETTINGS | {"dagger": DAGGER} | changes, STATED)
    return Column(name, f"DAgger, {title}", recipe, base="dagger", question=5)


def _clone(name: str, title: str, base: str, question: int, **changes: Any) -> Column:
    """Return cloning with other settings than those of the column `base`."""
    return Column(name, title, Recipe(name, RECIPES[base].settings | changes, STATED), base=base, question=question)


_DEMONSTRATED = {"demonstrated": DAGGER.get("demonstrated", DAGGER["iterations"])}
"""The share of demonstrations does not change with the number of iterations."""

CHANGES = (
    _clone("bc_sets_longer", "BC, spread label sets, as many gradient steps as DAgger", "bc_sets", 1, training=DAGGER["training"]),
    _dagger("dagger_linear", "the expert's hand in the rollouts falls along a line", 6, beta_schedule="linear"),
    _dagger("dagger_alone", "the student alone in the rollouts", 6, beta_schedule="none"),
    _dagger("dagger_single_labels", "single labels, not label sets", 6, label_set=False, label_share=0.0),
    _dagger("dagger_label_sets", "label sets", 6, label_set=True, label_share=0.1),
    _dagger("dagger_all_states", "every visited state is queried, of fewer episodes", 6, query_rate=1.0),
    _dagger("dagger_quarter", "a quarter of the visited states is queried", 6, query_rate=0.25),
    _dagger("dagger_random", "queries by chance", 6, query_by="random"),
    _dagger("dagger_novelty", "queries by novelty", 6, query_by="novelty"),
    _dagger("dagger_disagreement", "queries by disagreement", 6, query_by="disagreement"),
    _dagger("dagger_clone", "after BC of half the labels", 4, start="clone"),
    _dagger("dagger_plan", "as the plan has it: no demonstrations, the student alone", 4, start="nothing", beta_schedule="none"),
    _dagger("dagger_4_iterations", "4 iterations", 2, iterations=4, **_DEMONSTRATED),
    _dagger("dagger_8_iterations", "8 iterations", 2, iterations=8, **_DEMONSTRATED),
    _dagger("dagger_16_iterations", "16 iterations", 2, iterations=16, **_DEMONSTRATED),
    _seen("dagger_four_screens", "four screens at once", frame_stack=4),
    _seen("dagger_impala", "IMPALA at 84x84", network="impala"),
    _clone("bc_clean", "BC, demonstrations without noise", "bc", 2, noise=0.0),
    _clone("bc_memory", "BC, a network with a memory", "bc", 5, memory="GRU and maxima"),
    _clone("bc_state", "BC, reads the game's state instead of the screen", "bc", 5, network="state"),
)
"""All changes of one factor, the most important first."""


def _is_change(column: Column) -> bool:
    """Return whether the recipe is without this change: one that it has made itself is no column of its own."""
    before = RECIPES[column.base].settings
    after = column.recipe.settings if column.recipe else {}
    with_defaults = [
        {"training": 1, "frame_stack": 1} | settings | {"dagger": _DEMONSTRATED | settings.get("dagger", {})}
        for settings in (before, after)
    ]
    return with_defaults[0] != with_defaults[1]


FACTORS = tuple(filter(_is_change, CHANGES))
PLAYERS = tuple(Column(name, name) for name in UNTRAINED)
COLUMNS = {column.name: column for column in (*METHODS, *FACTORS, *PLAYERS)}

Family = Literal["methods", "factors"]


@dataclass(frozen=True)
class Comparison:
    """A difference that is tested: of two columns, in the mean success over all tasks, on the same seeds and test episodes."""

    ours: str
    theirs: str
    labels: int
    question: int
    family: Family


_ALL = (
    *(Comparison("dagger", other, labels, 1, "methods") for other in ("bc", "bc_sets") for labels in LABELS),
    Comparison("bc_sets", "bc", FACTOR_LABELS, 1, "factors"),
    Comparison("dagger", "bc_sets_longer", FACTOR_LABELS, 1, "factors"),
    Comparison("dagger_clone", "dagger_plan", FACTOR_LABELS, 4, "factors"),
    *(Comparison(column.name, column.base, FACTOR_LABELS, column.question, "factors") for column in FACTORS),
)
COMPARISONS: tuple[Comparison, ...] = tuple(one for one in _ALL if {one.ours, one.theirs} <= COLUMNS.keys())
"""All that is tested, on all of TASKS with all of SEEDS. Holm's correction is over each family; a difference that is not measured
counts in it as one that is not there."""


def recipe_of(column: Column, length: float = 1.0) -> Recipe:
    """Return what a column's students are made with; a trial if it trains `length` times as long."""
    assert column.recipe is not None, f"{column.name} learns nothing"
    if length == 1:
        return column.recipe
    steps = {labels: max(round(length * count), 1) for labels, count in TRAINING_STEPS.items()}
    trial = column.recipe.settings | {"training_steps": steps}
    return replace(column.recipe, name=f"{column.name}, a trial", settings=trial, chosen="a trial")
