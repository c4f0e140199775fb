"""A line of 10 Mbit/s before a node, in a process of its own: one that shares a loop with its users is late itself."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.link import Link, UdpLink


def slow_line() -> Link:
    """Return a line of 10 Mbit/s with 1 ms of round trip, and a short queue of the packets that every path carries."""
    return Link(1, rate=10e6, queue=16, delay=0.0005, mtu=1200)


@asynccontextmanager
async def before(target: str) -> AsyncIterator[str]:
    """Put the line before the node at ``target``; yields the address that leads through it."""
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, target, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()  # which ends it
        await process.communicate()


async def main(target: str) -> None:
    """Be the line, until standard input ends."""
    loop = asyncio.get_running_loop()
    async with UdpLink(target, slow_line()) as link:
        print(link.address, flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
