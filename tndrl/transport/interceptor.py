"""What stands in front of every handler: only calls of verified peers pass, and only through the gate."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from tndrl.transport import registry
from tndrl.transport.gate import CallGate
from tndrl.transport.refusal import Refusal
from tndrl.transport.registry import PeerIdentity

ENTRY = 32
"""Bytes that an entry of metadata counts for beside its text (RFC 9113 section 6.5.2)."""


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
                stream, peer = self._admit_in_thread(context)
                try:
                    return behaviour(request, context)
                finally:
                    self._gate.leave(stream, peer)

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
            entered = self._enter(stream, context)
            if isinstance(entered, Refusal):
                # abort() raises, and nobody looks at what a generator raised in its thread.
                context.set_trailing_metadata(entered.trailers())
                context.set_code(entered.code)
                context.set_details(entered.reason)
                return
            try:
                yield from behaviour(request, context)
            finally:
                self._gate.leave(stream, entered)

        return respond_in_thread

    # The name of the stream is kept for leaving: after its call, context.peer() is a read of freed memory in grpcio.

    async def _admit(self, context: grpc.aio.ServicerContext[Any, Any]) -> _Departure:
        stream = context.peer()
        entered = self._enter(stream, context)
        if isinstance(entered, Refusal):
            await context.abort(entered.code, entered.reason, entered.trailers())
        departure = _Departure(self._gate, stream, entered)
        context.add_done_callback(departure.note)  # type: ignore[arg-type] # the stubs name the parameter
        return departure

    def _admit_in_thread(self, context: grpc.ServicerContext) -> tuple[str, PeerIdentity]:
        stream = context.peer()
        entered = self._enter(stream, context)
        if isinstance(entered, Refusal):
            context.set_trailing_metadata(entered.trailers())
            context.abort(entered.code, entered.reason)
        return stream, entered

    def _enter(
        self, stream: str, context: grpc.ServicerContext | grpc.aio.ServicerContext[Any, Any]
    ) -> PeerIdentity | Refusal:
        peer = registry.lookup(stream)
        if peer is None:
            text = "this connection does not come from a verified peer"
            return Refusal(grpc.StatusCode.UNAUTHENTICATED, text)
        # grpcio's own limit holds only once the peer has acknowledged SETTINGS.
        size, limit = _size_of(context.invocation_metadata()), self._gate.limits.metadata
        if size > limit:
            text = f"{size:,} bytes of metadata; at most {limit:,} are taken"
            return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        if (refusal := self._gate.enter(stream, peer)) is not None:
            return refusal
        registry.enter(peer)
        return peer


def _size_of(metadata: Iterable[Any] | None) -> int:
    return sum(len(name) + len(value) + ENTRY for name, value in metadata or ())


class _Departure:
    """Lets a call go once its handler has returned and its answer is written, whichever comes last.

    A drain must cut neither what is still being written nor a handler that cleans up after a cancelled call.
    """

    def __init__(self, gate: CallGate, stream: str, peer: PeerIdentity) -> None:
        self._gate = gate
        self._stream = stream
        self._peer = peer
        self._awaited = 2

    def note(self, _context: object = None) -> None:
        """One of the two has happened."""
        self._awaited -= 1
        if not self._awaited:
            self._gate.leave(self._stream, self._peer)


def _function_of(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    """Return what decides the kind of a behaviour: a callable object's ``__call__``."""
    plain = inspect.isfunction(behaviour) or inspect.ismethod(behaviour)
    return behaviour if plain else type(behaviour).__call__
