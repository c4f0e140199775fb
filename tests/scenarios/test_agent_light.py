"""What an agent costs a node that has nothing to do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support import processes

MEBIBYTE = 1024 * 1024


@pytest.mark.serial
async def test_is_light(short_dir: Path) -> None:
    """With an agent a node is READY in less than two seconds, and idle it stays under 130 MiB."""
    began = time.perf_counter()
    async with processes.serving(short_dir, command=processes.SERVE, llm__provider="echo") as process:
        assert time.perf_counter() - began < 2
        assert process.resident < 130 * MEBIBYTE
        process.signal(15)
        assert (await process.ended()).code == 0
