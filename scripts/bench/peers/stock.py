"""aioquic as it comes: its own asyncio protocol and its streams. Its server asks for no client certificate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration

from bench import framing
from bench.model import Ground

WINDOW = 16 * 1024 * 1024
"""Bytes of flow control, as much as ours grows to."""

DATAGRAM = 1200
"""aioquic's own default."""


class _Stream:
    """A reader and a writer, as the load takes them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """Return what has come."""
        return await self._reader.read(256 * 1024)

    async def write(self, data: bytes) -> None:
        """Send; aioquic never makes its caller wait."""
        self._writer.write(data)
        await self._writer.drain()

    async def finish(self) -> None:
        """Send nothing more."""
        self._writer.write_eof()


def _configuration(params: Mapping[str, Any], **fields: Any) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=["bench"],
        max_datagram_size=int(params.get("datagram", DATAGRAM)),
        max_data=WINDOW,
        max_stream_data=WINDOW,
        **fields,
    )


@asynccontextmanager
async def serving(folder: Path, host: str, params: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Serve the load on streams."""
    configuration = _configuration(params, is_client=False)
    configuration.load_cert_chain(folder / "server" / "tndrl.crt", folder / "server" / "tndrl.key")
    async with asyncio.TaskGroup() as group:
        tasks: set[asyncio.Task[None]] = set()

        def on_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = group.create_task(framing.answer(_Stream(reader, writer)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await serve(host, 0, configuration=configuration, stream_handler=on_stream)
        transport: Any = server._transport  # noqa: SLF001  # it tells its port in no other way
        try:
            yield {"port": transport.get_extra_info("sockname")[1]}
        finally:
            server.close()
            for task in tuple(tasks):
                task.cancel()


@asynccontextmanager
async def connecting(ground: Ground) -> AsyncIterator[framing.StreamConnection]:
    """Connect."""
    configuration = _configuration(ground.params, is_client=True)
    configuration.load_verify_locations(str(ground.folder / "client" / "ca.crt"))
    configuration.server_name = "localhost"
    async with connect(ground.host, ground.port, configuration=configuration) as protocol:

        async def open_stream() -> _Stream:
            return _Stream(*await protocol.create_stream())

        yield framing.StreamConnection(open_stream)
