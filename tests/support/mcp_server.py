"""A real MCP server with a few tools; run it over standard input and output, or with ``http`` over HTTP.

Over HTTP it listens on a free port and prints the URL. What ``TOOL_TOKEN`` holds it repeats in errors, and over
HTTP it wants it as the bearer token.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Image, MCPServer

server = MCPServer("workshop")


@server.tool()
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
def environment() -> str:
    """Name the variables that this server was started with."""
    return " ".join(sorted(os.environ))


@server.tool()
def fail() -> str:
    """Fail with a message."""
    raise ValueError("the disk is full")


@server.tool()
def picture() -> Image:
    """Return what is no text."""
    return Image(data=b"\x89PNG", format="png")


@server.tool()
def crash() -> str:
    """End the server at once."""
    os._exit(1)


@server.tool()
def count(path: str) -> str:
    """Write one more letter into a file, to show how often this was called."""
    with Path(path).open("a") as file:
        file.write("x")
    return "counted"


def note(path: str, text: str) -> None:
    """Replace what a file says at once."""
    Path(f"{path}.new").write_text(text)
    Path(f"{path}.new").replace(path)


@server.tool()
async def hang(path: str) -> str:
    """Write to ``path`` that it runs, then wait until it is cancelled, and write that too."""
    note(path, "running")
    try:
        await asyncio.sleep(3600)
    finally:
        note(path, "cancelled")
    return "never"


class Guard:
    """Lets only those in who bring the token."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._wanted = f"Bearer {os.environ.get('TOOL_TOKEN', '')}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"authorization") != self._wanted:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": self._wanted})
        else:
            await self._app(scope, receive, send)


def serve_http() -> None:
    """Serve until standard input ends."""
    import socket

    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(Guard(server.streamable_http_app()), log_level="critical", lifespan="on")
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    print(f"started with {os.environ.get('TOOL_TOKEN')}", file=sys.stderr)
    serve_http() if sys.argv[1:] == ["http"] else server.run()
