"""What a client of an agent needs of the peer that serves it, and what a failed call means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import grpc
import grpc.aio
from a2a.utils.errors import A2AError
from google.protobuf.message import Error as ProtobufError

from tndrl.errors import AgentCallError, NoAgentError, TndrlError
from tndrl.transport.codes import ErrorCode


class Line(Protocol):
    """A verified way to a peer; :class:`tndrl.Peer` is one."""

    address: str
    identity: str

    @property
    def failure(self) -> TndrlError | None:
        """Why the connection failed or ended last; None while it lives."""

    def channel(self, stream_type: int, *, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        """Return a channel to the peer's services of ``stream_type``, which connects again after a loss."""


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
