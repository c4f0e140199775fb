"""The serving side of one measurement, in a process of its own: says where it serves, and ends with its input."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from bench.model import Peer
from bench.peers import make_of


async def serve(peer: Peer, folder: Path, host: str, params: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    async with make_of(peer).serving(folder, host, params) as facts:
        print(json.dumps({"pid": os.getpid(), "host": host, **facts}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
