"""README and docs/ say what is true: their commands, links, metrics, flags, snippets, and the table of rooms."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import warnings
from collections import defaultdict
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import auto_dagger_pipeline
import bc_pokemon
import dagger_pokemon
from common.networks import ImpalaCNN
from common.runtime.checkpoints import save_checkpoint
from common.runtime.flag_types import check_bounds
from common.runtime.flags import parse_command_line
from pokemon_env.games.tallgrass import GAME
from pokemon_env.rom import BUNDLED_ROM

ROOT = Path(__file__).resolve().parents[2]
PAGES = [Path("README.md"), Path("CONTRIBUTING.md"), *sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))]
SCRIPTS = {
    "collect": "collect_expert_data",
    "bc": "bc_pokemon",
    "dagger": "dagger_pokemon",
    "pipeline": "auto_dagger_pipeline",
    "play": "play",
}
"""Page in docs/scripts/ -> script."""
BUTTONS = "|".join(GAME.buttons)


def read(page: str | Path) -> str:
    return (ROOT / page).read_text()


def blocks(page: str | Path, *languages: str) -> list[str]:
    """The code blocks of a page in one of these languages."""
    return [body for language, body in re.findall(r"^```(\w*)\n(.*?)^```", read(page), re.M | re.S) if language in languages]


def prose(page: str | Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```", "", read(page), flags=re.M | re.S)


def lines_of_shell(page: str | Path) -> list[str]:
    """What a reader types, with continued lines joined and without comments."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    return [shlex.join(words) for line in text.split("\n") if (words := shlex.split(line, comments=True))]


def commands(page: str | Path) -> list[str]:
    """The commands in a page's code blocks, and those in its sentences."""
    inline = re.findall(r"`((?:python|make) [^`]+)`", re.sub(r"\s+", " ", prose(page)))
    return [*(line for line in lines_of_shell(page) if re.match(r"(python|make) ", line)), *inline]


ALL_COMMANDS = sorted({(command, str(page)) for page in PAGES for command in commands(page)})


def module_of(words: list[str]) -> ModuleType | None:
    """The module that `python SCRIPT.py` or `python -m NAME` starts, of ours."""
    name = words[2] if words[1] == "-m" else words[1].removesuffix(".py")
    folder = ROOT / name.replace(".", "/")
    if (folder / "__main__.py").is_file():
        name += ".__main__"
    else:
        assert folder.with_suffix(".py").is_file(), f"there is no {name}"
    return importlib.import_module(name)


def flags_of(module: ModuleType) -> set[str]:
    """The flags of its `Args`, as they are typed."""
    names = [field.name.replace("_", "-") for field in dataclasses.fields(module.Args)]
    return {f"--{name}" for name in names} | {f"--no-{name}" for name in names}


@pytest.mark.parametrize(("command", "page"), ALL_COMMANDS)
def test_commands_parse(command, page, monkeypatch):
    words = shlex.split(command)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.M)
        assert set(words[1:]) <= set(targets), f"{page}: {command}"
        return
    module = module_of(words)
    if not hasattr(module, "Args"):  # a program with flags of its own
        assert hasattr(module, "main") and len(words) <= 3, f"{page}: {command}"
        return
    if words[1:] == ["-m", words[-1]] and any(field.default is field.default_factory for field in dataclasses.fields(module.Args)):
        return  # a program named in a sentence, without what it must be told
    monkeypatch.setattr(sys, "argv", [words[1], *words[3 if words[1] == "-m" else 2 :]])
    try:
        check_bounds(parse_command_line(module.Args, None))
    except SystemExit as end:
        assert end.code in (0, None), f"{page}: {command}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_nothing_that_is_typed_goes_unchecked(page):
    for line in lines_of_shell(page):
        if line.startswith("pip install"):
            (file,) = re.findall(r"-r (\S+)", line)
            assert (ROOT / file).is_file()
        else:
            assert re.match(r"(python|make|tensorboard --logdir runs|source \.venv/bin/activate|python3 -m venv)( |$)", line), line


