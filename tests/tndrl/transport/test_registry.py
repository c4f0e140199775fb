"""Names that stand for verified peers."""

from __future__ import annotations

import contextvars
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pki.spiffe import SpiffeId
from support import streams
from tndrl.errors import NoAnswerError, UsageError
from tndrl.transport import registry
from tndrl.transport.confirmation import Confirmation
from tndrl.transport.registry import PeerIdentity, peer_identity

PEER = PeerIdentity(SpiffeId.parse(streams.node_id("b")), "192.0.2.1:1")


class Context:
    """All that the registry asks of a call: whose connection it is on."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer(self) -> str:
        return self._peer


def alone(function: Callable[[], object]) -> object:
    """Call a function with context variables of its own."""
    return contextvars.copy_context().run(function)


def test_a_name_stands_for_its_peer_until_it_is_forgotten(short_dir: Path) -> None:
    """A registered name is known as gRPC reports it, and unknown afterwards."""
    name = registry.register(short_dir, PEER)
    assert registry.lookup(f"unix:{name}") == PEER
    assert peer_identity(Context(f"unix:{name}")) is PEER
    registry.unregister(name)
    assert registry.lookup(f"unix:{name}") is None
    with pytest.raises(UsageError, match="no verified peer here"):
        peer_identity(Context(f"unix:{name}"))


def test_names_cannot_be_guessed(short_dir: Path) -> None:
    """Each name is fresh, and has 96 random bits."""
    names = {registry.register(short_dir, PEER) for _ in range(100)}
    assert len(names) == 100
    assert all(len(Path(name).name) == 24 for name in names)
    for name in names:
        registry.unregister(name)


def test_forgetting_a_name_removes_its_socket(short_dir: Path) -> None:
    """The file of a name that was bound goes with it, and forgetting twice does nothing."""
    name = registry.register(short_dir, PEER)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(name)
        registry.unregister(name)
        registry.unregister(name)
    assert not list(short_dir.iterdir())


@pytest.mark.parametrize("peer", ["", "unix:", "unix:/nobody", "ipv4:127.0.0.1:1", "unix-abstract:x"])
def test_other_connections_stand_for_nobody(peer: str) -> None:
    """What was not registered is nobody's."""
    assert registry.lookup(peer) is None


def test_the_current_peer_is_the_callers_own() -> None:
    """Outside of a call there is none; inside, it is that of the call, and of no other."""
    with pytest.raises(UsageError, match="in a handler that a Tndrl node serves"):
        alone(peer_identity)

    def inside() -> PeerIdentity:
        registry.enter(PEER)
        return peer_identity()

    assert alone(inside) is PEER
    with pytest.raises(UsageError):
        alone(peer_identity)


def test_a_peer_prints_as_its_id() -> None:
    """An identity reads as its SPIFFE ID."""
    assert str(PEER) == "spiffe://tndrl/node/b"


async def test_early_data_is_known_until_its_handshake_ends(short_dir: Path) -> None:
    """A name says what to wait for while its connection is not confirmed, and nothing once it is."""

    class Confirmed:
        async def wait_confirmed(self) -> None:
            return

    confirmation = Confirmation()
    name, other = registry.register(short_dir, PEER, confirmation), registry.register(short_dir, PEER)
    assert registry.unconfirmed(f"unix:{name}") is confirmation
    assert registry.unconfirmed(f"unix:{other}") is None
    await confirmation.follow(Confirmed())
    assert registry.unconfirmed(f"unix:{name}") is None
    for each in (name, other):
        registry.unregister(each)


def test_a_name_that_goes_first_leaves_nothing(short_dir: Path) -> None:
    """A stream that ends before its handshake does is forgotten with its name."""
    name = registry.register(short_dir, PEER, Confirmation())
    registry.unregister(name)
    assert registry.unconfirmed(f"unix:{name}") is None


async def test_early_data_of_a_handshake_that_failed_stays_early(short_dir: Path) -> None:
    """Nothing that came before the end of a failed handshake is let through by its end."""

    class Failed:
        async def wait_confirmed(self) -> None:
            raise NoAnswerError("b:1", 1)

    confirmation = Confirmation()
    name = registry.register(short_dir, PEER, confirmation)
    await confirmation.follow(Failed())
    assert registry.unconfirmed(f"unix:{name}") is confirmation
    assert not confirmation.wait()
    registry.unregister(name)
