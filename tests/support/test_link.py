"""The bad network: each fault is the one that was asked for, and comes back with the same seed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import groupby, pairwise

import pytest

from support.link import IP_AND_UDP, Delivery, Direction, Faults, Link, Seen, UdpLink, round_trips

TO_NODE, TO_CLIENT = Direction


def numbered(count: int) -> list[bytes]:
    return [index.to_bytes(4, "big") for index in range(count)]


def sent(link: Link, count: int, every: float = 0.001, direction: Direction = TO_NODE) -> list[Delivery]:
    """Return what arrives of ``count`` datagrams, in the order of arrival."""
    arrived = [link.send(data, direction, index * every) for index, data in enumerate(numbered(count))]
    return sorted(delivery for each in arrived for delivery in each)


def test_a_link_without_faults_changes_nothing() -> None:
    """Every datagram arrives at once, as it was."""
    assert sent(Link(1), 3) == [Delivery(index * 0.001, data) for index, data in enumerate(numbered(3))]


def test_the_same_seed_gives_the_same_faults() -> None:
    """A run can be repeated, and another seed is another run."""
    faults = {"loss": 0.2, "jitter": 0.1, "duplicate": 0.2, "reorder": 0.2, "corrupt": 0.2}
    one, again, other = (sent(Link(seed, **faults), 100) for seed in (1, 1, 2))
    assert one == again != other


def test_one_direction_changes_nothing_for_the_other() -> None:
    """What goes to the node meets the same fate whether or not anything comes back."""
    alone, busy = Link(1, loss=0.5), Link(1, loss=0.5)
    sent(busy, 50, direction=TO_CLIENT)
    assert sent(alone, 50) == sent(busy, 50)


@pytest.mark.parametrize(("loss", "burst"), [(0.02, 1), (0.3, 1), (0.3, 3)])
def test_the_share_that_is_lost(loss: float, burst: int) -> None:
    """In the long run the given share is lost, in runs that are multiples of the burst."""
    arrived = {int.from_bytes(data, "big") for _, data in sent(Link(1, loss=loss, burst=burst), 50_000)}
    runs = [len(list(run)) for lost, run in groupby(range(50_000), lambda n: n not in arrived) if lost]
    assert sum(runs) / 50_000 == pytest.approx(loss, rel=0.1)
    assert all(run % burst == 0 for run in runs[:-1])


def test_loss_of_everything() -> None:
    """A link that loses all is dead."""
    assert sent(Link(1, loss=1.0, burst=3), 100) == []


def test_delay_and_jitter_keep_the_order() -> None:
    """Each is late by the delay and at most the jitter more, and none overtakes another."""
    arrived = sent(Link(1, delay=0.05, jitter=0.01), 100)
    assert [data for _, data in arrived] == numbered(100)
    late = [at - index * 0.001 for index, (at, _) in enumerate(arrived)]
    assert 0.05 <= min(late) < max(late) <= 0.06 + 1e-9


def test_duplicates_and_overtaking() -> None:
    """All twice; and what is held back is overtaken by those behind it."""
    twice = [data for _, data in sent(Link(1, duplicate=1.0), 2)]
    assert twice == [data for data in numbered(2) for _ in range(2)]
    order = [data for _, data in sent(Link(1, reorder=0.2), 100)]
    assert sorted(order) == numbered(100) != order


def test_corruption_turns_one_bit() -> None:
    """The share that was asked for differs in a single bit."""
    arrived = [data for _, data in sent(Link(1, corrupt=0.3), 1000)]
    bits = [
        (int.from_bytes(was, "big") ^ int.from_bytes(now, "big")).bit_count()
        for was, now in zip(numbered(1000), arrived, strict=True)
    ]
    assert set(bits) == {0, 1}
    assert 250 < sum(bits) < 350


def test_a_slow_line_with_a_short_queue() -> None:
    """Datagrams follow each other at the rate; those that find the queue full are dropped."""
    link = Link(1, rate=1e6, queue=16)
    arrived = sent(link, 20, every=0.0)
    each = (4 + IP_AND_UDP) * 8 / 1e6
    assert [at for at, _ in arrived] == pytest.approx([each * (index + 1) for index in range(16)])
    assert link.lines[TO_NODE].counts == {"sent": 20, "delivered": 16, "dropped": 4}
    assert len(link.send(b"late", TO_NODE, now=each * 1.5)) == 1


def test_the_link_is_dark_at_the_end_of_each_period() -> None:
    """Two seconds of every five, and whenever it is told to be."""
    link = Link(1, blackout=(5.0, 2.0))
    passes = [bool(link.send(b"x", TO_NODE, now=100.0 + second)) for second in range(10)]
    assert passes == [True, True, True, False, False] * 2
    link.darken(111.5)
    assert [bool(link.send(b"x", TO_CLIENT, now=now)) for now in (110.0, 111.0, 112.0)] == [
        False,
        False,
        True,
    ]


def test_directions_may_differ() -> None:
    """Faults of one direction leave the other alone."""
    link = Link(1, to_node=Faults(loss=1.0))
    assert (link.send(b"x", TO_NODE, 0.0), link.send(b"x", TO_CLIENT, 0.0)) == ([], [(0.0, b"x")])


@pytest.mark.parametrize(
    ("turns", "trips"), [("", 0), ("n", 0), ("nc", 1), ("cnc", 1), ("nnccnc", 2), ("ncncn", 2)]
)
def test_round_trips(turns: str, trips: int) -> None:
    """One for each time that the node speaks after the client."""
    directions = {"n": TO_NODE, "c": TO_CLIENT}
    assert round_trips([Seen(0.0, directions[turn], 1) for turn in turns]) == trips


# Real sockets


class Echo(asyncio.DatagramProtocol):
    """A "node" that answers with what it got and where that came from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data + b" %s %d" % (addr[0].encode(), addr[1]), addr)


