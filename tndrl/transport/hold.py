"""Calls that wait before they begin: until there is a connection, or until one that was silent has answered.

grpcio cannot be told to wait for a peer that is away: to it the unix socket is always there. So a call that has to wait
does so in an interceptor, before grpcio sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import grpc
import grpc.aio

from tndrl.errors import TndrlError

Begin = Callable[..., Any]
"""Begins the call, with its details and its request or requests."""


class Gate(Protocol):
    """What decides whether a call may begin."""

    @property
    def failure(self) -> TndrlError | None:
        """Why there is no connection; None if there is one, or nobody wanted one."""

    def is_open(self, *, waits: bool) -> bool:
        """Return whether a call may begin now. ``waits``: it asked to wait until the peer is there."""

    async def opened(self, *, waits: bool) -> bool:
        """Wait until a call may begin; one that does not wait for the peer may then find none. Safe to cancel.

        Returns whether a connection was made meanwhile.
        """


class Hold:
    """Holds the calls of one channel before a closed gate."""

    def __init__(self, gate: Gate, renewed: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._gate = gate
        self._renewed = renewed

    @property
    def interceptors(self) -> Sequence[Any]:
        """One interceptor for each kind of call, which is what grpcio takes."""
        return [kind(self) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]

    async def begin(self, begin: Begin, details: grpc.aio.ClientCallDetails, request: object) -> Any:
        """Begin a call when the gate is open, with what is left of its time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(details.timeout):
                if await self._gate.opened(waits=bool(details.wait_for_ready)):
                    await self._renewed()
        except TimeoutError:
            raise self._too_late() from None
        left = None if details.timeout is None else max(0.0, details.timeout - (loop.time() - began))
        details = grpc.aio.ClientCallDetails(
            details.method, left, details.metadata, details.credentials, details.wait_for_ready
        )
        return await begin(details, request)

    def _too_late(self) -> grpc.aio.AioRpcError:
        failure = self._gate.failure
        words = "no connection before the deadline" + (f": {failure}" if failure is not None else "")
        nothing = grpc.aio.Metadata()
        return grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, nothing, nothing, words, None)


class _Interceptor:
    def __init__(self, hold: Hold) -> None:
        self._hold = hold

    async def _begin(self, continuation: Begin, details: grpc.aio.ClientCallDetails, request: object) -> Any:
        return await self._hold.begin(continuation, details, request)

    intercept_unary_unary: Any = _begin
    intercept_unary_stream: Any = _begin
    intercept_stream_unary: Any = _begin
    intercept_stream_stream: Any = _begin


class _UnaryUnary(_Interceptor, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    pass


class _UnaryStream(_Interceptor, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    pass


class _StreamUnary(_Interceptor, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    pass


class _StreamStream(_Interceptor, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    pass
