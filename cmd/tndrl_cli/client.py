"""What the commands that call a peer share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tndrl_cli.errors import CallError, ExitCode
from tndrl_cli.options import Invocation

if TYPE_CHECKING:
    from tndrl import Peer
    from tndrl.v1.control_pb2_grpc import ControlServiceAsyncStub

Answer = TypeVar("Answer")


def run(main: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """Run a command's coroutine to its end."""
    # grpcio's own messages are no log of ours, and would stand between the lines of an answer.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    return asyncio.run(main)


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
            if error.code() is grpc.StatusCode.UNAVAILABLE and self.peer.failure is not None:
                raise self.peer.failure from error
            raise CallError(self.peer.address, error.code().name, error.details() or "") from error


@asynccontextmanager
async def control(target: str, invocation: Invocation) -> AsyncIterator[ControlCaller]:
    """Connect to a peer, wait until both sides have accepted each other, and call its Control service.

    Raises what :func:`tndrl.connect` raises.
    """
    import tndrl
    from tndrl.v1.control_pb2_grpc import ControlServiceStub

    async with tndrl.connect(target, config=invocation.config) as peer:
        await peer.confirmed()
        stub = ControlServiceStub(peer.channel(tndrl.StreamType.CONTROL))
        yield ControlCaller(peer, stub, invocation.config.transport.connect_timeout)
