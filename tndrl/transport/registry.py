"""Who is calling: the identity behind each local connection to a gRPC server, known by the name it is bound to."""

from __future__ import annotations

import secrets
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pki.spiffe import SpiffeId
from tndrl.errors import UsageError
from tndrl.transport.confirmation import Confirmation
from tndrl.transport.unix import checked_path

if TYPE_CHECKING:
    from grpc import ServicerContext
    from grpc.aio import ServicerContext as AioServicerContext


@dataclass(frozen=True)
class PeerIdentity:
    """The verified other end of a call."""

    spiffe_id: SpiffeId
    address: str
    """Where the connection came from, ``host:port``."""
    connection: int = 0
    """Tells connections of one process apart."""

    def __str__(self) -> str:
        return str(self.spiffe_id)


_lock = threading.Lock()
_peers: dict[str, PeerIdentity] = {}
_unconfirmed: dict[str, Confirmation] = {}
_current: ContextVar[PeerIdentity] = ContextVar("tndrl_peer_identity")


def register(directory: Path, peer: PeerIdentity, confirmation: Confirmation | None = None) -> str:
    """Return a fresh, unguessable socket path in ``directory`` that stands for ``peer`` until :func:`unregister`.

    With a ``confirmation`` what comes from there is early data, until that says that the handshake is confirmed.
    """
    path = checked_path(directory / secrets.token_hex(12))
    with _lock:
        _peers[path] = peer
        if confirmation is not None:
            _unconfirmed[path] = confirmation
    return path


def unregister(path: str) -> None:
    """Forget a path, and remove its socket file."""
    with _lock:
        _peers.pop(path, None)
        _unconfirmed.pop(path, None)
    Path(path).unlink(missing_ok=True)


def lookup(grpc_peer: str) -> PeerIdentity | None:
    """Return who stands behind the name that ``context.peer()`` gives, None if it is not one of ours."""
    return _peers.get(grpc_peer.removeprefix("unix:"))  # one step, which needs no lock


def unconfirmed(grpc_peer: str) -> Confirmation | None:
    """Return what to wait for before calls of ``grpc_peer`` are no early data any more; None if they are none."""
    if not _unconfirmed:
        return None
    path = grpc_peer.removeprefix("unix:")
    with _lock:
        confirmation = _unconfirmed.get(path)
        if confirmation is not None and confirmation.is_confirmed:
            del _unconfirmed[path]
            return None
    return confirmation


def enter(peer: PeerIdentity) -> None:
    """Make ``peer`` the caller of the running handler, and of the tasks it starts."""
    _current.set(peer)


def peer_identity(context: ServicerContext | AioServicerContext[Any, Any] | None = None) -> PeerIdentity:
    """Return the verified identity of whoever made the call that is being handled.

    Without ``context`` it works in a handler and in tasks that the handler started. Metadata of the call plays no
    part in it. Raises UsageError outside of a call that came through a Tndrl node.
    """
    found = lookup(context.peer()) if context is not None else _current.get(None)
    if found is None:
        raise UsageError("no verified peer here: call peer_identity() in a handler that a Tndrl node serves")
    return found
