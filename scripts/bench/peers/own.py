"""Tndrl's own streams without grpcio and without the bridge: what its transport alone can do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench import framing, load
from bench.model import Ground
from bench.peers.node import configuration
from pki.svid import TrustBundle
from tndrl.errors import TndrlError
from tndrl.node.peer import dialer_of
from tndrl.node.trust import load_credentials, quic_settings
from tndrl.transport.dialer import Target
from tndrl.transport.endpoint import Endpoint, ServerCallbacks
from tndrl.transport.identity import ClientPolicy
from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.session import Session
from tndrl.transport.udp import bind_udp


class _Stream:
    """One of our streams, as the load takes it."""

    def __init__(self, stream: QuicStream) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        """Return what has come."""
        return await self._stream.receive()

    async def write(self, data: bytes) -> None:
        """Send."""
        await self._stream.send(data)

    async def finish(self) -> None:
        """Send nothing more."""
        await self._stream.send_eof()


@asynccontextmanager
async def serving(folder: Path, host: str, params: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Serve the load on streams of the service's type."""
    config = configuration(folder, "server", params, host)
    credentials = load_credentials(config)
    bundle: TrustBundle = credentials.bundle
    async with asyncio.TaskGroup() as group:

        async def serve(stream: QuicStream) -> None:
            try:
                await stream.receive(1)  # the type
                await framing.answer(_Stream(stream))
                await stream.aclose()
            except TndrlError:
                stream.abort(0)

        def ignore(_session: Session) -> None:
            pass

        endpoint = Endpoint(
            bind_udp(host, 0),
            credentials,
            quic_settings(config),
            server=ServerCallbacks(
                verify_peer=ClientPolicy(bundle).verify,
                on_stream=lambda stream: _keep(group.create_task(serve(stream))),
                on_confirmed=ignore,
                on_closed=ignore,
            ),
        )
        try:
            yield {"port": endpoint.address[1]}
        finally:
            endpoint.close()


def _keep(_task: asyncio.Task[None]) -> None:
    """The group owns it."""


@asynccontextmanager
async def connecting(ground: Ground) -> AsyncIterator[framing.StreamConnection]:
    """Connect with the client's identity."""
    config = configuration(ground.folder, "client", ground.params)
    async with dialer_of(config, load_credentials(config)) as dialer:
        target = Target(ground.host, ground.port, None)
        await dialer.dial(target)

        async def open_stream() -> _Stream:
            return _Stream(await dialer.open_stream(target, load.TYPE))

        yield framing.StreamConnection(open_stream)
