"""``import tndrl``: every public name, and none of them before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tndrl

NAMES = {
    "Config",
    "MuxDialer",
    "MuxListener",
    "Node",
    "Peer",
    "PeerIdentity",
    "Priority",
    "StreamType",
    "TndrlError",
    "connect",
    "load_config",
    "peer_identity",
}

LOADED = "import sys, tndrl; print(*sorted(n for n in sys.modules if n.partition('.')[0] in {heavy}))"
HEAVY = {"aioquic", "grpc", "cryptography", "google", "msgspec", "yaml", "asyncio", "pki"}


def test_all_names() -> None:
    """These are the names, and dir() lists them."""
    assert set(tndrl._HOME) == NAMES
    assert set(dir(tndrl)) >= NAMES | {"__version__"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_name(name: str) -> None:
    """Each name is there, and is what its home module has."""
    value = getattr(tndrl, name)
    assert value is getattr(sys.modules[tndrl._HOME[name]], name)
    assert value.__doc__


def test_unknown_name() -> None:
    """A name that is not there raises what Python says for any module."""
    with pytest.raises(AttributeError, match="module 'tndrl' has no attribute 'Server'"):
        tndrl.Server  # noqa: B018


def test_import_loads_nothing() -> None:
    """``import tndrl`` loads nothing that takes time."""
    script = LOADED.format(heavy=HEAVY)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
