"""The MCP server of ``mcp_server.py``, as nodes reach it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tndrl.llm.tool_servers import ToolServer

PROGRAM = (sys.executable, str(Path(__file__).with_name("mcp_server.py")))


def over_stdio(name: str = "shop", **environment: str) -> ToolServer:
    """Return the server as a program that is started when it is needed."""
    return ToolServer(name, PROGRAM, environment)


def odd(*, pages: int = 1, answer: object = None) -> ToolServer:
    """Return the server of ``odd_mcp_server.py``."""
    program = str(Path(__file__).with_name("odd_mcp_server.py"))
    return ToolServer("odd", (sys.executable, program, str(pages), json.dumps(answer)))


@contextmanager
def over_http(name: str = "web", *, token: str = "open") -> Iterator[ToolServer]:  # noqa: S107 - for tests
    """Run the server in a process of its own; it lets in who brings ``token``."""
    process = subprocess.Popen(
        [*PROGRAM, "http"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TOOL_TOKEN": token},
    )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            yield ToolServer(name, url=url, headers={"Authorization": f"Bearer {token}"})
        finally:
            process.kill()  # it would wait for its clients, and those may be stuck


async def written(path: Path, text: str) -> None:
    """Wait until the file at ``path`` says ``text``; the server that writes it cannot announce it."""

    def look() -> None:
        deadline = time.monotonic() + 10
        while not path.exists() or path.read_text() != text:
            assert time.monotonic() < deadline, f"{path} never said {text}"
            time.sleep(0.01)

    await asyncio.to_thread(look)
