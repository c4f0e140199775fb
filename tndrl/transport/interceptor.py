"""What stands in front of every handler: only calls of verified peers pass, and only through the gate."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
import grpc.aio

from tndrl.transport import registry
from tndrl.transport.gate import CallGate
from tndrl.transport.one_request import function_of, reading_one
from tndrl.transport.refusal import SOON, Refusal
from tndrl.transport.registry import PeerIdentity

UNCONFIRMED = Refusal(grpc.StatusCode.UNAVAILABLE, "the handshake did not complete", SOON)

ENTRY = 32
"""Bytes that an entry of metadata counts for beside its text (RFC 9113 section 6.5.2)."""

MOST_WRAPPED = 1024
"""Methods whose handlers are wrapped once; beyond, where any name is a method, they are wrapped for each call."""

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class PeerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Refuses calls over local connections that no verified peer stands behind (UNAUTHENTICATED)."""

    def __init__(self, gate: CallGate, idempotent: Collection[str] = ()) -> None:
        self._gate = gate
        self._idempotent = frozenset(idempotent)  # methods that may be called in early data
        self._wrapped: dict[str, tuple[_Handler, _Handler]] = {}  # by method, with what they were made of

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Wrap whichever of its four behaviours the handler has."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # type: ignore[return-value] # means UNIMPLEMENTED; the stubs leave it out
        method = handler_call_details.method
        known, wrapped = self._wrapped.get(method, (None, None))
        if known is not handler or wrapped is None:
            wrapped = self._wrap(handler, method)
            if len(self._wrapped) < MOST_WRAPPED:
                self._wrapped[method] = handler, wrapped
        return wrapped

    def _wrap(self, handler: _Handler, method: str) -> _Handler:
        answers = "stream" if handler.response_streaming else "unary"
        deserialize = handler.request_deserializer
        if handler.request_streaming:
            behaviour = getattr(handler, f"stream_{answers}")
        else:
            behaviour = getattr(handler, f"unary_{answers}")
            behaviour = reading_one(behaviour, deserialize, streams=handler.response_streaming)
            deserialize = None
        holds = method not in self._idempotent
        wrap = self._wrap_stream if handler.response_streaming else self._wrap_unary
        make = getattr(grpc, f"stream_{answers}_rpc_method_handler")
        wrapped: _Handler = make(wrap(behaviour, holds), deserialize, handler.response_serializer)
        return wrapped

    def _wrap_unary(self, behaviour: Callable[..., Any], holds: bool) -> Callable[..., Any]:
        if not inspect.iscoroutinefunction(function_of(behaviour)):

            def call_in_thread(request: object, context: grpc.ServicerContext) -> object:
                stream, peer = self._admit_in_thread(context, holds)
                try:
                    return behaviour(request, context)
                finally:
                    self._gate.leave(stream, peer)

            return call_in_thread

        async def call(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> object:
            departure = await self._admit(context, holds)
            try:
                return await behaviour(request, context)
            finally:
                departure.note()

        return call

    def _wrap_stream(self, behaviour: Callable[..., Any], holds: bool) -> Callable[..., Any]:
        function = function_of(behaviour)
        if inspect.isasyncgenfunction(function):

            async def respond(
                request: object, context: grpc.aio.ServicerContext[Any, Any]
            ) -> AsyncIterator[object]:
                departure = await self._admit(context, holds)
                try:
                    async with aclosing(behaviour(request, context)) as responses:
                        async for response in responses:
                            yield response
                finally:
                    departure.note()

            return respond
        if inspect.iscoroutinefunction(function):
            return self._wrap_unary(behaviour, holds)  # writes with context.write()

        def respond_in_thread(request: object, context: grpc.ServicerContext) -> Iterator[object]:
            stream = context.peer()
            refusal = self._held_in_thread(stream) if holds else None
            entered = refusal or self._enter(stream, context)
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

    async def _admit(self, context: grpc.aio.ServicerContext[Any, Any], holds: bool) -> _Departure:
        stream = context.peer()
        refusal = await self._held(stream) if holds else None
        entered = refusal or self._enter(stream, context)
        if isinstance(entered, Refusal):
            await context.abort(entered.code, entered.reason, entered.trailers())
        departure = _Departure(self._gate, stream, entered)
        context.add_done_callback(departure.note)  # type: ignore[arg-type] # the stubs name the parameter
        return departure

    def _admit_in_thread(self, context: grpc.ServicerContext, holds: bool) -> tuple[str, PeerIdentity]:
        stream = context.peer()
        refusal = self._held_in_thread(stream) if holds else None
        entered = refusal or self._enter(stream, context)
        if isinstance(entered, Refusal):
            context.set_trailing_metadata(entered.trailers())
            context.abort(entered.code, entered.reason)
        return stream, entered

    # Early data can be replayed by whoever saw it: what must not run twice waits until the client has proved itself.

    async def _held(self, stream: str) -> Refusal | None:
        if (confirmation := registry.unconfirmed(stream)) is None:
            return None
        self._gate.note_held()
        return None if await confirmation.arrived() else UNCONFIRMED

    def _held_in_thread(self, stream: str) -> Refusal | None:
        if (confirmation := registry.unconfirmed(stream)) is None:
            return None
        self._gate.note_held()
        return None if confirmation.wait() else UNCONFIRMED

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
