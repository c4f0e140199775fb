"""The line between two namespaces."""

import socket
from random import Random

import pytest

from bench.forward import Way, faults
from bench.model import Link
from support.link import Line

UDP = bytes(12) + b"\x08\x00" + bytes(9) + b"\x11" + bytes(50)
ARP = bytes(12) + b"\x08\x06" + bytes(28)


@pytest.fixture
def ends():
    """Two sockets that keep frames apart: what is written to the first is read by the way, and so on."""
    near, source = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for sock in (source, far):
        sock.setblocking(False)
    with near, source, sink, far:
        yield near, source, sink, far


def way_of(source, sink, **link):
    return Way(source, sink, Line(faults(Link(**link)), Random("1")))


def test_a_frame_is_late(ends):
    """A frame arrives after half a round trip, not before, and is counted."""
    near, source, sink, far = ends
    way = way_of(source, sink, rtt=0.1)
    near.send(UDP)
    way.take(10.0)
    assert way.deliver(10.0) == pytest.approx(10.05)
    with pytest.raises(BlockingIOError):
        far.recv(100)
    assert way.deliver(10.06) is None
    assert far.recv(100) == UDP
    assert way.carried == {"tcp": 0, "udp": 1}


def test_a_lost_frame(ends):
    """A frame that the line loses never arrives and counts as nothing."""
    near, source, sink, _far = ends
    way = way_of(source, sink, loss=1.0)
    near.send(UDP)
    way.take(0.0)
    assert way.deliver(1.0) is None
    assert way.carried["udp"] == 0


def test_neighbours_are_found(ends):
    """What is no IPv4 passes at once: the search for a neighbour is not what is measured."""
    near, source, sink, far = ends
    way = way_of(source, sink, loss=1.0)
    near.send(ARP)
    way.take(0.0)
    assert far.recv(100) == ARP


def test_link_of_json():
    """A link survives its way to the forwarder's process."""
    link = Link(rtt=0.02, loss=0.01, rate=5e6, queue=64, blackout=(5.0, 2.0))
    assert Link.of(link.plain()) == link
    assert str(link) == "RTT 20 ms, loss 1%, 5 Mbit/s, queue of 64 packets, dark for 2 s of every 5 s"
