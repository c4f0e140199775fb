"""The gate in front of every handler: only calls of verified peers pass, and they are counted."""

from __future__ import annotations

import inspect
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from tndrl.transport import registry

MAX_CALLS_PER_STREAM = 100
"""Calls of one stream that run at once. A client that keeps to SETTINGS never meets it."""

Refusal = tuple[grpc.StatusCode, str]


class CallGate:
    """Counts running calls, from any thread; bounds those of one stream, and lets none in once it is closed."""

    def __init__(self, on_change: Callable[[int], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._by_stream: Counter[str] = Counter()
        self._total = 0
        self._refusal: str | None = None
        self._on_change = on_change

    def __repr__(self) -> str:
        return f"<CallGate {self._running} running, {self._refusal or 'open'}>"

    @property
    def running(self) -> int:
        """Calls that run now."""
        return self._running

    @property
    def total(self) -> int:
        """Calls let in since the start."""
        return self._total

    def close(self, reason: str) -> None:
        """Refuse every further call with ``reason``; those that run go on."""
        with self._lock:
            self._refusal = reason

    def enter(self, stream: str) -> Refusal | None:
        """Count a call on ``stream``, a name that ``context.peer()`` gives; or return with what it is refused."""
        with self._lock:
            if self._refusal is not None:
                return grpc.StatusCode.UNAVAILABLE, self._refusal
            if self._by_stream[stream] >= MAX_CALLS_PER_STREAM:
                limit = f"more than {MAX_CALLS_PER_STREAM} calls at once on one stream"
                return grpc.StatusCode.RESOURCE_EXHAUSTED, limit
            self._by_stream[stream] += 1
            self._running += 1
            self._total += 1
            self._tell()
        return None

    def leave(self, stream: str) -> None:
        """A call that was let in has ended."""
        with self._lock:
            self._by_stream[stream] -= 1
            if not self._by_stream[stream]:
                del self._by_stream[stream]
            self._running -= 1
            self._tell()

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(self._running)


class PeerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Refuses calls over local connections that no verified peer stands behind (UNAUTHENTICATED)."""

    def __init__(self, gate: CallGate) -> None:
        self._gate = gate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap whichever of its four behaviours the handler has."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # type: ignore[return-value] # means UNIMPLEMENTED; the stubs leave it out
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        behaviour = getattr(handler, kind)
        wrap = self._wrap_stream if handler.response_streaming else self._wrap_unary
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        wrapped: grpc.RpcMethodHandler[Any, Any] = make(
            wrap(behaviour), handler.request_deserializer, handler.response_serializer
        )
        return wrapped

    def _wrap_unary(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        if not inspect.iscoroutinefunction(_function_of(behaviour)):

            def call_in_thread(request: object, context: grpc.ServicerContext) -> object:
                stream = self._admit_in_thread(context)
                try:
                    return behaviour(request, context)
                finally:
                    self._gate.leave(stream)

            return call_in_thread

        async def call(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> object:
            departure = await self._admit(context)
            try:
                return await behaviour(request, context)
            finally:
                departure.note()

        return call

    def _wrap_stream(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        function = _function_of(behaviour)
        if inspect.isasyncgenfunction(function):

            async def respond(
                request: object, context: grpc.aio.ServicerContext[Any, Any]
            ) -> AsyncIterator[object]:
                departure = await self._admit(context)
                try:
                    async with aclosing(behaviour(request, context)) as responses:
                        async for response in responses:
                            yield response
                finally:
                    departure.note()

            return respond
        if inspect.iscoroutinefunction(function):
            return self._wrap_unary(behaviour)  # writes with context.write()

        def respond_in_thread(request: object, context: grpc.ServicerContext) -> Iterator[object]:
            stream = context.peer()
            if (refusal := self._enter(stream)) is not None:
                # abort() raises, and nobody looks at what a generator raised in its thread.
                context.set_code(refusal[0])
                context.set_details(refusal[1])
                return
            try:
                yield from behaviour(request, context)
            finally:
                self._gate.leave(stream)

        return respond_in_thread

    # The name of the stream is kept for leaving: after its call, context.peer() is a read of freed memory in grpcio.

    async def _admit(self, context: grpc.aio.ServicerContext[Any, Any]) -> _Departure:
        stream = context.peer()
        if (refusal := self._enter(stream)) is not None:
            await context.abort(*refusal)
        departure = _Departure(self._gate, stream)
        context.add_done_callback(departure.note)  # type: ignore[arg-type] # the stubs name the parameter
        return departure

    def _admit_in_thread(self, context: grpc.ServicerContext) -> str:
        stream = context.peer()
        if (refusal := self._enter(stream)) is not None:
            context.abort(*refusal)
        return stream

    def _enter(self, stream: str) -> Refusal | None:
        peer = registry.lookup(stream)
        if peer is None:
            return grpc.StatusCode.UNAUTHENTICATED, "this connection does not come from a verified peer"
        if (refusal := self._gate.enter(stream)) is None:
            registry.enter(peer)
        return refusal


class _Departure:
    """Lets a call go once its handler has returned and its answer is written, whichever comes last.

    A drain must cut neither what is still being written nor a handler that cleans up after a cancelled call.
    """

    def __init__(self, gate: CallGate, stream: str) -> None:
        self._gate = gate
        self._stream = stream
        self._awaited = 2

    def note(self, _context: object = None) -> None:
        """One of the two has happened."""
        self._awaited -= 1
        if not self._awaited:
            self._gate.leave(self._stream)


def _function_of(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    """Return what decides the kind of a behaviour: a callable object's ``__call__``."""
    plain = inspect.isfunction(behaviour) or inspect.ismethod(behaviour)
    return behaviour if plain else type(behaviour).__call__
