"""Errors that make one milestone of a pipeline fail, while the others continue."""

from __future__ import annotations

from agent.oracle import PolicyError
from agent.sandbox.oracle import SandboxError
from common.runtime.checkpoints import CheckpointError
from common.runtime.scripts import ScriptFailed
from pokemon_env.errors import EmulatorError, MilestoneAlreadyCompleted
from tasks.recorded_starts import StartStateError


class MilestoneFailed(Exception):  # noqa: N818 - an outcome, which a record keeps
    """This milestone cannot be learned; the text is the record's reason."""


REASONS = (
    CheckpointError,
    EmulatorError,
    MilestoneAlreadyCompleted,
    MilestoneFailed,
    OSError,
    PolicyError,
    SandboxError,
    ScriptFailed,
    StartStateError,
    ValueError,
)
"""Errors whose text says all that a record needs."""
