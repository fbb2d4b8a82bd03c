"""Scripted experts: policy files that return the button a good player presses at a state.

A policy is plain Python in `{MILESTONE_ID}.py` with `def run(state): ... return 'up'`. It is queried once per step, possibly
at any state in any order. Its tools (`find_path_action`, `face_and_press`, `log`, and whatever else the game offers) need no
import.

An expert that has no answer abstains. It never makes one up: a default button stored as "the expert's label" would
teach the student nonsense at exactly the states that are hard.

`PolicyExpert` runs a policy in this process, with all its rights: only for files that you trust, such as the game's own.
Others run in a locked process (`agent.sandbox.oracle.PolicyOracle`). Both judge answers with the functions of this module.
`agent.open_expert` opens a file in the appropriate one.
"""

from __future__ import annotations

import hashlib
import os
import reprlib
import stat
import sys
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from agent.oracle import Answer, ExpertOracle, PolicyError, Situation
from common.runtime.plain_names import is_plain_name
from common.runtime.plain_text import printable
from pokemon_env.games.base import Game

_GAME_SOURCE = Path(__file__).resolve().parent.parent / "pokemon_env"

DEFAULT_POLICY_DIR = Path(".milestone_trainer_cache/successful_policies")
"""Folder of a user's own policies. A milestone without a file there is played by the policy shipped with the game."""

KEPT_MESSAGES = 1000
"""How many of the newest `log(...)` messages an expert keeps."""

MAX_POLICY_BYTES = 1 << 20
"""A longer file is refused before it is read. The shipped ones have up to 5 kB."""


_TEXT_LIMIT = 500  # characters of an exception's text that are kept


def policy_namespace(file: str, tools: Mapping[str, Any]) -> dict[str, Any]:
    """Return the globals that a policy's code runs in: those of a new module.

    The module replaces the last one in `sys.modules` under the name `policy_{stem}`, because dataclasses look there.
    """
    module = ModuleType(f"policy_{Path(file).stem}")
    sys.modules[module.__name__] = module
    namespace = vars(module)
    namespace.update(__file__=file, **tools)
    return namespace


def judge_answer(answer: Any, actions: Mapping[str, int]) -> Answer:
    """Return a policy's answer as one of the buttons, or as an abstention.

    Calls no methods of the answer: they are the policy's code.

    Args:
        actions: the buttons' names in lower case, with their numbers.
    """
    kind = type(answer)
    if issubclass(kind, str):
        text = str.__str__(answer)
        word = text.strip().lower()
        if word in actions:
            return Answer(actions[word])
        if word == "no_op":
            return Answer(None, "no_op", "answered 'no_op', which is no button")
        return Answer(None, "unknown word", f"answered {reprlib.repr(text)}, which is no button")
    if answer is None:
        return Answer(None, "none", "answered None")
    return Answer(None, "not text", f"answered a {_class_name(kind)}, wanted a button's name as text")


def _class_name(kind: type) -> str:
    """Return a class's name as Python stores it, whatever the class itself returns."""
    return printable(type.__dict__["__name__"].__get__(kind)[:100])


def describe_error(error: BaseException, file: str) -> str:
    """Return a policy's exception in words, with the line of `file` where it was raised, however hostile its class is."""
    try:
        text = printable(f"{_class_name(type(error))}: {error}"[:_TEXT_LIMIT])[:_TEXT_LIMIT]
    except KeyboardInterrupt:
        raise
    except BaseException as worse:  # its __str__ is the policy's code as well
        text = f"{_class_name(type(error))}, whose text cannot be read ({_class_name(type(worse))})"
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{text} ({'before its first line' if line is None else f'line {line}'})"


def find_policy(milestone: str, policy_dir: str | os.PathLike | None = None, shipped_dir: str | os.PathLike | None = None) -> Path:
    """Return the policy file of `milestone`: `policy_dir` first, then the game's shipped policies.

    Args:
        milestone: for example "CLOCK_SET".
        policy_dir: folder with the user's own policies, `DEFAULT_POLICY_DIR` if None. Only the default need not exist: a missing
            folder that the user named was mistyped.
        shipped_dir: folder with the game's policies, None if the game brings none.

    Raises PolicyError, which names the searched places. Also raises it for something of that name that is not a file, and never
    skips it.
    """
    if not is_plain_name(milestone):
        raise PolicyError(f"{milestone!r} is no milestone's name")
    folders = [Path(policy_dir) if policy_dir is not None else DEFAULT_POLICY_DIR]
    if shipped_dir is not None:
        folders.append(Path(shipped_dir))
    for folder in folders:
        path = folder / f"{milestone}.py"
        try:
            os.lstat(path)
        except FileNotFoundError:
            if folder.is_symlink() and not folder.exists():
                raise PolicyError(f"{folder}: is a link to nothing; correct it, or name another --policy-dir") from None
            if folder != DEFAULT_POLICY_DIR and not folder.exists():
                raise PolicyError(f"{folder}: no such folder of policies; is --policy-dir right?") from None
            continue
        except NotADirectoryError:
            raise PolicyError(f"{folder}: is no folder; name the folder of the policies with --policy-dir") from None
        except OSError as error:
            raise _unreadable(path, error) from error
        # The user means what is there. If it is not a file, the next folder's must not replace it.
        _check_is_file(path)
        return path
    places = " or ".join(str(folder / f"{milestone}.py") for folder in folders)
    raise PolicyError(
        f"no policy for milestone {milestone}: write {places} with a function run(state) that returns a button's name"
    )


