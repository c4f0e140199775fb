"""The Go peer of the interop suite, called by us."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.peers.node import connecting as connecting
from support import go_peer


@asynccontextmanager
async def serving(folder: Path, host: str, _params: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Build the peer and have it serve."""
    program = go_peer.build(folder)
    async with go_peer.running(program) as peer:
        served = await peer.do("serve", pki=str(folder / "server"), addr=f"{host}:0")
        yield {"port": int(served["addr"].rpartition(":")[2]), "pid": peer.pid}
