"""Opening a language model as the flags say: its settings, its prices, its file of calls, and the client that asks it."""

from __future__ import annotations

from contextlib import ExitStack

from agent.code_agent import CodeAgent
from agent.llm.calls import CallFile
from agent.llm.client import ModelClient, settings_from_flags
from agent.llm.prices import Prices
from common.flag_groups import ExpertFlags, ModelFlags
from pokemon_env.games.base import Game


def open_client(flags: ModelFlags, run: str, opened: ExitStack) -> ModelClient:
    """Return a client of the model that the flags name; what has to be closed later goes into `opened`.

    Raises ModelError, PriceError or CallFileError, before anything is asked.
    """
    settings = settings_from_flags(
        flags.expert_model, backend=flags.expert_backend, base_url=flags.expert_base_url, key_env=flags.expert_key_env,
        replay=flags.replay, timeout=flags.expert_timeout, tries=flags.expert_tries, concurrency=flags.expert_concurrency,
        effort=flags.expert_effort, max_tokens=flags.expert_max_tokens,
    )  # fmt: skip
    prices = Prices(flags.prices)
    calls = opened.enter_context(CallFile(flags.model_calls, settings.secrets, write=not flags.replay))
    client = ModelClient(settings, calls, prices, run, max_cost=flags.max_cost, replay=flags.replay)
    return opened.enter_context(client)


def open_code_agent(flags: ExpertFlags, milestone: str, game: Game) -> CodeAgent:
    """Return the language model that the flags name, as an expert. Raises as `open_client` does."""
    with ExitStack() as opened:
        client = open_client(flags, "", opened)  # `CodeAgent.begin` says the run's name
        sees, form, batch = flags.expert_sees, flags.expert_answers, flags.expert_batch
        return CodeAgent(client, game, milestone, sees=sees, form=form, batch=batch, opened=opened.pop_all())
