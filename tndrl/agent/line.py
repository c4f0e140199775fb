"""What a client of an agent needs of the peer that serves it, and what a failed call means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
from a2a.utils.errors import A2AError
from google.protobuf.message import Error as ProtobufError

from tndrl.errors import AgentCallError, NoAgentError, TndrlError
from tndrl.transport.codes import ErrorCode

Answer = TypeVar("Answer")

SILENCE = 3.0
"""Seconds without an answer after which the connection is probed, again and again."""
PROBE_TIMEOUT = 3.0
"""Seconds that the peer has to answer a probe."""


class Line(Protocol):
    """A verified way to a peer; :class:`tndrl.Peer` is one."""

    address: str
    identity: str

    @property
    def failure(self) -> TndrlError | None:
        """Why the connection failed or ended last; None while it lives."""

    async def probe(self, timeout: float) -> None:
        """Make sure that the connection lives, and give it up if no answer comes within ``timeout`` seconds."""

    def channel(self, stream_type: int, *, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        """Return a channel to the peer's services of ``stream_type``, which connects again after a loss."""


async def attentive(line: Line, answer: Awaitable[Answer]) -> Answer:
    """Return ``answer``, which may take its time, as long as the peer that is to give it lives.

    A crashed peer would otherwise be noticed by QUIC's idle timeout only, and not at all while others call it.
    """
    waiting = asyncio.ensure_future(answer)
    try:
        while not (await asyncio.wait({waiting}, timeout=SILENCE))[0]:
            await line.probe(PROBE_TIMEOUT)
        return waiting.result()
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})


@contextmanager
def own_errors(line: Line) -> Iterator[None]:
    """Raise what a call on ``line`` raises as errors of ours: a lost connection's cause, else an AgentError."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _explain(error, line) from error
    except NotImplementedError as error:
        raise AgentCallError(line.address, "UNIMPLEMENTED", str(error)) from error
    except TimeoutError as error:
        raise AgentCallError(line.address, "DEADLINE_EXCEEDED", "no answer in time") from error
    except (ValueError, A2AError, ProtobufError) as error:
        raise AgentCallError(line.address, "INTERNAL", "its answer does not fit the protocol") from error


def _explain(error: grpc.aio.AioRpcError, line: Line) -> TndrlError:
    details = error.details() or ""
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        if line.failure is not None:
            return line.failure
        if ErrorCode.UNKNOWN_STREAM_TYPE.name in details:
            return NoAgentError(line.address)
    return AgentCallError(line.address, error.code().name, details)
