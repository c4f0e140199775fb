"""The accepting side: how it begins to listen, what it says of itself, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support import streams
from support.streams import Echo, RawClient
from tndrl.errors import ConfigError, UsageError
from tndrl.transport import listener as listener_module
from tndrl.transport import udp_options
from tndrl.transport.codes import ErrorCode
from tndrl.transport.listener import MuxListener


@pytest.fixture
async def stage(short_dir: Path) -> AsyncIterator[tuple[MuxListener, Echo]]:
    """Yield a listener with an echo on 0x10, and the echo."""
    async with asyncio.timeout(30), streams.listening(short_dir) as both:
        yield both


async def test_closing_tells_code_and_reason(short_dir: Path) -> None:
    """Leaving the listener closes every connection as a shutdown, once."""
    async with streams.listening(short_dir) as (listener, _echo), RawClient(listener.address) as peer:
        await listener.aclose(reason="for today")
        closed = await peer.closed()
        assert (closed.code, closed.reason) == (ErrorCode.SHUTDOWN, "for today")
        await listener.aclose()
        assert listener.stats()["handshakes_completed"] == 1


async def test_settle_waits_for_streams_and_no_longer(stage: tuple[MuxListener, Echo]) -> None:
    """Settling returns when the streams have ended, and after its timeout when they have not."""
    listener, _echo = stage
    async with RawClient(listener.address) as peer, asyncio.timeout(2):
        await listener.settle(60)
        await streams.echoes(peer, 0)
        await listener.settle(0.05)
        assert listener.stats()["streams_open"] == 1
        peer.send(0, b"", end=True)
        await listener.settle(60)
        assert listener.stats()["streams_open"] == 0


async def test_a_port_in_use_names_address_and_cure(stage: tuple[MuxListener, Echo]) -> None:
    """A taken address is a mistake of the configuration, with its key."""
    listener, _echo = stage
    port = int(listener.address.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: .*choose another") as raised:
        await MuxListener(streams.credentials(), host="127.0.0.1", port=port).__aenter__()
    assert raised.value.key == "server.addr"


async def test_repr_and_address(stage: tuple[MuxListener, Echo]) -> None:
    """The representation tells where it listens and for how many; outside there is no address."""
    listener, _echo = stage
    assert repr(listener) == f"<MuxListener {listener.address}, 0 peers, 0 streams>"
    outside = MuxListener(streams.credentials())
    assert "not listening" in repr(outside)
    with pytest.raises(UsageError, match="async with"):
        _ = outside.address


async def test_small_buffers_are_warned_of_once(
    short_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener whose system gives it less says so one time, with the command that changes it."""
    monkeypatch.setattr(
        listener_module, "small_buffers", lambda sock: udp_options.small_buffers(sock, 1 << 30)
    )
    async with streams.listening(short_dir):
        pass
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [("sysctl" in line, "KiB" in line) for line in warnings] == [(True, True)]
