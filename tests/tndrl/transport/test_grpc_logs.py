"""grpcio's log, written by a peer."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from support import streams
from tndrl.transport import http2
from tndrl.transport.grpc_logs import drop_peer_noise
from tndrl.transport.unix import UnixStream


async def test_a_field_that_is_no_text_is_not_logged(
    short_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """LIFE-17: a call with a name in its metadata that is not UTF-8 is answered, and nobody's log grows."""
    odd = streams.headers(streams.fields("Any") | {"x-odd": "x"}).replace(b"x-odd", b"\xff-odd")
    async with asyncio.timeout(10), streams.grpc_server(short_dir / "grpc", {}) as server:
        caller = await UnixStream.connect(server.path)
        await caller.send(http2.PREFACE + http2.SETTINGS + odd + streams.message(end=True))
        seen = b""
        while b"grpc-status" not in seen:
            data = await caller.receive()
            assert data, seen
            seen += data
        await caller.aclose()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("grpc")] == []


def test_other_messages_pass(caplog: pytest.LogCaptureFixture) -> None:
    """What else grpcio has to say is said, however often the filter was installed."""
    drop_peer_noise()
    drop_peer_noise()
    log = logging.getLogger("grpc._cython.cygrpc")
    log.error("Invalid encoding on %s", b"\xff")
    log.error("ExecuteBatchError raised in core by servicer method [/x]")
    log.error("something else")
    assert [record.getMessage() for record in caplog.records] == ["something else"]
