"""`dagger_pokemon.py --expert code-agent`: a model on a server of this machine labels, from its prompt alone."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import dagger_pokemon
from agent.llm import client as client_module
from agent.llm.calls import CallFile
from agent.llm.client import ModelError
from agent.llm.prices import PriceError
from common.runtime.flag_types import FlagError
from dagger.data import DaggerData
from pokemon_env.rom import BUNDLED_ROM
from tools.model_server import Asked, ModelServer
from tools.reasons_page import write_reasons_page

pytest.importorskip("anthropic")
pytest.importorskip("openai")
CONFIG = BUNDLED_ROM.parents[1] / "milestone_config.json"
QUICK = dict(
    eval_episodes=1, best_eval_episodes=1, video=False, network="tiles-small", hidden_dim=16, batch_size=8, milestone="RIVAL_HOUSE",
    tier="T1", num_envs=2, cuda=False, num_threads=1, n_iterations=2, episodes_per_iter=2, max_episode_steps=15,
    train_steps_per_iter=5, eval_max_steps=5, rom_path=str(BUNDLED_ROM), milestone_config=str(CONFIG), stochastic_rollouts=True,
    beta_schedule="none", expert="code-agent", model_calls="calls.sqlite", answer_cache="answers.sqlite", eval_frequency=0,
)  # fmt: skip
RIGHT = "Read the text, or go to the house."


def walker(asked: Asked) -> str:
    """Play as the shipped expert does, by what the prompt says."""
    text = next(part for part in asked.parts if isinstance(part, str) and part.startswith("Scene: "))
    busy = "Text on the screen:" in text or "Menu:" in text
    answer = {"tool": "close_what_is_open"} if busy else {"tool": "go_to_map", "name": "RIVAL_1F"}
    return json.dumps({"reason": RIGHT, "answer": answer})


@pytest.fixture
def learn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client_module, "BACK_OFF_SECONDS", 0.005)
    for name in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def learn(server: ModelServer | None, **flags):
        if server is not None:
            flags |= {"expert_base_url": server.url, "expert_backend": "anthropic"}
        return dagger_pokemon.main(dagger_pokemon.Args(**(QUICK | flags)))

    return learn


def labels(name: str = "dagger_pokemon") -> np.ndarray:
    with DaggerData(f"models/{name}_data.sqlite", "read") as data:
        return data.columns(["label"])["label"]


def test_a_model_labels_as_the_scripted_expert_does_and_its_cost_is_told(learn, capsys):
    with ModelServer(answer=walker) as server:
        learn(server)
        asked = len(server.seen)
    said = capsys.readouterr().out
    learn(None, expert="policy", exp_name="scripted", answer_cache=None)
    ours, theirs = labels(), labels("scripted")
    assert len(ours) == len(theirs) and np.array_equal(ours, theirs) and (ours >= 0).sum() > 20
    with DaggerData("models/dagger_pokemon_data.sqlite", "read") as data:
        columns = data.columns(["reason", "expert"])
        reasons = {data.names[number] for number in columns["reason"][ours >= 0]}
        assert all(reason.startswith(RIGHT) for reason in reasons) and "go_to_map('RIVAL_1F')" in " ".join(reasons)
        assert data.names[columns["expert"][ours >= 0][0]].startswith("model:claude-haiku-5-5:")
    page = write_reasons_page(Path("models/dagger_pokemon_data.sqlite"), Path("page.html"), 5).read_text()
    assert page.count("data:image/png;base64,") == 5 and page.count(RIGHT) == 5
    assert "tokens, $" in said and "per 1,000 labels" in said and f"{asked} requests sent" in said
    with CallFile(Path("calls.sqlite"), write=False) as calls:
        rows = list(calls.rows())
    assert len(rows) == asked and {(row["role"], row["milestone"]) for row in rows} == {("label", "RIVAL_HOUSE")}
    assert len({row["run"] for row in rows}) == 1 and rows[0]["run"].startswith("dagger_pokemon_1_")


def test_the_same_run_again_pays_nothing_and_replays_without_a_server(learn):
    with ModelServer(answer=walker) as server:
        learn(server)
        asked = len(server.seen)
        learn(server, exp_name="again", answer_cache=None)
        assert len(server.seen) == asked
    learn(None, exp_name="replayed", answer_cache=None, replay=True, expert_backend="anthropic", expert_base_url=server.url)
    for name in ("again", "replayed"):
        assert digest(name) == digest("dagger_pokemon")


def digest(name: str) -> str:
    with DaggerData(f"models/{name}_data.sqlite", "read") as data:
        return data.digest()


def test_out_of_money_the_run_trains_on_what_it_has(learn, capsys):
    with ModelServer(answer=walker) as server:
        result = learn(server, max_cost=0.005, expert_concurrency=2, n_iterations=3, beta_schedule="linear")
    assert result["signal"] is None and 0 < result["labels"]["labels"] < 60
    said = capsys.readouterr().out
    assert "--beta-schedule linear: where the expert acts, each step is a question, up to 30 in a rollout" in said
    assert "--max-cost 0.005: $" in said and "go on with a higher --max-cost" in said
    with pytest.raises(FlagError, match="begun with --max-cost 0.005"):
        resume("--n-iterations", "4", *asked_at(server))


def asked_at(server: ModelServer) -> list[str]:
    where = ["--expert-base-url", server.url, "--expert-backend", "anthropic"]
    return ["--expert", "code-agent", "--model-calls", "calls.sqlite", *where]


def resume(*flags: str):
    argv, sys.argv = sys.argv, ["dagger_pokemon.py", "--resume-from", "models/dagger_pokemon_last.pth", *flags]
    try:
        return dagger_pokemon.main(dagger_pokemon.parse_args())
    finally:
        sys.argv = argv


def test_where_a_key_is_sent_is_never_taken_from_a_checkpoint(learn, capsys):
    with ModelServer(answer=walker) as server:
        learn(server)
        with pytest.raises(FlagError, match=r"begun with .*--expert code-agent.*another expert would label"):
            resume("--n-iterations", "3")
        told = capsys.readouterr().out
        assert f"never taken from a file: --expert code-agent --expert-backend anthropic --expert-base-url {server.url}" in told
        assert resume(*asked_at(server), "--n-iterations", "3")["iteration"] == 3


def test_a_preview_asks_nothing_and_is_near_what_the_run_costs(learn, capsys):
    flags = dict(query_budget=30, n_iterations=3, max_cost=1.0)
    with ModelServer(answer=walker) as server:
        learn(server, preview=True, **flags)
        said = capsys.readouterr().out
        assert not server.seen and "likely" in said and "it was not used before" in said
        assert not Path("models").exists() and not Path("runs").exists()
        learn(server, **flags)
        with CallFile(Path("calls.sqlite"), write=False) as calls:
            used = [json.loads(row["usage"]) for row in calls.rows()]
        keys = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        tokens = sum(sum(one[key] or 0 for key in keys) for one in used)
        capsys.readouterr()
        learn(server, preview=True, exp_name="other", **flags)
        again = capsys.readouterr().out
    row = next(line for line in said.splitlines() if "likely" in line)
    wanted = int(row.split("│")[3].replace(",", ""))
    assert abs(wanted * len(used) / 30 - tokens) < 0.1 * tokens and "as in its earlier calls" in again


def test_what_cannot_be_asked_is_refused_before_anything_is_written(learn, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ModelError, match="ANTHROPIC_API_KEY: the environment variable with the key is not set"):
        learn(None)
    with ModelServer(answer=walker) as server:
        with pytest.raises(PriceError, match="the price of nobody is not known"):
            learn(server, expert_model="nobody", max_cost=1.0)
        with pytest.raises(ModelError, match="the server has no such model.*it has claude-haiku"):
            learn(server, expert_model="nobody")
        with pytest.raises(ModelError, match="takes no pictures"):
            learn(server, expert_model="text-only")
        for flag in ({"max_cost": 1.0}, {"replay": True}, {"preview": True}):
            with pytest.raises(FlagError, match="only for a language model"):
                learn(server, expert="policy", **flag)
        for flag in ({"beta_schedule": "linear"}, {"beta_schedule": "first"}, {"target_success_rate": 0.9}):
            with pytest.raises(FlagError, match="--expert-batch: the expert acts, and a batch may take a day"):
                learn(server, expert_batch=True, **flag)
        assert not server.seen
    assert not Path("models").exists() or not list(Path("models").glob("*.sqlite"))
    assert not Path("runs").exists()


def test_ctrl_c_while_labels_are_asked_for_loses_no_answer(learn):
    count = 0

    def interrupting(asked: Asked) -> str:
        nonlocal count
        count += 1
        if count == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return walker(asked)

    with ModelServer(answer=interrupting, seconds=0.05) as server:
        result = learn(server, expert_concurrency=2)
        assert result["signal"] == signal.SIGINT
        before = len(server.seen)
        assert resume(*asked_at(server))["signal"] is None
        assert max(server.times.values()) == 1 and before < len(server.seen)
    with ModelServer(answer=walker) as server:
        learn(server, exp_name="whole", answer_cache=None, model_calls="other.sqlite")
    assert np.array_equal(labels(), labels("whole"))
