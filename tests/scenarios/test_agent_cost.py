"""What streaming from a durable agent costs."""

import time

import pytest

import tndrl
from support import agents, nodes
from tndrl.agent.executor import PromptExecutor

LIMIT = 4.0
"""Seconds for 3,000 chunks of 20 bytes."""


@pytest.mark.serial
async def test_small_chunks(short_dir):
    """3,000 chunks of 20 bytes are kept on disk and streamed in less than four seconds."""
    chunk = "twenty bytes of text"
    executor = PromptExecutor(agents.Puppet(*[chunk] * 3000))
    async with (
        tndrl.Node(nodes.config(short_dir / "a"), executor=executor) as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        asking = agents.client(peer, "1.0", streaming=True)
        await agents.stream(asking, "warm up")
        begun = time.monotonic()
        events = await agents.stream(asking, "go")
        assert time.monotonic() - begun < LIMIT
    parts = [part.text for event in events for part in event.artifact_update.artifact.parts]
    assert "".join(parts) == chunk * 3000
