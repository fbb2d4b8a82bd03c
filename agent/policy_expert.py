"""Scripted experts: policy files that say which button a good player presses at a state.

A policy is plain Python in `{MILESTONE_ID}.py` with `def run(state): ... return 'up'`. It is asked once per step, may
be asked at any state in any order, and finds its tools (`find_path_action`, `face_and_press`, `log`, and what else the
game offers) without an import.

An expert that has no answer abstains. It never makes one up: a default button stored as "the expert's label" would
teach the student nonsense at exactly the states that are hard.

Policies run in this process for now, so use only files that you trust. Callers go through `label` and `label_batch`,
behind which a sandboxed process can take this one's place.
"""

from __future__ import annotations

import os
import reprlib
import traceback
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

DEFAULT_POLICY_DIR = Path(".milestone_trainer_cache/successful_policies")
"""Where a user's own policies lie; a milestone without a file there is played by the policy shipped with the game."""

KEPT_MESSAGES = 1000
"""How many of the newest `log(...)` messages an expert keeps."""


class PolicyError(ValueError):
    """A policy file that is missing or can't be loaded; the text names the file and what to do."""


@dataclass(frozen=True)
class ExpertAnswer:
    """The expert's label for one state."""

    action: int | None
    """Index of the button, or None if the expert abstained."""
    reason: str | None = None
    """Why it abstained, in words; None with an action."""
    kind: str | None = None
    """The reason's class, to count by: 'exception', 'none', 'no_op', 'not text' or 'unknown word'; None with an
    action.
    """


def find_policy(milestone: str, policy_dir: str | os.PathLike | None = None, shipped_dir: str | os.PathLike | None = None) -> Path:
    """The policy file of `milestone`: `policy_dir` first, then the game's shipped policies.

    Args:
        milestone: for example "CLOCK_SET".
        policy_dir: folder with the user's own policies, `DEFAULT_POLICY_DIR` if None. It need not exist.
        shipped_dir: folder with the game's policies, None if the game brings none.

    Raises PolicyError that names the places where it looked.
    """
    folders = [Path(policy_dir) if policy_dir is not None else DEFAULT_POLICY_DIR]
    if shipped_dir is not None:
        folders.append(Path(shipped_dir))
    for folder in folders:
        path = folder / f"{milestone}.py"
        if path.is_file():
            return path
    places = " or ".join(str(folder / f"{milestone}.py") for folder in folders)
    raise PolicyError(
        f"no policy for milestone {milestone}: write {places} with a function run(state) that returns a button's name"
    )


class PolicyExpert:
    """One policy file, loaded and ready to answer.

    Args:
        policy: path of a policy file, or the pair `(policy_dir, milestone)`, which is looked up with `find_policy`.
        game: the game that the policy plays (a `pokemon_env.games.base.Game`): it names the buttons, the tools and the
            shipped policies.

    Attributes:
        path: the policy's file.
        answers, abstentions: how many states were labelled, and how many of them without an answer.
        abstention_kinds: Counter of `ExpertAnswer.kind`.
        messages: the newest `log(...)` messages.

    Raises PolicyError if the file is missing, is not Python, fails while it is loaded, or has no `run`.

    An expert is not to be used by two threads at once; load one for each.
    """

    def __init__(self, policy: str | os.PathLike | tuple[str | os.PathLike | None, str], game: Any):
        if isinstance(policy, tuple):
            policy_dir, milestone = policy
            policy = find_policy(milestone, policy_dir, getattr(game, "policy_dir", None))
        self.path = Path(policy)
        self.game = game
        self.messages: deque[str] = deque(maxlen=KEPT_MESSAGES)
        self.answers = 0
        self.abstentions = 0
        self.abstention_kinds: Counter[str] = Counter()
        self._actions = {name.lower(): index for index, name in enumerate(game.buttons)}
        self._namespace = self._load()

    def label(self, state: Mapping[str, Any]) -> ExpertAnswer:
        """The button for one decoded state. Abstains, and counts it, on an exception or any answer that is not a
        button's name.
        """
        self.answers += 1
        try:
            answer = self._ask(state)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a policy may even call exit(); whatever it raises, it gave no answer
            return self._abstain("exception", f"{type(error).__name__}: {error} ({self._place(error)})")
        if isinstance(answer, str):
            word = answer.strip().lower()
            if word in self._actions:
                return ExpertAnswer(self._actions[word])
            if word == "no_op":
                return self._abstain("no_op", "answered 'no_op', which is no button")
            return self._abstain("unknown word", f"answered {reprlib.repr(answer)}, which is no button")
        if answer is None:
            return self._abstain("none", "answered None")
        return self._abstain("not text", f"answered a {type(answer).__name__}, wanted a button's name as text")

    def label_batch(self, states: Sequence[Mapping[str, Any]]) -> list[ExpertAnswer]:
        """`label` for several states, in their order."""
        return [self.label(state) for state in states]

    def _load(self) -> dict[str, Any]:
        try:
            source = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(f"{self.path}: can't be read ({error}); a policy is a Python file with run(state)") from error
        try:
            code: CodeType = compile(source, str(self.path), "exec")
        except (SyntaxError, ValueError) as error:
            raise PolicyError(f"{self.path}: is not Python ({error}); correct it") from error
        namespace: dict[str, Any] = {
            "__name__": f"policy_{self.path.stem}",
            "__file__": str(self.path),
            "log": self._log,
        }
        namespace.update(self._tools())
        try:
            exec(code, namespace)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PolicyError(
                f"{self.path}: fails while it is loaded: {type(error).__name__}: {error} ({self._place(error)}); correct it"
            ) from error
        if not callable(namespace.get("run")):
            raise PolicyError(f"{self.path}: has no function run(state); add one that returns a button's name")
        return namespace

    def _tools(self) -> Mapping[str, Any]:
        return self.game.tools()

    def _ask(self, state: Mapping[str, Any]) -> Any:
        return self._namespace["run"](state)

    def _log(self, message: Any) -> None:
        self.messages.append(str(message)[:1000])

    def _abstain(self, kind: str, reason: str) -> ExpertAnswer:
        self.abstentions += 1
        self.abstention_kinds[kind] += 1
        return ExpertAnswer(None, f"{self.path.name}: {reason}", kind)

    def _place(self, error: BaseException) -> str:
        """The innermost line of the policy itself on the way to `error`."""
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(self.path)]
        return f"line {lines[-1]}" if lines else "before its first line"