@dataclass(frozen=True)
class PolicySource:
    """A policy file, read once: the same bytes are loaded and hashed."""

    path: Path
    data: bytes
    """The whole file."""
    text: str
    """`data` as UTF-8, without the byte order mark that some editors put in front."""


def read_policy(path: str | os.PathLike) -> PolicySource:
    """Read a policy file. Never waits (as for a writer of a FIFO), and reads at most MAX_POLICY_BYTES.

    Raises PolicyError if it is missing, not a file, too large, or not text.
    """
    path = Path(path)
    _check_is_file(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            _check_is_file(path, fd)  # it may have been replaced meanwhile
            data = file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > MAX_POLICY_BYTES:
        raise _too_large(path)
    try:
        return PolicySource(path, data, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _unreadable(path, error) from error


_KINDS = {stat.S_IFDIR: "folder", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def _check_is_file(path: Path, fd: int | None = None) -> None:
    """Raise PolicyError unless the path, or the open descriptor `fd`, is a file of a policy's size."""
    try:
        found = os.stat(path if fd is None else fd)
    except FileNotFoundError as error:
        if path.is_symlink():
            raise PolicyError(f"{path}: is a link to nothing; correct it, or remove it") from None
        raise _unreadable(path, error) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "special file")
        raise PolicyError(f"{path}: is a {kind}, but a policy is a Python file with run(state); rename it, or remove it")
    if found.st_size > MAX_POLICY_BYTES:
        raise _too_large(path)


def _too_large(path: Path) -> PolicyError:
    return PolicyError(f"{path}: is larger than {MAX_POLICY_BYTES:,} bytes; a policy is a short Python file with run(state)")


def _unreadable(path: Path, error: Exception) -> PolicyError:
    return PolicyError(f"{path}: cannot be read ({error}); a policy is a Python file with run(state)")


class PolicyExpert:
    """One policy file, loaded into this process and ready to answer. It has all the rights of this process.

    Time, memory and output are not limited, state that the policy keeps between calls persists, and any import is allowed.

    Args:
        policy: path of a policy file, or the pair `(policy_dir, milestone)`, which is looked up with `find_policy`.
        game: the game that the policy plays (a `pokemon_env.games.base.Game`): it names the buttons, the tools and the
            shipped policies.

    Attributes:
        path, source: the policy's file, and its content.
        answers, abstentions: how many states were queried, and how many of them were abstained from.
        abstention_kinds: Counter of `Answer.kind`.
        messages: the newest `log(...)` messages.

    Raises PolicyError if the file is missing, is not Python, fails while it is loaded, or has no `run`.

    Two threads must not use one expert at once; load one for each.
    """

    def __init__(self, policy: str | os.PathLike | tuple[str | os.PathLike | None, str], game: Any):
        if isinstance(policy, tuple):
            policy_dir, milestone = policy
            policy = find_policy(milestone, policy_dir, getattr(game, "policy_dir", None))
        self.source = read_policy(policy)
        self.path = self.source.path
        self.game = game
        self.messages: deque[str] = deque(maxlen=KEPT_MESSAGES)
        self.answers = 0
        self.abstentions = 0
        self.abstention_kinds: Counter[str] = Counter()
        self._actions = {name.lower(): index for index, name in enumerate(game.buttons)}
        self._namespace = self._load()

    def label(self, state: Mapping[str, Any]) -> Answer:
        """Return the answer for one decoded state: a button, or an abstention, which is counted.

        It abstains on an exception, and on any answer that is not a button's name.
        """
        self.answers += 1
        try:
            answer = self._ask(state)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a policy may even call exit(); any exception means no answer
            return self._abstain("exception", describe_error(error, str(self.path)))
        judged = judge_answer(answer, self._actions)
        if judged.action is not None:
            return judged
        assert judged.kind is not None and judged.reason is not None  # else it would be a button
        return self._abstain(judged.kind, judged.reason)

    def label_batch(self, states: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Return the answers of `label` for several states, in their order."""
        return [self.label(state) for state in states]

    def close(self) -> None:
        """Do nothing: unlike `agent.open_expert.SandboxedExpert`, this has no process to end."""

    def _load(self) -> dict[str, Any]:
        try:
            code: CodeType = compile(self.source.text, str(self.path), "exec")
        except (SyntaxError, ValueError) as error:
            raise PolicyError(f"{self.path}: is not Python ({error}); correct it") from error
        namespace = policy_namespace(str(self.path), {"log": self._log, **self._tools()})
        try:
            exec(code, namespace)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PolicyError(
                f"{self.path}: fails while it is loaded: {describe_error(error, str(self.path))}; correct it"
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

    def _abstain(self, kind: str, reason: str) -> Answer:
        self.abstentions += 1
        self.abstention_kinds[kind] += 1
        return Answer(None, kind, f"{self.path.name}: {reason}")


class InProcessOracle(ExpertOracle):
    """A policy file that runs in this process: see `PolicyExpert` for what that means.

    Raises PolicyError if the file is missing or cannot be loaded.
    """

    def __init__(self, policy: str | os.PathLike | tuple[str | os.PathLike | None, str], game: Game, with_optimal: bool = False):
        self.expert = PolicyExpert(policy, game)
        self.identity = policy_identity(self.expert.source, game, f"in-process optimal={with_optimal}")
        self._game = game
        self._with_optimal = with_optimal

    def label_batch(self, situations: Sequence[Situation]) -> list[Answer]:
        return [self._label(situation) for situation in situations]

    def _label(self, situation: Situation) -> Answer:
        try:
            state = self._game.decode_state(situation.snapshot, situation.prev_action)
        except (ValueError, LookupError, TypeError) as error:
            return Answer(None, "bad state", f"the snapshot cannot be decoded: {error}")
        answer = self.expert.label(state)
        # The policy may have changed the state, so it is decoded again.
        return add_optimal(answer, situation, self._game) if self._with_optimal else answer


def add_optimal(answer: Answer, situation: Situation, game: Game) -> Answer:
    """Return the answer with all optimal actions.

    They are left out if the game does not know them, if the expert abstained, or if it chose a button that is not among them: then
    one of the two is wrong, and the set must not overrule the expert.
    """
    if answer.action is None:
        return answer
    try:
        state = game.decode_state(situation.snapshot, situation.prev_action)
    except (LookupError, TypeError, ValueError):  # as in `optimal_buttons`
        return answer
    return with_set(answer, optimal_buttons(state, game))


def optimal_buttons(state: dict[str, Any], game: Game) -> tuple[int, ...]:
    """Return the numbers of all optimal actions at a decoded state, in rising order; none where the game does not know them."""
    try:
        words = game.optimal_actions(state)
    except (LookupError, TypeError, ValueError):  # a stranger's file may hold a state that is impossible in the game
        return ()
    return tuple(number for number, name in enumerate(game.buttons) if name.lower() in (words or ()))


def with_set(answer: Answer, optimal: tuple[int, ...]) -> Answer:
    """Return the answer with the set of optimal actions, if its own is one of them; see `add_optimal`."""
    return replace(answer, optimal=optimal) if answer.action in optimal else answer


def policy_path(policy: str | os.PathLike | tuple[str | os.PathLike | None, str], game: Game) -> Path:
    """Return the file that a `policy` argument names. Raises PolicyError for a milestone without one."""
    if isinstance(policy, tuple):
        folder, milestone = policy
        return find_policy(milestone, folder, game.policy_dir)
    return Path(policy)


def policy_identity(policy: PolicySource, game: Game, how: str) -> str:
    """Return the identity of a policy as an expert: "policy:{name}:{16 hex digits}".

    The digits hash everything that determines an answer: the policy's text, the source of `pokemon_env` (states, tools, the
    worlds and the ROM from which optimal actions are computed), and `how` it is queried.
    """
    digest = hashlib.sha256(f"{how}\0{game.id}\0{game.system}\0".encode())
    sources = sorted(_GAME_SOURCE.rglob("*.py"))
    if game.policy_dir is not None:
        sources += sorted(game.policy_dir.parent.glob("*.gb"))
    for content in (policy.data, *(source.read_bytes() for source in sources)):
        digest.update(hashlib.sha256(content).digest())
    return f"policy:{policy.path.stem}:{digest.hexdigest()[:16]}"
