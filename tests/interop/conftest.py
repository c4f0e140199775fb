"""The peer of another make, built once a run, and certificates that both makes read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support import go_peer


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go peer's program."""
    base = tmp_path_factory.getbasetemp()
    return go_peer.build(base.parent if base.name.startswith("popen-") else base)


@pytest.fixture
async def go(go_program: Path) -> AsyncIterator[go_peer.GoPeer]:
    """A running Go peer."""
    async with go_peer.running(go_program) as peer:
        yield peer
