"""What the system gives of what a UDP socket is asked for (QUIC-27)."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from support import requires
from tndrl.transport import udp_options
from tndrl.transport.udp_options import (
    ask_for_buffers,
    ask_for_errors,
    departure,
    forbid_fragments,
    own_address,
    route_payload,
    small_buffers,
)

HUGE = 1 << 40
"""More than any system gives."""


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6])
def sock(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Yield a UDP socket of either family."""
    with socket.socket(request.param, socket.SOCK_DGRAM) as sock:
        yield sock


class Strict:
    """A socket of a system that refuses what it does not have."""

    family = socket.AF_INET

    def setsockopt(self, *_arguments: object) -> None:
        raise OSError("no")


def test_buffers_grow(sock: socket.socket) -> None:
    """A socket gets more than the system's default, as far as the system allows."""
    for name in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, name, 8192)
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    ask_for_buffers(sock)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > before


def test_small_buffers_are_told_with_their_cure(sock: socket.socket) -> None:
    """Where the system gives less, the warning says how much and which command changes that."""
    requires.linux()
    ask_for_buffers(sock, 16 * 1024)
    assert small_buffers(sock, 16 * 1024) is None
    warning = small_buffers(sock, 4 * 1024 * 1024)
    assert warning is not None
    assert "16 KiB of buffer instead of 4096 KiB" in warning
    assert "'sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304'" in warning


@pytest.mark.parametrize(
    ("platform", "cure"),
    [("darwin", "sysctl -w kern.ipc.maxsockbuf=8388608"), ("plan9", "raise the system's limit")],
)
def test_every_system_has_a_cure(monkeypatch: pytest.MonkeyPatch, platform: str, cure: str) -> None:
    """The command is the system's own, and a sentence where we know of none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        monkeypatch.setattr(udp_options.sys, "platform", platform)
        ask_for_buffers(sock, 16 * 1024)
        assert cure in (small_buffers(sock) or "")


def test_a_system_that_refuses_is_survived() -> None:
    """Neither buffers nor the ban on fragments are worth failing for; the latter is told."""
    ask_for_buffers(Strict(), HUGE)
    assert not forbid_fragments(Strict())


def test_nothing_is_fragmented(sock: socket.socket) -> None:
    """A datagram larger than its way is refused or lost, never sent in pieces (RFC 9000 section 14)."""
    requires.linux()
    assert forbid_fragments(sock)
    level, name = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}[
        sock.family
    ]
    probing = 3
    assert sock.getsockopt(level, name) == probing


def test_errors_are_a_matter_of_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems queue no errors, and need no option."""
    monkeypatch.setattr(udp_options.sys, "platform", "darwin")
    ask_for_errors(Strict())
    monkeypatch.setattr(udp_options.sys, "platform", "plan9")
    assert not forbid_fragments(Strict())


def test_the_platform_is_known() -> None:
    """The table has the systems that are supported."""
    assert {"linux", "darwin"} <= set(udp_options._NO_FRAGMENTS)
    assert sys.platform in udp_options._NO_FRAGMENTS


def test_the_route_tells_its_payload() -> None:
    """What the link to an address carries is known without sending anything, for every form of address."""
    requires.linux()
    own = (socket.IPPROTO_IP, 8, b"")
    payload = route_payload(("127.0.0.1", 9))
    assert payload is not None
    assert payload > 16383
    assert route_payload(("127.0.0.1", 9, own)) == payload
    assert route_payload(("::ffff:127.0.0.1", 9, 0, 0)) == payload
    assert route_payload(("::ffff:127.0.0.1", 9, 0, 0, own)) == payload
    assert 16383 < (route_payload(("::1", 9, 0, 0)) or 0) <= payload


def test_a_route_that_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no route, or a system that does not tell, nothing is promised."""
    assert route_payload(("0.0.0.0.0", 9)) is None
    monkeypatch.setattr(udp_options.sys, "platform", "darwin")
    assert route_payload(("127.0.0.1", 9)) is None


def test_the_own_address_depends_on_the_peer() -> None:
    """Which of our addresses is used is known without sending anything; where no route leads it is none."""
    assert own_address(("127.0.0.5", 9)) in ("127.0.0.1", "127.0.0.5")
    assert own_address(("::1", 9, 0, 0)) == "::1"
    assert own_address(("::ffff:127.0.0.1", 9, 0, 0)) == "::ffff:127.0.0.1"
    assert own_address(("0.0.0.0.0", 9)) is None


def test_the_system_says_why_there_is_no_route() -> None:
    """What is in the way is the system's own error."""
    with pytest.raises(OSError, match=r"\S"):
        departure(("0.0.0.0.0", 9))
