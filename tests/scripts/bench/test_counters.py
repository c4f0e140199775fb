"""What the kernel counts."""

import os
import socket

import pytest

from bench.counters import Usage, sent
from support import requires

SNMP = """Tcp: RtoMin InSegs OutSegs
Tcp: 200 5 7
Udp: InDatagrams NoPorts OutDatagrams
Udp: 1 2 3
"""


def test_parsed():
    """Datagrams and segments are found by their names."""
    assert sent(SNMP) == {"udp": 3, "tcp": 7}


def test_nobody_counts():
    """Where nobody counts nothing was sent, so that no figure is taken."""
    assert sent("") == {"udp": 0, "tcp": 0}


def test_a_datagram_counts():
    """A real datagram is seen."""
    requires.linux()
    before = sent()["udp"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"x", sock.getsockname())
    assert sent()["udp"] > before


def test_usage():
    """A process has used time and holds memory."""
    found = Usage.of(os.getpid())
    assert found.cpu > 0
    assert found.resident > 1_000_000
    assert Usage.of().cpu == pytest.approx(found.cpu, abs=1)
