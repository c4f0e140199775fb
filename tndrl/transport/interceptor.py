"""The gate in front of every handler: only calls of verified peers pass, and they are counted."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from tndrl.transport import registry


class CallCounter:
    """Counts running calls, from any thread; tells when the first begins and the last ends."""

    def __init__(self, on_change: Callable[[int], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._total = 0
        self._on_change = on_change

    @property
    def running(self) -> int:
        """Calls that run now."""
        return self._running

    @property
    def total(self) -> int:
        """Calls begun since the start."""
        return self._total

    def __enter__(self) -> None:
        with self._lock:
            self._running += 1
            self._total += 1
            self._tell()

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._running -= 1
            self._tell()

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(self._running)


class PeerInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls over local connections that no verified peer stands behind (UNAUTHENTICATED)."""

    def __init__(self, calls: CallCounter) -> None:
        self._calls = calls

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Wrap whichever of its four behaviours the handler has."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        behaviour = getattr(handler, kind)
        wrap = self._wrap_stream if handler.response_streaming else self._wrap_unary
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        wrapped: grpc.RpcMethodHandler = make(
            wrap(behaviour), handler.request_deserializer, handler.response_serializer
        )
        return wrapped

    def _wrap_unary(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        if not inspect.iscoroutinefunction(_function_of(behaviour)):

            def call_in_thread(request: object, context: grpc.ServicerContext) -> object:
                _admit_sync(context)
                with self._calls:
                    return behaviour(request, context)

            return call_in_thread

        async def call(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> object:
            await _admit(context)
            with self._calls:
                return await behaviour(request, context)

        return call

    def _wrap_stream(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        function = _function_of(behaviour)
        if inspect.isasyncgenfunction(function):

            async def stream(
                request: object, context: grpc.aio.ServicerContext[Any, Any]
            ) -> AsyncIterator[object]:
                await _admit(context)
                with self._calls:
                    async for response in behaviour(request, context):
                        yield response

            return stream
        if inspect.iscoroutinefunction(function):
            return self._wrap_unary(behaviour)  # writes with context.write()

        def stream_in_thread(request: object, context: grpc.ServicerContext) -> Any:
            _admit_sync(context)
            with self._calls:
                yield from behaviour(request, context)

        return stream_in_thread


def _function_of(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    """Return what decides the kind of a behaviour: a callable object's ``__call__``."""
    if inspect.isfunction(behaviour) or inspect.ismethod(behaviour):
        return behaviour
    return behaviour.__call__


_NOT_VERIFIED = "this connection does not come from a verified peer"


async def _admit(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    peer = registry.lookup(context.peer())
    if peer is None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, _NOT_VERIFIED)
    registry.enter(peer)


def _admit_sync(context: grpc.ServicerContext) -> None:
    peer = registry.lookup(context.peer())
    if peer is None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, _NOT_VERIFIED)
    registry.enter(peer)
