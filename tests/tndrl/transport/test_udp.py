"""The UDP socket: families, batches, and reports of closed ports (QUIC-27, 28)."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from support import requires, streams
from tndrl.transport import udp
from tndrl.transport.udp import Address, UdpSocket, bind_udp, client_udp, format_address

ANY = "0.0.0.0"  # noqa: S104 - what is expected, not what is bound


class Heard:
    """A socket on the loop and everything it told."""

    def __init__(self, sock: socket.socket, *, offload: bool = True) -> None:
        self.datagrams: list[tuple[bytes, Address]] = []
        self.batches: list[int] = []
        self.closed_ports: list[Address] = []
        self.socket = UdpSocket(
            sock,
            on_datagram=lambda data, address: self.datagrams.append((data, address)),
            on_batch=lambda: self.batches.append(len(self.datagrams)),
            on_port_closed=self.closed_ports.append,
            offload=offload,
        )

    async def until_heard(self, count: int) -> None:
        """Wait until so many datagrams came."""
        await streams.until(lambda: len(self.datagrams) >= count)


@pytest.fixture(params=[True, False], ids=["segments", "single"])
async def heard(request: pytest.FixtureRequest) -> AsyncIterator[Heard]:
    """Yield a socket on the loopback interface, on a system that has UDP_SEGMENT and UDP_GRO or one that has not."""
    made = Heard(bind_udp("127.0.0.1", 0), offload=request.param)
    yield made
    made.socket.close()
    made.socket.close()


@contextmanager
def plain(family: int = socket.AF_INET) -> Iterator[socket.socket]:
    """Yield a socket of the system's, on the loopback interface."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def closed_port() -> Address:
    """Return an address where nobody listens."""
    with plain() as sock:
        return sock.getsockname()


async def test_datagrams_go_both_ways(heard: Heard) -> None:
    """What comes is handed on with its sender, and can be answered."""
    with plain() as peer:
        peer.sendto(b"hello", heard.socket.address)
        await heard.until_heard(1)
        data, address = heard.datagrams[0]
        heard.socket.send(data.upper(), address)
        assert peer.recv(100) == b"HELLO"


async def test_a_burst_is_read_in_batches(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many datagrams are read per wake-up, and each batch is told when it is done."""
    monkeypatch.setattr(udp, "BATCH", 32)
    with plain() as peer:
        for number in range(70):
            peer.sendto(bytes([number]), heard.socket.address)
    await heard.until_heard(70)
    assert heard.batches == [32, 64, 70]


async def test_a_closed_port_is_reported(heard: Heard) -> None:
    """Linux tells an unconnected socket where nobody listens (ip(7), IP_RECVERR)."""
    requires.linux()
    address = closed_port()
    heard.socket.send(b"anybody?", address)
    await streams.until(lambda: bool(heard.closed_ports))
    assert heard.closed_ports == [address]


async def test_a_closed_port_breaks_nothing(heard: Heard) -> None:
    """Sending to closed ports loses no datagram to and from others."""
    addresses = [closed_port() for _ in range(5)]
    with plain() as peer:
        for address in addresses * 3:
            heard.socket.send(b"anybody?", address)
            heard.socket.send(b"you", peer.getsockname())
            assert peer.recv(100) == b"you"
        peer.sendto(b"here", heard.socket.address)
        await heard.until_heard(1)


async def test_a_datagram_too_large_is_dropped(heard: Heard) -> None:
    """What the system refuses is lost, as the network may lose it, and the socket lives on."""
    with plain() as peer:
        heard.socket.send(bytes(70_000), peer.getsockname())
        heard.socket.send(b"small", peer.getsockname())
        assert peer.recv(100) == b"small"


async def test_many_datagrams_keep_their_order_and_borders(heard: Heard) -> None:
    """What is sent together arrives as it was, to each its own, with the system's help or without."""
    with plain() as one, plain() as two:
        sent = [(bytes([number]) * (100 if number % 7 else 60), number % 20 > 9) for number in range(150)]
        heard.socket.send_all([(data, (two if second else one).getsockname()) for data, second in sent])
        for peer, second in ((one, False), (two, True)):
            assert [peer.recv(200) for _ in range(70 + 10 * (not second))] == [
                data for data, other in sent if other is second
            ]


async def test_many_datagrams_arrive_together(heard: Heard) -> None:
    """What another of our sockets sends at once arrives whole, and where the system has it in one batch."""
    other = Heard(bind_udp("127.0.0.1", 0))
    sent = [bytes([number]) * 1000 for number in range(50)]
    other.socket.send_all([(data, heard.socket.address) for data in sent])
    await heard.until_heard(len(sent))
    other.socket.close()
    assert [data for data, _address in heard.datagrams] == sent
    assert heard.batches == [50]


async def test_without_the_option_datagrams_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system without UDP_SEGMENT nothing is sent as one buffer."""
    made = Heard(bind_udp("127.0.0.1", 0), offload=False)
    monkeypatch.setattr(udp, "segment_size", lambda _size: pytest.fail("sent as one buffer"))
    with plain() as peer:
        made.socket.send_all([(b"abc", peer.getsockname())] * 3)
        assert [peer.recv(10) for _ in range(3)] == [b"abc"] * 3
    made.socket.close()


class Picky:
    """A socket whose system does not take several datagrams at once, for a reason of its own."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock = sock
        self._number = number
        self.refused = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)

    def sendmsg(self, *_arguments: object) -> None:
        self.refused += 1
        raise OSError(self._number, "no")