@asynccontextmanager
async def echoing(link: Link) -> AsyncIterator[UdpLink]:
    """Run an echo behind a link."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    try:
        async with asyncio.timeout(10), UdpLink(f"{host}:{port}", link, logging=True) as udp:
            yield udp
    finally:
        transport.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def client(udp: UdpLink) -> AsyncIterator[socket.socket]:
    """Yield a socket that is connected to the link."""
    host, _, port = udp.address.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((host, int(port)))
        yield sock


async def ask(sock: socket.socket, text: bytes) -> list[bytes]:
    """Send a datagram; return the words of the answer."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, text)
    return (await loop.sock_recv(sock, 100)).split()


async def test_clients_have_a_port_each() -> None:
    """Two clients at once get their own answers, from a node that sees two ports and not theirs."""
    async with echoing(Link(1)) as udp, client(udp) as one, client(udp) as two:
        first, second = await asyncio.gather(ask(one, b"one"), ask(two, b"two"))
        assert [first[0], second[0]] == [b"one", b"two"]
        ports = {int(first[2]), int(second[2])}
        assert len(ports - {one.getsockname()[1], two.getsockname()[1]}) == 2


async def test_rebinding_changes_the_port_and_then_the_address() -> None:
    """The node sees a new port first, then a new address; or the address that is asked for."""
    async with echoing(Link(1)) as udp, client(udp) as sock:
        seen = [await ask(sock, b"x")]
        for host in (None, None, "127.0.0.9"):
            udp.rebind(host)
            seen.append(await ask(sock, b"x"))
        assert [host for _, host, _ in seen] == [b"127.0.0.1", b"127.0.0.1", b"127.0.0.2", b"127.0.0.9"]
        assert seen[0][2] != seen[1][2]


async def test_rebinding_comes_by_itself() -> None:
    """A link with a period of rebinding does so for as long as it lives."""
    async with echoing(Link(1, rebind=0.02)) as udp, client(udp) as sock:
        ports = set()
        while len(ports) < 3:
            sock.send(b"x")
            await asyncio.sleep(0)
            with suppress(BlockingIOError):  # what is answered to a port that is gone is lost
                ports.add(sock.recv(100).split()[2])
        assert udp.rebindings >= 2


async def test_the_log_tells_what_came_and_when() -> None:
    """Time, direction and size of each datagram, those that are lost included; half a trip takes the delay."""
    async with echoing(Link(1, delay=0.02)) as udp, client(udp) as sock:
        await ask(sock, b"x")
        await ask(sock, b"yy")
        assert [seen.direction for seen in udp.log] == [TO_NODE, TO_CLIENT, TO_NODE, TO_CLIENT]
        assert [udp.log[0].size, udp.log[2].size] == [1, 2]
        assert all(after.at - before.at >= 0.02 for before, after in pairwise(udp.log))
        assert round_trips(udp.log) == 2
        udp.black_out(60.0)
        sock.send(b"zzz")
        await udp.logged(5)
        assert udp.link.lines[TO_NODE].counts == {"sent": 3, "delivered": 2, "dark": 1}


async def test_a_closed_port_behind_the_link_is_survived() -> None:
    """What the system says of a port that nobody has reaches no client and breaks nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with UdpLink(f"127.0.0.1:{port}", Link(1), logging=True) as udp, client(udp) as sock:
        for index in range(3):
            sock.send(b"x")
            await udp.logged(index + 1)
        with pytest.raises(BlockingIOError):
            sock.recv(1)


def test_a_narrow_link_carries_small_datagrams_only() -> None:
    """What is larger than the link's MTU vanishes, from the start or from some moment on."""
    link = Link(1, mtu=100)
    assert len(link.send(bytes(100), TO_NODE, 0)) == 1
    assert link.send(bytes(101), TO_NODE, 0) == []
    link.narrow(50)
    assert link.send(bytes(51), TO_CLIENT, 0) == []
    assert link.lines[TO_NODE].counts["too large"] == link.lines[TO_CLIENT].counts["too large"] == 1
