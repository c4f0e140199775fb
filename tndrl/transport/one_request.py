"""Handlers of one request, served as handlers of a stream of requests that read the first.

grpcio's own server for them waits for the message before it calls anybody, and where a client ends its call without a
whole message it never answers. A call that is read here is counted from its first moment, and always answered.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

logger = logging.getLogger("tndrl.transport")

Deserialize = Callable[[bytes], object]


def reading_one(
    behaviour: Callable[..., Any], deserialize: Deserialize | None, *, streams: bool
) -> Callable[..., Any]:
    """Return a behaviour of the same kind that takes a stream of undecoded requests, of which it reads the first.

    ``streams`` says whether it gives a stream of responses. A call without a request, or with one that ``deserialize``
    does not take, is INTERNAL.
    """
    decode = deserialize or bytes
    function = function_of(behaviour)
    if inspect.iscoroutinefunction(function):

        async def call(_requests: object, context: grpc.aio.ServicerContext[Any, Any]) -> object:
            return await behaviour(await _read(context, decode), context)

        return call
    if inspect.isasyncgenfunction(function):

        async def respond(
            _requests: object, context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncIterator[object]:
            async with aclosing(behaviour(await _read(context, decode), context)) as responses:
                async for response in responses:
                    yield response

        return respond

    def call_in_thread(requests: Iterator[bytes], context: grpc.ServicerContext) -> object:
        try:
            request = _decoded(next(requests, None), decode)
        except _UnusableError as error:
            # abort() raises, and nobody looks at what a generator raised in its thread.
            context.set_code(grpc.StatusCode.INTERNAL)
            context.set_details(str(error))
            if streams:
                return iter(())
            context.abort(grpc.StatusCode.INTERNAL, str(error))
        return behaviour(request, context)

    return call_in_thread


def function_of(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    """Return what decides the kind of a behaviour: a callable object's ``__call__``."""
    plain = inspect.isfunction(behaviour) or inspect.ismethod(behaviour)
    return behaviour if plain else type(behaviour).__call__


async def _read(context: grpc.aio.ServicerContext[Any, Any], decode: Deserialize) -> object:
    data = await context.read()  # bytes, or an object that says that there are none
    try:
        return _decoded(data if isinstance(data, bytes) else None, decode)
    except _UnusableError as error:
        await context.abort(grpc.StatusCode.INTERNAL, str(error))


class _UnusableError(Exception):
    """There is no request that a handler could take."""


def _decoded(data: Any, decode: Deserialize) -> object:
    if data is None:
        raise _UnusableError("the call ended before its message")
    try:
        return decode(data)
    except Exception as error:
        logger.debug("a message cannot be parsed", exc_info=True)
        raise _UnusableError("the message cannot be parsed") from error
