"""Answers come from the address that was called, on hosts that have several."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from support import requires
from tndrl.transport.source import ask_for_source, source_of
from tndrl.transport.udp import Address, UdpSocket, bind_udp


@pytest.fixture
def caller() -> Iterator[socket.socket]:
    """Yield a client's socket on the loopback address that the route would choose."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind(("127.0.0.1", 0))
        caller.settimeout(5)
        yield caller


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])  # noqa: S104 - what the test is about
async def test_an_answer_comes_from_the_address_that_was_called(
    caller: socket.socket, everywhere: str
) -> None:
    """A server on every address answers from the one of them that the datagram was sent to."""
    requires.linux()
    heard: list[tuple[bytes, Address]] = []
    came = asyncio.Event()
    udp = UdpSocket(
        bind_udp(everywhere, 0),
        on_datagram=lambda data, address: heard.append((data, address)),
        on_batch=came.set,
        on_port_closed=lambda _address: None,
        answer_from_destination=True,
    )
    try:
        caller.sendto(b"ping", ("127.0.0.2", udp.address[1]))
        async with asyncio.timeout(5):
            await came.wait()
        ((data, address),) = heard
        udp.send(data, address)
        assert await asyncio.to_thread(caller.recvfrom, 10) == (b"ping", ("127.0.0.2", udp.address[1]))
    finally:
        udp.close()


def test_a_socket_on_one_address_needs_no_telling() -> None:
    """Only a socket on every address is asked where its datagrams went."""
    with bind_udp("127.0.0.1", 0) as sock:
        assert not ask_for_source(sock)


def test_other_control_messages_mean_nothing() -> None:
    """A datagram that came without its destination is answered as the route has it."""
    assert source_of([(socket.SOL_SOCKET, 1, b"1234")]) is None
