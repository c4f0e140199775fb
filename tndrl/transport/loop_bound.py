"""A gRPC channel that says so when it is used from another event loop than its own, instead of hanging."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import grpc
import grpc.aio

from tndrl.errors import UsageError


class LoopBoundChannel(grpc.aio.Channel):
    """An ordinary channel, for the event loop that made it. Calls from elsewhere raise UsageError."""

    def __init__(self, channel: grpc.aio.Channel, *, on_close: Callable[[LoopBoundChannel], None]) -> None:
        self._channel = channel
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

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the connectivity state."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is no longer ``last_observed_state``."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the channel is connected."""
        await self._channel.channel_ready()

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        """Return the multi-callable of a unary method."""
        return self._bind(self._channel.unary_unary(*method, **options))

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        """Return the multi-callable of a method with a stream of responses."""
        return self._bind(self._channel.unary_stream(*method, **options))

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        """Return the multi-callable of a method with a stream of requests."""
        return self._bind(self._channel.stream_unary(*method, **options))

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        """Return the multi-callable of a method with streams both ways."""
        return self._bind(self._channel.stream_stream(*method, **options))

    def _bind(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def start_here(*request: Any, **options: Any) -> Any:
            if asyncio.get_running_loop() is not self._loop:
                raise UsageError(
                    "this channel belongs to another event loop; make one on the loop that calls"
                )
            return start(*request, **options)

        return start_here
