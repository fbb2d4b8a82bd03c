"""The layering, read from the imports: nothing is imported upward, and nothing in a circle."""

from __future__ import annotations

import ast
import graphlib
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = [
    ["scripts", "benchmarks", "tools"],
    ["cloning", "dagger", "pipeline", "trainer"],
    ["tasks"],
    ["agent"],
    ["common"],
    ["pokemon_env"],
    ["common.runtime"],
]
"""Packages, from the top to the bottom. A file imports from its own room and from the floors below; `scripts` are the files at the
root, and what stands beside them may use them. `pokemon_env` imports nothing of the others, so nothing of `common.runtime`."""


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\n") if name and (ROOT / name).is_file()]


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in tracked() if path.parts[0] not in ("tests", "tallgrass")}


def room(module: str) -> str:
    if module == "common.runtime" or module.startswith("common.runtime."):
        return "common.runtime"
    return module.partition(".")[0] if "." in module or MODULES[module].name == "__init__.py" else "scripts"


def floor(module: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(module) in rooms)


def imports(module: str) -> set[str]:
    """The modules of ours that a module imports, wherever in it: at the top, in a function, for type checkers only."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / MODULES[module]).read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{MODULES[module]}:{node.lineno}: a relative import"
            within = {f"{node.module}.{name.name}" for name in node.names}
            found |= (within & MODULES.keys()) or {node.module}
    return found & MODULES.keys() - {module}


GRAPH = {module: imports(module) for module in MODULES}


def test_every_room_has_its_floor():
    assert len(MODULES) > 100
    rooms = {name for names in FLOORS for name in names}
    assert {room(module) for module in MODULES} <= rooms, "a new room: say in FLOORS and docs/architecture.md where it stands"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_is_imported_upward(module):
    upward = {other for other in GRAPH[module] if floor(other) < floor(module)}
    assert not upward, f"{MODULES[module]} imports {sorted(upward)}, which stands above it"
    if floor(module) > 0:
        beside = {other for other in GRAPH[module] if floor(other) == floor(module) and room(other) != room(module)}
        assert not beside, f"{MODULES[module]} imports {sorted(beside)}, which is another experiment's"
    if room(module) == "pokemon_env":
        ours = {other for other in GRAPH[module] if room(other) != "pokemon_env"}
        assert not ours, f"{MODULES[module]} imports {sorted(ours)}, but the environment stands alone"


def test_nothing_is_imported_in_a_circle():
    try:
        list(graphlib.TopologicalSorter(GRAPH).static_order())
    except graphlib.CycleError as error:
        raise AssertionError(f"imports run in a circle: {' <- '.join(error.args[1])}") from None


SCRIPTS = {
    "dagger_pokemon.py": ("dagger", 350, 60),
    "bc_pokemon.py": ("clone", 280, 60),
    "auto_dagger_pipeline.py": ("learn", 500, 60),
}
"""Script -> the function that is its algorithm, the lines that the script may have, and those that the function may."""


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_a_script_reads_like_its_algorithm(script):
    name, most, on_one_screen = SCRIPTS[script]
    text = (ROOT / script).read_text()
    assert text.count("\n") <= most, f"{script}: what is not its algorithm belongs into a room of its own"
    (algorithm,) = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == name)
    assert algorithm.end_lineno is not None and algorithm.end_lineno - algorithm.lineno < on_one_screen
