"""From an exception to one line for a person, an object for a program, and an exit code."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from pathlib import Path

import click

from tndrl.errors import (
    CardIdentityError,
    ConfigError,
    ConnectError,
    ConnectionClosedError,
    IdentityError,
    TndrlError,
    UsageError,
    peer_text,
)


class ExitCode(IntEnum):
    """What the commands end with."""

    DONE = 0
    FAILED = 1
    """A call was refused or failed; ``serve`` ended before its calls did."""
    USAGE = 2
    """The command line or the configuration is wrong."""
    UNREACHABLE = 3
    """There was no connection, or it ended before the answer."""
    IDENTITY = 4
    """A certificate or an identity was refused, by either side."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""


_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (ConfigError, ExitCode.USAGE),
    (UsageError, ExitCode.USAGE),
    (click.UsageError, ExitCode.USAGE),
    (ConnectError, ExitCode.UNREACHABLE),
    (ConnectionClosedError, ExitCode.UNREACHABLE),
    (IdentityError, ExitCode.IDENTITY),
    (CardIdentityError, ExitCode.IDENTITY),
)
"""The first class that fits decides; anything else has FAILED."""

_CURES = {
    "DEADLINE_EXCEEDED": "try again, or give it longer with --transport-connect-timeout",
    "PERMISSION_DENIED": "call as an identity that may, or have yours added there",
    "RESOURCE_EXHAUSTED": "try again later",
    "UNAVAILABLE": "try again when the node is ready",
    "UNIMPLEMENTED": "check that it is a Tndrl node of this version",
}


class CallError(TndrlError):
    """A call that reached ``address`` came back as a failure: a gRPC status in words and the peer's explanation."""

    def __init__(self, address: str, status: str, details: str) -> None:
        super().__init__(address, status, details)
        self.address = address
        self.status = status
        self.details = details

    def __str__(self) -> str:
        said = f": {peer_text(self.details)}" if self.details else ""
        cure = f"; {_CURES[self.status]}" if self.status in _CURES else ""
        return f"{self.address} answered {self.status}{said}{cure}"


class NotMeasuredError(TndrlError):
    """No datagram was "sent" to, or "received" from, a peer while it was measured: there is no figure."""

    def __init__(self, address: str, way: str) -> None:
        super().__init__(address, way)
        self.address = address
        self.way = way

    def __str__(self) -> str:
        return f"{self.address} was not measured: no datagram was {self.way} meanwhile; try it again"


class ShutdownRefusedError(TndrlError):
    """The peer does not shut down, for the ``reason`` it gave."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.address} does not shut down: {peer_text(self.reason)}; --force ends it at once"


class TaskError(TndrlError):
    """A task of the agent at ``address`` ended in ``state``, which is not COMPLETED, for the ``reason`` it gave."""

    def __init__(self, address: str, task_id: str, state: str, reason: str) -> None:
        super().__init__(address, task_id, state, reason)
        self.address = address
        self.task_id = task_id
        self.state = state
        self.reason = reason

    def __str__(self) -> str:
        why = f": {peer_text(self.reason)}" if self.reason else ""
        return f"task {peer_text(self.task_id)} at {self.address} is {self.state}{why}"


def innermost(error: BaseException) -> BaseException:
    """Return the one exception in a group of one, as task groups raise it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code for an exception."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


def lines(error: BaseException, *, verbose: bool) -> list[str]:
    """Return what to tell a person: a line per problem and, if ``verbose``, one per cause."""
    found = [_sentence(error, verbose=verbose), *getattr(error, "__notes__", [])]
    if verbose:
        found += [
            f"because of {type(cause).__name__}: {peer_text(str(cause), 500)}" for cause in _causes(error)
        ]
    return found


def as_object(error: BaseException, *, verbose: bool) -> dict[str, object]:
    """Return what to tell a program: the class, the message, the exit code and the facts the exception carries."""
    first, *rest = lines(error, verbose=verbose)
    facts = vars(error).items() if isinstance(error, TndrlError) else ()
    plain = {key: value for key, value in facts if isinstance(value, (str, int, float))}
    about = {"type": type(error).__name__, "message": first, "exit_code": int(exit_code(error))}
    return {"error": plain | about | ({"more": rest} if rest else {})}


def _sentence(error: BaseException, *, verbose: bool) -> str:
    if isinstance(error, TndrlError):
        return str(error)
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "tndrl"
        message = error.format_message().rstrip(".")
        return f"{message[:1].lower()}{message[1:]}; see '{command} --help'"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''} (error {error.errno} of the system)"
    place = f" at {_place(error)}" if verbose else "; run it again with -v for the place"
    return f"a bug in tndrl: {type(error).__name__}: {peer_text(str(error), 500)}{place}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what an exception was raised from, or while handling."""
    seen = {id(error)}
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}"


def wants_json(arguments: list[str]) -> bool:
    """Whether the command line asks for JSON, also where it cannot be parsed."""
    separate = {("-o", "json"), ("--output", "json")} & set(pairwise(arguments))
    return bool(separate or {"-ojson", "--output=json"} & set(arguments))
