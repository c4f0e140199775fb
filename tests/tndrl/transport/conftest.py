"""What tests of the transport share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from support import streams


@pytest.fixture
async def quic() -> AsyncIterator[streams.Quic]:
    """Yield a confirmed connection."""
    async with asyncio.timeout(20), streams.connected() as quic:
        yield quic
