"""A node runtime for agents: gRPC over mutually authenticated QUIC.

Names load when they are first used, so that ``import tndrl`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tndrl._version import __version__ as __version__

if TYPE_CHECKING:
    from tndrl.config import Config as Config
    from tndrl.config import load_config as load_config
    from tndrl.errors import TndrlError as TndrlError
    from tndrl.node.node import Node as Node
    from tndrl.node.peer import Peer as Peer
    from tndrl.node.peer import connect as connect
    from tndrl.transport.dialer import MuxDialer as MuxDialer
    from tndrl.transport.listener import MuxListener as MuxListener
    from tndrl.transport.priority import Priority as Priority
    from tndrl.transport.registry import PeerIdentity as PeerIdentity
    from tndrl.transport.registry import peer_identity as peer_identity
    from tndrl.transport.stream_type import StreamType as StreamType

_HOME = {
    "Config": "tndrl.config",
    "MuxDialer": "tndrl.transport.dialer",
    "MuxListener": "tndrl.transport.listener",
    "Node": "tndrl.node.node",
    "Peer": "tndrl.node.peer",
    "PeerIdentity": "tndrl.transport.registry",
    "Priority": "tndrl.transport.priority",
    "StreamType": "tndrl.transport.stream_type",
    "TndrlError": "tndrl.errors",
    "connect": "tndrl.node.peer",
    "load_config": "tndrl.config",
    "peer_identity": "tndrl.transport.registry",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'tndrl' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
