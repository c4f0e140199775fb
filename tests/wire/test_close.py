"""CONNECTION_CLOSE with anything in it and in any state (QUIC-25).

That who never hears of it gives up after the idle timeout is in tests/scenarios/test_silence.py.
"""

from __future__ import annotations

import asyncio
import logging

import pytest
from aioquic.tls import Epoch

from rogue import frames
from rogue.frames import frame
from rogue.peer import RogueClient
from support import nodes, streams
from wire.stages import LINE_LIMIT, Stage, check_no_fault
from wire.test_frames import FRAME_ENCODING_ERROR, valid

REASONS = {
    "none": b"",
    "64 KiB": b"x" * 64_000,
    "control characters": b"\x1b[2J\r\nINFO all is well\x00\x7f",
    "no UTF-8": b"\xff\xfe\xc3(\xf0\x9f\x98",
    "characters that turn text around": "\u202egnp.exe\u2066".encode(),
}


async def gone(stage: Stage, open_before: int) -> None:
    """Wait until the node has forgotten the connection and its handshake."""
    await streams.until(
        lambda: (
            (stage.node.stats()["connections_open"], stage.node.stats()["handshakes_open"])
            == (open_before, 0)
        ),
        lambda: asyncio.sleep(0.005),
    )


@pytest.mark.parametrize("kind", [frames.CONNECTION_CLOSE, frames.APPLICATION_CLOSE])
@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
async def test_a_reason(stage: Stage, reason: bytes, kind: int) -> None:
    """Whatever a peer gives as its reason ends its connection alone, and what is logged is short and printable."""
    stage.caplog.set_level(logging.DEBUG, "tndrl")
    before = stage.node.stats()["connections_open"]
    async with RogueClient(stage.node.address, valid()) as rogue:
        assert await rogue.outcome() is None
        fields = (7, 0) if kind == frames.CONNECTION_CLOSE else (7,)
        rogue.inject(frame(kind, *fields, len(reason), data=reason))
        await gone(stage, before)
        lines = [line.getMessage() for line in stage.caplog.records if line.name.startswith("tndrl")]
    assert all(line.isprintable() and line.isascii() and len(line) < LINE_LIMIT for line in lines), lines
    await nodes.ping(stage.victim)
    check_no_fault(stage.caplog)


async def test_a_reason_that_is_not_there(stage: Stage) -> None:
    """A reason longer than its packet is a frame that cannot be."""
    async with RogueClient(stage.node.address, valid()) as rogue:
        assert await rogue.outcome() is None
        rogue.inject(frame(frames.APPLICATION_CLOSE, 7, 65_536, data=b"short"))
        assert (await rogue.closed()).code == FRAME_ENCODING_ERROR
    await nodes.ping(stage.victim)


@pytest.mark.parametrize("epoch", [Epoch.INITIAL, Epoch.HANDSHAKE])
async def test_in_a_handshake(stage: Stage, epoch: Epoch) -> None:
    """A client that closes before its certificate has been seen leaves nothing behind."""
    before = stage.node.stats()["connections_open"]
    async with RogueClient(stage.node.address, valid()) as rogue:
        rogue.connection.datagrams_to_send = lambda _now: []  # its answer to the server's flight stays out
        await rogue.until(lambda: rogue.connection.has_keys(epoch))
        rogue.inject(frame(frames.CONNECTION_CLOSE, 0, 0, 0), epoch)
        await gone(stage, before)
    assert stage.witness.calls == 0
    await nodes.ping(stage.victim)
    check_no_fault(stage.caplog)
