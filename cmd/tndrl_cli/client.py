"""What the commands that call a peer share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from tndrl_cli.errors import CallError, ExitCode
from tndrl_cli.options import Invocation

if TYPE_CHECKING:
    from tndrl import Config, Peer
    from tndrl.v1.control_pb2_grpc import ControlServiceAsyncStub

Answer = TypeVar("Answer")

PATIENCE = 1.0
"""Seconds in which the reason of a failed call must be known."""


def run(main: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """Run a command's coroutine to its end."""
    # grpcio's own messages are no log of ours, and would stand between the lines of an answer.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    return asyncio.run(main)


@asynccontextmanager
async def connected(target: str, config: Config) -> AsyncIterator[Peer]:
    """Connect to a peer as :func:`tndrl.connect` does, with the tickets that the last command has left."""
    import tndrl
    from tndrl.transport.ticket_files import FileTickets

    tickets = FileTickets(config.tickets_path(), config.limits.tickets)
    async with tndrl.connect(target, config=config, tickets=tickets) as peer:
        yield peer


async def raise_failure(peer: Peer, error: Exception) -> None:
    """Raise why the connection failed, if that is why a call did; it may be known a moment after the call has ended."""
    from tndrl.errors import TndrlError

    if peer.failure is not None:
        raise peer.failure from error
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            try:
                await peer.confirmed()
            except TndrlError as failure:
                raise failure from error


class ControlCaller:
    """Calls the Control service of one peer and says in our own exceptions what went wrong."""

    def __init__(self, peer: Peer, stub: ControlServiceAsyncStub, timeout: float) -> None:
        self.peer = peer
        self.stub = stub
        self._timeout = timeout

    async def call(self, method: Callable[..., Awaitable[Answer]], request: object) -> Answer:
        """Return the answer, waiting at most as long as connecting may take.

        Raises CallError, or the reason why the connection is gone.
        """
        import grpc

        try:
            return await method(request, timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                await raise_failure(self.peer, error)
            raise CallError(self.peer.address, error.code().name, error.details() or "") from error


@asynccontextmanager
async def control(target: str, invocation: Invocation) -> AsyncIterator[ControlCaller]:
    """Connect to a peer and call its Control service; that it refused us is raised by the first call.

    Raises what :func:`tndrl.connect` raises.
    """
    import tndrl
    from tndrl.v1.control_pb2_grpc import ControlServiceStub

    async with connected(target, invocation.config) as peer:
        stub = ControlServiceStub(peer.channel(tndrl.StreamType.CONTROL))
        yield ControlCaller(peer, stub, invocation.config.transport.connect_timeout)
