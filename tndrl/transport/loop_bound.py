"""A gRPC channel whose calls wait where they must, and which says so when it is used from another event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Self

import grpc
import grpc.aio

from tndrl.errors import UsageError
from tndrl.transport.early import EarlyGate
from tndrl.transport.hold import Gate, Hold

MakeChannel = Callable[[Sequence[grpc.aio.ClientInterceptor]], grpc.aio.Channel]
"""Makes a grpcio channel whose calls pass, last of all, through these interceptors."""

RENEWAL = 2.0
"""Seconds that grpcio has to notice that the connection it used before is gone."""


class LoopBoundChannel(grpc.aio.Channel):
    """An ordinary channel, for the event loop that made it. Calls from elsewhere raise UsageError.

    Calls that the gate lets pass go the direct way. Those that must wait go through another grpcio channel, which has
    interceptors; ``make`` sees to it that both share one connection.
    """

    def __init__(
        self,
        make: MakeChannel,
        *,
        gate: Gate,
        on_close: Callable[[LoopBoundChannel], None],
        early: EarlyGate | None = None,
        idempotent: Collection[str] = (),
    ) -> None:
        self._make = make
        self._gate = gate
        self._early = early  # is told of each call that is not idempotent
        self._idempotent = idempotent
        self._hold = Hold(gate, self._renewed)
        self._channel = make([])
        self._holding: grpc.aio.Channel | None = None  # made with the first call that has to wait
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel; running calls have ``grace`` seconds."""
        self._on_close(self)
        await self._channel.close(grace)
        if self._holding is not None:
            await self._holding.close(None)  # which cancels those that wait

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the connectivity state."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is no longer ``last_observed_state``."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the channel is connected, however long the peer is away."""
        await self._gate.opened(waits=True)
        await self._channel.channel_ready()

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        """Return the multi-callable of a unary method."""
        return self._bind("unary_unary", method, options)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        """Return the multi-callable of a method with a stream of responses."""
        return self._bind("unary_stream", method, options)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        """Return the multi-callable of a method with a stream of requests."""
        return self._bind("stream_unary", method, options)

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        """Return the multi-callable of a method with streams both ways."""
        return self._bind("stream_stream", method, options)

    def _bind(self, kind: str, method: tuple[Any, ...], options: dict[str, Any]) -> Callable[..., Any]:
        direct = getattr(self._channel, kind)(*method, **options)

        def start(*request: Any, wait_for_ready: bool | None = None, **call_options: Any) -> Any:
            if asyncio.get_running_loop() is not self._loop:
                raise UsageError(
                    "this channel belongs to another event loop; make one on the loop that calls"
                )
            way = direct
            if not self._gate.is_open(waits=bool(wait_for_ready)):
                way = getattr(self._holding_channel(), kind)(*method, **options)
            return way(*request, wait_for_ready=wait_for_ready, **call_options)

        if self._early is None or method[0] in self._idempotent:
            return start
        return _announced(start, self._early)

    def _holding_channel(self) -> grpc.aio.Channel:
        if self._holding is None:
            self._holding = self._make(self._hold.interceptors)
        return self._holding

    async def _renewed(self) -> None:
        """Wait until grpcio has noticed that the connection from before the wait is gone: it would use it else."""
        ready = grpc.ChannelConnectivity.READY
        if self._channel.get_state() is ready:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEWAL):
                    await self._channel.wait_for_state_change(ready)


def _announced(start: Callable[..., Any], gate: EarlyGate) -> Callable[..., Any]:
    def begin(*request: Any, **options: Any) -> Any:
        gate.begin()
        try:
            call = start(*request, **options)
        except BaseException:
            gate.end()
            raise
        call.add_done_callback(gate.end)
        return call

    return begin