@cache
def tracked() -> list[str]:
    """The repository's files."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")


@cache
def all_flags() -> set[str]:
    """The flags of all programs."""
    programs = [*ROOT.glob("*.py"), *ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("tasks/*.py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in programs if "class Args" in path.read_text()]
    modules = map(importlib.import_module, names)
    return {flag for module in modules if hasattr(module, "Args") for flag in flags_of(module)}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_flags_that_are_named_exist(page):
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", prose(page)))
    assert named - all_flags() <= {"--help", "--model-name", "--backend"}  # the latter are aliases


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_tables_of_flags_are_the_script_s(name):
    args = importlib.import_module(SCRIPTS[name]).Args
    defaults = {field.name: field.default for field in dataclasses.fields(args)}
    rows = re.findall(r"^\| ([^|]*`--[^|]*) \| ([^|]*) \|", read(f"docs/scripts/{name}.md"), re.M)
    assert len(rows) > 5
    for cell, told in rows:
        flags = [flag.replace("-", "_") for flag in re.findall(r"`--([a-z0-9-]+)`", cell)]
        assert set(flags) <= defaults.keys(), cell
        values = told.split(", ")
        if len(values) == len(flags):
            for flag, value in zip(flags, values, strict=True):
                if re.fullmatch(r"[\d.e-]*\d[\d.e-]*", value):
                    assert defaults[flag] == float(value), f"{name}.md: --{flag} is {value}, but its default is {defaults[flag]}"


def anchors(page: Path) -> set[str]:
    """Where links into a page can lead, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, Path("tallgrass/README.md")], ids=str)
def test_links_lead_somewhere(page):
    links = re.findall(r"\[[^]]*\]\(([^)\s]+)\)", prose(page))
    for link in links:
        if re.match(r"https?://", link):
            continue
        target, _, anchor = link.partition("#")
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.exists() and file.resolve().is_relative_to(ROOT), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(file.resolve().relative_to(ROOT)), f"{page}: {link}"


def test_every_page_can_be_reached():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+)", prose(page.relative_to(ROOT)))
        waiting += [(page.parent / link).resolve() for link in links if not link.startswith("http")]
    assert {ROOT / page for page in PAGES} <= reached


