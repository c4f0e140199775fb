"""A connection that is closed says so again to a peer that goes on (RFC 9000 section 10.2.1)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from support import streams, virtual
from support.carried import pair
from tndrl.errors import ConnectionClosedError
from tndrl.transport.codes import ErrorCode
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.udp import Address


async def test_few_of_many_datagrams_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first, second, fourth and so on of those that come late are answered, each with the same packet."""
    async with pair(monkeypatch) as carried:
        node = carried.receiver
        node.close(error_code=ErrorCode.SHUTDOWN, reason_phrase="enough")
        last_words = node.datagrams_to_send(now=carried.now)
        answered = []
        for number in range(1, 20):
            node.receive_datagram(carried.packet(ping=True), carried.address, now=carried.now)
            if datagrams := node.datagrams_to_send(now=carried.now):
                assert datagrams == last_words
                answered.append(number)
        assert answered == [1, 2, 4, 8, 16]


async def test_nobody_is_answered_at_an_address_that_was_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may be at an address that somebody made up is sent nothing."""
    async with pair(monkeypatch) as carried:
        node = carried.receiver
        node.close(error_code=ErrorCode.SHUTDOWN, reason_phrase="enough")
        node.datagrams_to_send(now=carried.now)
        node._network_paths[0].is_validated = False
        node.receive_datagram(carried.packet(ping=True), carried.address, now=carried.now)
        assert node.datagrams_to_send(now=carried.now) == []


async def test_a_close_that_is_lost_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer whose CONNECTION_CLOSE was lost hears of it when it sends something, long before its idle timeout."""
    async with streams.connected() as quic:
        await quic.exchange()
        send_all, lost = quic.server_endpoint.send_all, list[bytes]()

        def lose(datagrams: Sequence[tuple[bytes, Address]]) -> None:
            lost.extend(data for data, _address in datagrams)
            monkeypatch.setattr(quic.server_endpoint, "send_all", send_all)

        monkeypatch.setattr(quic.server_endpoint, "send_all", lose)
        quic.server.close(ErrorCode.SHUTDOWN, "enough")
        assert len(lost) == 1
        with pytest.raises(ConnectionClosedError, match="enough"):
            await quic.client.ping()


def test_a_connection_may_be_closed_before_it_has_heard_anything() -> None:
    """A client that made room for another before its first datagram was handled is told nothing, and harms nobody."""
    node = virtual.connection(is_client=False, settings=QuicSettings(), destination=bytes(8))
    node.close(error_code=ErrorCode.SHUTDOWN, reason_phrase="enough")
    node.receive_datagram(bytes(1200), ("192.0.2.9", 1), now=0.0)
    assert not node.has_path


async def test_datagrams_that_come_together_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not to be answered takes nothing from those before it that wait for the same answer."""
    async with pair(monkeypatch) as carried:
        node = carried.receiver
        node.close(error_code=ErrorCode.SHUTDOWN, reason_phrase="enough")
        last_words = node.datagrams_to_send(now=carried.now)
        for _ in range(3):
            node.receive_datagram(carried.packet(ping=True), carried.address, now=carried.now)
        assert node.datagrams_to_send(now=carried.now) == last_words
        assert node.datagrams_to_send(now=carried.now) == []
