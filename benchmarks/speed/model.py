#!/usr/bin/env python3
"""How long labels of a language model take, and what they need: against the local server, which answers slowly and errs.

    python -m benchmarks.speed.model
    python -m benchmarks.speed.model --backend openai --questions 2000
    python -m benchmarks.speed.model --a-second 50 --share 0 --questions 3000

Each question holds a text of a state's size and a screen of random play, enlarged 2 times. The server runs in a process of its own,
on the same cores. Prints seconds, CPU seconds of both processes, how much memory the asking process grew by, and what became of
the questions: a right answer, a wrong one, an abstention. A right answer is known from the text. Whatever else runs is measured,
too: the load of the machine is printed.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from common.runtime.flag_types import Count, Share, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    questions: Count = 10_000
    """how many labels are asked for"""
    backend: str = "anthropic"
    """anthropic or openai"""
    seconds: float = 0.25
    """how long an answer takes on average"""
    share: Share = 0.1
    """this share of the requests fails"""
    faults: str = "529, 500, reset, cut, slow=3"
    """how"""
    timeout: float = 1.0
    """seconds for one try"""
    a_second: float | None = None
    """questions a second, above which the server answers 429; default is no limit"""
    concurrency: Count = 64
    """questions under way at once"""
    pictures: bool = True
    """whether questions hold pictures"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import json
import re

import numpy as np

from agent.llm.calls import CallFile
from agent.llm.client import ModelClient, ModelSettings, Question
from agent.llm.prices import Prices
from pokemon_env.gym_env import PokemonEnv
from tools.model_server import Asked, ModelServer, faults_of

BUTTONS = ("A", "B", "UP", "DOWN", "LEFT", "RIGHT", "START", "SELECT")
SCHEMA = {
    "type": "object", "properties": {"reason": {"type": "string"}, "button": {"enum": list(BUTTONS)}},
    "required": ["reason", "button"], "additionalProperties": False,
}  # fmt: skip
RULES = "You play a game, one button at a time. Say which button leads on. " * 60
STATE = '{"position": [%d, %d], "facing": "up", "place": "a town", "people": ["a professor", "a rival"], "text": ""}\n' * 10
MODEL = "claude-haiku-5-5"


def right_answer(number: int) -> str:
    return BUTTONS[number * 2654435761 % 2**32 % len(BUTTONS)]


def answer(asked: Asked) -> str:
    """Answer what is right: the first part of a question names its number."""
    match = re.match(r"Step (\d+)", str(asked.parts[0]))
    assert match is not None
    return json.dumps({"reason": "this way leads to the door", "button": right_answer(int(match[1]))})


def serve(args: Args, connection: Connection) -> None:
    """Run the server until the other end of the pipe is closed; then tell what it saw and used."""
    with ModelServer(
        seconds=args.seconds, share=args.share, share_of=tuple(faults_of(args.faults)), a_second=args.a_second, answer=answer
    ) as server:
        connection.send(server.url)
        connection.recv()
        connection.send(([(seen.status, seen.fault) for seen in server.seen], cpu_seconds()))


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def megabytes() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def questions(args: Args) -> Iterator[Question]:
    """Yield questions with the screens of random play, each made when it is wanted."""
    env = PokemonEnv(render_mode="rgb_array", target_milestone="BADGE", start_milestone="LAB_ENTERED")
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    for number in range(args.questions):
        env.step(int(rng.integers(env.action_space.n)))
        parts: tuple = (f"Step {number}\n" + STATE % tuple(rng.integers(0, 99, 20)),)
        if args.pictures:
            parts += (np.repeat(np.repeat(env.render(), 2, 0), 2, 1),)
        yield Question(RULES, parts, SCHEMA, "label", "BADGE")
    env.close()


def main(args: Args) -> int:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(args, there), daemon=True)
    server.start()
    url = here.recv() + ("/v1" if args.backend == "openai" else "")
    settings = ModelSettings(
        MODEL, args.backend, url, None, "NONE", timeout=args.timeout, concurrency=args.concurrency, effort="low"
    )
    kinds: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.sqlite"
        with CallFile(path) as calls, ModelClient(settings, calls, Prices(), "speed") as client:
            asked = questions(args)
            client.ask([next(asked)])  # imports, and the first environment
            memory, began, cpu, load = megabytes(), time.monotonic(), cpu_seconds(), os.getloadavg()[0]
            for number, reply in client.ask_each(asked):
                right = reply.value is not None and reply.value["button"] == right_answer(number + 1)
                kind = reply.kind or ("right" if right else "wrong")
                kinds[kind] = kinds.get(kind, 0) + 1
            seconds, cpu, grown = time.monotonic() - began, cpu_seconds() - cpu, megabytes() - memory
            money = calls.money("speed")
        size = path.stat().st_size
    here.send("end")
    seen, server_cpu = here.recv()
    server.join()
    limited = sum(status == 429 for status, _ in seen)
    print(f"{sum(kinds.values())} questions to {args.backend} in {seconds:.1f} s, {sum(kinds.values()) / seconds:.0f} a second")
    print(f"CPU: {cpu:.1f} s for asking, {server_cpu:.1f} s in the server; load of the machine before {load:.1f}")
    print(f"{grown:.0f} MB more memory; {size / max(1, args.questions):.0f} bytes a question in the file of calls")
    print(f"{len(seen)} requests, {limited} of them answered 429; {json.dumps(kinds)}")
    print(f"${money.spent:.4f} spent, ${money.unconfirmed:.4f} unconfirmed")
    return 0


if __name__ == "__main__":
    from benchmarks.folders import run_table  # not above: the server's process loads what stands there, and this brings torch

    check_bounds(args)
    run_table("model.py", lambda: main(args))
