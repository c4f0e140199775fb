"""Who is let in, and how many connections of one identity (QUIC-22)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from pki.alerts import Alert
from pki.spiffe import IdPattern
from rogue.peer import RogueClient
from support import streams
from support.streams import RawClient
from tndrl.config import LimitsConfig
from tndrl.transport import identity_cap
from tndrl.transport.codes import TransportCode
from tndrl.transport.quic_settings import QuicSettings


async def test_only_who_is_allowed_may_connect(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A valid certificate that ``allow`` does not name is refused, counted and logged."""
    caplog.set_level(logging.INFO)
    allow = [IdPattern.parse("spiffe://tndrl/node/friend*")]
    async with streams.listening(short_dir, allow=allow) as (listener, _echo):
        async with RawClient(listener.address, "friend-1"):
            assert len(listener.sessions) == 1
        async with RogueClient(listener.address, streams.honest("stranger")) as stranger:
            assert (await stranger.closed()).alert == Alert.access_denied
        assert listener.stats()["handshakes_refused.access_denied"] == 1
    assert "spiffe://tndrl/node/friend-1 connected from" in caplog.text
    assert "not in server.allow" in caplog.text


def capped(most: int) -> QuicSettings:
    """Return settings under which an identity may have so many connections."""
    return QuicSettings(limits=LimitsConfig(connections_per_identity=most))


async def test_one_identity_has_so_many_connections(short_dir: Path) -> None:
    """The one above the cap is refused with the limit; those there are, and other identities, live on."""
    async with streams.listening(short_dir, settings=capped(2)) as (listener, _echo):
        async with RawClient(listener.address) as one, RawClient(listener.address) as two:
            async with RogueClient(listener.address, streams.honest("raw")) as three:
                closed = await three.closed()
                assert closed.code == TransportCode.CONNECTION_REFUSED
                assert "spiffe://tndrl/node/raw has 2 connections" in closed.reason
                assert "limits.connectionsPerIdentity" in closed.reason
            async with RawClient(listener.address, "another") as other:
                for peer in (one, two, other):
                    await streams.echoes(peer, 0)
        assert listener.stats()["connections_refused"] == 1


async def test_a_dead_connection_makes_room(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer whose old connection is silent gets a new one, on which nothing is served before that is clear."""
    monkeypatch.setattr(identity_cap, "ANSWER_TIMEOUT", 0.3)
    async with (
        streams.listening(short_dir, settings=capped(1)) as (listener, echo),
        RawClient(listener.address) as dead,
    ):
        (before,) = listener.sessions
        dead.connection.receive_datagram = lambda *_: None
        async with RawClient(listener.address) as fresh:
            echoed = asyncio.ensure_future(streams.echoes(fresh, 0))
            await streams.until(lambda: listener._peers._waiting)
            assert echo.opened == 0
            await echoed
            assert before.is_closed
            assert len(listener.sessions) == 1