@pytest.mark.parametrize(
    ("number", "arrive", "tries"),
    [(errno.EINVAL, 2, 2), (errno.EMSGSIZE, 2, 2), (errno.EIO, 2, 1), (errno.ENOBUFS, 0, 2)],
)
async def test_a_run_that_the_system_refuses(number: int, arrive: int, tries: int) -> None:
    """What may fit by itself is sent by itself; an interface that cannot do it is not asked again."""
    requires.linux()
    made = Heard(bind_udp("127.0.0.1", 0))
    picky = made.socket._sock = Picky(made.socket._sock, number)
    with plain() as peer:
        for _ in range(2):
            made.socket.send_all([(b"abc", peer.getsockname())] * 2)
        made.socket.send(b"end", peer.getsockname())
        assert [peer.recv(10) for _ in range(2 * arrive + 1)] == [b"abc"] * 2 * arrive + [b"end"]
    made.socket.close()
    assert picky.refused == tries


async def test_a_datagram_too_large_takes_no_other_with_it(heard: Heard) -> None:
    """Of datagrams that are sent together, those that fit arrive."""
    with plain() as peer:
        to = peer.getsockname()
        heard.socket.send_all([(bytes(70_000), to), (b"small", to), (b"small", to)])
        assert [peer.recv(100) for _ in range(2)] == [b"small"] * 2


class Broken:
    """A socket whose system is out of something."""

    family = socket.AF_INET

    def __init__(self, number: int, descriptor: int) -> None:
        self._number = number
        self._descriptor = descriptor
        self.tries = 0

    def getsockname(self) -> Address:
        return ("127.0.0.1", 1)

    def setsockopt(self, *_arguments: object) -> None:
        """Take any option."""

    def fileno(self) -> int:
        return self._descriptor

    def _fail(self, *_arguments: object) -> None:
        self.tries += 1
        raise OSError(self._number, "no")

    sendto = sendmsg = recvfrom = recvmsg = _fail


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENETDOWN, errno.EAGAIN])
async def test_what_the_system_cannot_do_now_is_survived(number: int) -> None:
    """No buffers, no network, no room: nothing is raised for a send or a read."""
    with plain() as sock:
        broken = Broken(number, sock.fileno())
        made = Heard(broken)
        made.socket.send(b"x", ("127.0.0.1", 1))
        made.socket.send_all([(b"x", ("127.0.0.1", 1))] * 3)
        made.socket._read()
        asyncio.get_running_loop().remove_reader(sock.fileno())
    assert made.datagrams == []
    assert made.batches == [0]
    assert broken.tries >= 2


async def test_a_socket_closed_by_its_own_reader(heard: Heard) -> None:
    """Closing the socket while a batch is read ends the batch."""
    heard.socket._on_datagram = lambda *_: heard.socket.close()
    with plain() as peer:
        for _ in range(3):
            peer.sendto(b"x", heard.socket.address)
    heard.socket._read()
    assert heard.batches == []


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_any_address_takes_both_families(family: int) -> None:
    """``::`` takes IPv4 too."""
    with bind_udp("::", 0) as sock, plain(family) as peer:
        peer.sendto(b"hello", (peer.getsockname()[0], sock.getsockname()[1]))
        sock.settimeout(5)
        assert sock.recv(100) == b"hello"


def test_without_ipv6_any_address_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no IPv6, ``::`` stands for ``0.0.0.0``."""
    monkeypatch.setattr(udp, "_ipv6_works", lambda: False)
    with bind_udp("::", 0) as sock:
        assert sock.getsockname()[0] == ANY


def test_whether_ipv6_works_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that cannot make or bind an IPv6 socket has none."""
    monkeypatch.setattr(udp.socket, "AF_INET6", 12345)
    assert not udp._ipv6_works()


def test_an_ipv4_address_written_as_ipv6() -> None:
    """An address of IPv4 in the form of IPv6 is bound, and hears IPv4."""
    with bind_udp("::ffff:127.0.0.1", 0) as bound, plain() as sender:
        sender.sendto(b"x", ("127.0.0.1", bound.getsockname()[1]))
        bound.settimeout(5)
        assert bound.recvfrom(10)[1][0] == "::ffff:127.0.0.1"


def test_a_port_in_use_raises_and_leaves_nothing() -> None:
    """The system's error is raised, and the half-made socket closed."""
    with plain() as taken, pytest.raises(OSError, match="in use"):
        bind_udp("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, ANY), (socket.AF_INET6, "::")])
def test_a_calling_socket_has_any_port(family: int, host: str) -> None:
    """A socket to call from takes whatever port is free, without blocking."""
    with client_udp(family) as sock:
        assert sock.getsockname()[0] == host
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()


def test_a_calling_socket_of_no_family_raises() -> None:
    """A family that the system does not have is the system's error."""
    with pytest.raises(OSError, match="not supported"):
        client_udp(12345)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.1", 1), "192.0.2.1:1"),
        (("2001:db8::1", 2, 0, 0), "[2001:db8::1]:2"),
        (("::ffff:192.0.2.1", 3, 0, 0), "192.0.2.1:3"),
        (("::", 4, 0, 0), "[::]:4"),
    ],
)
def test_addresses_in_words(address: tuple, text: str) -> None:
    """IPv6 stands in brackets, IPv4 in its own form even where it came through an IPv6 socket."""
    assert format_address(address) == text