def test_the_readme_is_read_in_a_few_minutes():
    assert len((ROOT / "README.md").read_bytes()) <= 9216 and len(read("README.md").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_words(page):
    """CONTRIBUTING.md's rules of prose, as far as they are words."""
    banned = r"\b(he|him|his|himself|she|whoever|anew|in vain|goes on|go on|so many|mend(ed|s)?)\b"
    assert not [found[0] for found in re.finditer(banned, prose(page), re.I)]
    assert max(map(len, read(page).splitlines())) <= 400


def rooms_told() -> dict[str, set[str]]:
    """Room -> rooms that it imports, as the table in architecture.md has them."""
    table = read("docs/architecture.md").split("## The rooms")[1].split("\n## ")[0].split("\n\n")
    (rows,) = [part for part in table if part.startswith("| room | what it holds | imports |")]
    cells = [re.split(r" ?\| ?", line.strip("|").strip()) for line in rows.split("\n")[2:]]
    return {room.strip("` "): set(re.findall(r"`([\w.]+)`", rest[-1])) for room, *rest in cells}


def test_the_table_of_rooms_is_as_the_imports():
    spec = importlib.util.spec_from_file_location("structure", ROOT / "tests" / "test_structure.py")
    structure = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(structure)
    arrows = defaultdict(set)
    for module, others in structure.GRAPH.items():
        arrows[structure.room(module)] |= {structure.room(other) for other in others} - {structure.room(module)}
    assert rooms_told() == dict(arrows)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_folders_and_files_that_are_named_exist(page):
    made = r"(expert_data|models|runs|videos|\w+_videos|logs|\.milestone_trainer_cache|dagger_pipeline_results|play_results)/"
    made += r"|(attempts|frames|milestone_trainer_results)/"
    made += r"|(eval|candidate)/$|(X\.state|play|pipeline_results|trial|records)\.json|(prompt|answer)\.md|policy\.py"
    # The last are metrics, and files of a run.
    for name in re.findall(r"`([\w./-]+(?:/|\.py|\.md|\.json|\.txt))`", prose(page)):
        if not re.match(made, name):
            there = re.compile(rf"(.*/)?{re.escape(name)}" + (".*" if name.endswith("/") else ""))
            assert any(there.fullmatch(file) for file in tracked()), f"{page}: {name}"


def snippets() -> dict[str, str]:
    """The Python blocks of all pages, each text once, with a page that has it."""
    return {body: str(page) for page in reversed(PAGES) for body in blocks(page, "python")}


QUICK_AND_SLOW = [
    pytest.param(text, page, marks=[pytest.mark.slow] if "evaluate_policy" in text else [], id=f"{page}: {text[:30]!r}")
    for text, page in snippets().items()
]


@pytest.mark.parametrize(("snippet", "page"), QUICK_AND_SLOW)
def test_snippets_run(snippet, page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"model_state_dict": ImpalaCNN(action_dim=8).state_dict()}
    if "models/bc_pokemon_best.pth" in snippet:
        save_checkpoint(tmp_path / "models" / "bc_pokemon_best.pth", content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names: dict[str, object] = {"__name__": "snippet"}
        exec(compile(snippet, page, "exec"), names)
    if "env" in names:
        names["env"].close()


def measured(folder: Path) -> set[str]:
    """All that was logged below a folder of runs."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    names = set()
    for run in folder.iterdir():
        tags = EventAccumulator(str(run)).Reload().Tags()
        names |= {*tags["scalars"], *tags["images"], *(tag.removesuffix("/text_summary") for tag in tags["tensors"])}
    return names


def check_metrics(page: str, logged: set[str]) -> None:
    """Each metric that is logged is named on the page, and each that is named is logged."""
    section = read(f"docs/scripts/{page}.md").split("\n## Metrics\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+/[\w{}]+|hyperparameters)`", section))
    patterns = {re.sub(r"\{\w+\}", r"\\w+", name) for name in named}
    assert not {name for name in logged if not any(re.fullmatch(pattern, name) for pattern in patterns)}, "not on the page"
    example = re.compile(rf".*\{{.*|\w+/recall_({BUTTONS})|labels/(tokens|dollars)")  # the latter by a language model
    assert not {name for name in named - logged if not example.fullmatch(name)}, "not logged"


SMALL = dict(
    milestone="GAME_RUNNING", tier="T0", network="tiles-small", hidden_dim=16, num_threads=1, batch_size=8, eval_episodes=1,
    best_eval_episodes=1, num_envs=1, video=False, cuda=False, milestone_config=str(ROOT / "milestone_config.json"),
    rom_path=str(BUNDLED_ROM),
)  # fmt: skip


def test_metrics_of_cloning(tmp_path, monkeypatch):
    import collect_expert_data as collect

    monkeypatch.chdir(tmp_path)
    few = dict(milestone="PLAYER_NAME_SET", tier="T0")
    rom = {name: SMALL[name] for name in ("rom_path", "milestone_config")}
    assert not collect.main(collect.Args(**few, **rom, n_episodes=3, num_envs=1))
    bc_pokemon.main(bc_pokemon.Args(**(SMALL | few), max_steps=12, total_steps=10, eval_frequency=10, save_frequency=0))
    check_metrics("bc", measured(tmp_path / "runs"))


def test_metrics_of_dagger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = dict(n_iterations=2, episodes_per_iter=2, max_episode_steps=6, train_steps_per_iter=5, query_budget=8, eval_max_steps=6)
    (tmp_path / "policies").mkdir()  # abstains after the first step, so that a kind of abstention is logged
    policy = "def run(state):\n    return 'start' if state['prev_action'] == 'no_op' else None\n"
    (tmp_path / "policies" / "GAME_RUNNING.py").write_text(policy)
    small = SMALL | {"policy_dir": "policies", "answer_cache": ""}
    dagger_pokemon.main(dagger_pokemon.Args(**small, **args, beta_schedule="none", query_by="random"))
    logged = measured(tmp_path / "runs")
    assert "labels/budget_of_iteration" in logged
    check_metrics("dagger", logged)


@pytest.mark.slow
def test_metrics_of_the_pipeline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("tier", "network", "hidden_dim", "batch_size", "num_threads", "num_envs", "cuda", "milestone_config", "rom_path")
    args = {name: SMALL[name] for name in names}
    small = dict(eval_episodes=1, dagger_iterations=1, episodes_per_iter=1, train_steps_per_iter=5, best_eval_episodes=1)
    pipeline_args = auto_dagger_pipeline.Args(**args, **small, milestone="GAME_RUNNING", test_episodes=1, record_video=False)
    assert auto_dagger_pipeline.main(pipeline_args) == 0
    (run,) = (tmp_path / "runs").glob("auto_dagger_pipeline_*")
    only = tmp_path / "only"
    only.mkdir()
    run.rename(only / run.name)
    check_metrics("pipeline", measured(only))


@pytest.mark.slow
def test_the_first_commands_run_as_they_are_typed(tmp_path):
    """Those of getting-started.md that say whether it works, in a folder in which the repository's files can be reached."""
    written = {"expert_data", "models", "runs", ".git"}
    for path in ROOT.iterdir():
        if path.name not in written:
            (tmp_path / path.name).symlink_to(path)
    typed = [line for line in lines_of_shell("docs/getting-started.md") if "hello" in line]
    assert len(typed) == 3
    variables = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "OMP_NUM_THREADS": "1"}
    for line in typed:
        words = [sys.executable, *shlex.split(line)[1:]]
        done = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert "hello_best.pth" in done.stdout and (tmp_path / "models" / "hello_best.pth").is_file()


def test_commands_are_read_as_a_shell_reads_them():
    assert any("--learning-rate 1e-3 --dagger-iterations 6" in command for command in commands("docs/scripts/pipeline.md"))
    assert "python auto_dagger_pipeline.py" in commands("README.md") and "make demo" in commands("README.md")
    assert not any("#" in line for page in PAGES for line in lines_of_shell(page))
    assert all(ast.parse(body) for body in snippets())
