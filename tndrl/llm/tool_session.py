"""Connections to MCP servers: opened when first needed, kept between prompts, opened again when lost.

One task of its own holds each connection open, because the SDK's cancel scopes must be left by the task that
entered them, and because a broken transport cancels that task: here it ends nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

import httpx2
from mcp import Client, MCPError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from tndrl.errors import ProviderError, peer_text
from tndrl.llm.quiet import quieten
from tndrl.llm.tool_servers import ToolServer

OPEN_TIMEOUT = 30.0
"""Seconds that a server may take to start and to name its tools: some are fetched when first run."""

CALL_TIMEOUT = 120.0
"""Seconds that one call of a tool may take. The model hears of it then, and the server that it was cancelled."""

CLOSE_TIMEOUT = 10.0
"""Seconds for taking leave; the SDK kills a program that stays for more than 4."""

PAGES = 100
"""Of a list of tools at most: one without an end would otherwise be read for ever."""

_FAILURES = (MCPError, TimeoutError, ValueError, RuntimeError)
"""What the SDK raises for a server that is gone, silent, or sends what is no answer."""

logger = logging.getLogger("tndrl.llm")


class ToolFailedError(Exception):
    """A tool could not do what it was asked; the text is for the model."""


class ToolSession:
    """The tools of one server. Use it on one event loop, from any number of tasks."""

    def __init__(
        self, server: ToolServer, *, open_timeout: float = OPEN_TIMEOUT, call_timeout: float = CALL_TIMEOUT
    ) -> None:
        quieten()
        self.server = server
        self._open_timeout = open_timeout
        self._call_timeout = call_timeout
        self._connection: _Connection | None = None

    async def tools(self) -> list[types.Tool]:
        """Return the tools that the model may use, as the server names them now.

        A connection that was lost is opened once more. Raises ``ProviderError``. Cancel-safe.
        """
        if (connection := self._connection) is not None:
            try:
                return await self._list(connection)
            except _FAILURES as exc:
                logger.info("MCP server %s: connecting again (%s)", self._name, type(exc).__name__)
                await self._drop(connection)
        connection = self._connection = self._connection or _Connection(self.server)
        try:
            return await self._list(connection)
        except _FAILURES as exc:
            logger.warning(
                "MCP server %s cannot be used (%s); check its entry, and that it runs by itself",
                self._name,
                " from ".join(_kinds(connection.cause or exc)),
            )
            await self._drop(connection)
            raise ProviderError(f"the tool server {self._name} cannot be used") from None

    async def call(self, tool: str, arguments: Mapping[str, object]) -> str:
        """Return what ``tool`` answers, as text. Raises ``ToolFailedError``; cancelling it cancels the call."""
        if self._connection is None:
            raise ToolFailedError("the tool server is gone")
        try:
            client = await self._connection.client()
            result = await client.call_tool(tool, dict(arguments), read_timeout_seconds=self._call_timeout)
        except MCPError as exc:
            raise ToolFailedError(f"the tool server failed: {exc.error.message}") from None
        except _FAILURES:
            raise ToolFailedError("the tool server sent what is no answer") from None
        text = "\n".join(map(_text, result.content))
        if result.is_error:
            raise ToolFailedError(text or "the tool failed")
        return text

    async def aclose(self) -> None:
        """Close the connection, if there is one, and end the program at its end."""
        if self._connection is not None:
            await self._drop(self._connection)

    @property
    def _name(self) -> str:
        return f"'{peer_text(self.server.name, 60)}'"

    async def _drop(self, connection: _Connection) -> None:
        if self._connection is connection:  # another prompt may have opened a new one meanwhile
            self._connection = None
        await connection.aclose()

    async def _list(self, connection: _Connection) -> list[types.Tool]:
        tools: list[types.Tool] = []
        cursor = None
        async with asyncio.timeout(self._open_timeout):
            client = await connection.client()
            for _ in range(PAGES):
                page = await client.list_tools(cursor=cursor, cache_mode="refresh")
                tools += (tool for tool in page.tools if self.server.offers(tool.name))
                if not (cursor := page.next_cursor):
                    return tools
        raise ValueError("a list without an end")


class _Connection:
    """One open connection and the task that holds it. ``cause`` is what ended it, if anything did."""

    def __init__(self, server: ToolServer) -> None:
        self.cause: Exception | None = None
        self._leave = asyncio.Event()
        self._opened: asyncio.Future[Client | None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(server), name=f"MCP server {server.name}")
        self._task.add_done_callback(self._over)

    async def client(self) -> Client:
        """Return the client once it is connected; raises ``MCPError`` where it cannot be, or is no longer."""
        client = await asyncio.shield(self._opened)
        if client is None or self._task.done():
            raise MCPError(types.CONNECTION_CLOSED, "Connection closed")
        return client

    async def aclose(self) -> None:
        """End the connection; it is over when this returns, even where it is cancelled."""
        self._leave.set()
        if self._opened.done():
            await asyncio.wait({self._task}, timeout=CLOSE_TIMEOUT)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _hold(self, server: ToolServer) -> None:
        try:
            async with _client(server) as client:
                self._opened.set_result(client)
                await self._leave.wait()
        except Exception as exc:  # whoever waits, or calls next, hears of it
            self.cause = exc

    def _over(self, _task: asyncio.Task[None]) -> None:
        """Let go whoever waits; a task that is cancelled before it began could not."""
        if not self._opened.done():
            self._opened.set_result(None)


@asynccontextmanager
async def _client(server: ToolServer) -> AsyncIterator[Client]:
    if not server.command:
        timeout = httpx2.Timeout(OPEN_TIMEOUT, read=CALL_TIMEOUT)
        async with (
            httpx2.AsyncClient(headers=dict(server.headers), timeout=timeout) as http,
            Client(streamable_http_client(server.url, http_client=http)) as client,
        ):
            yield client
        return
    program, *arguments = server.command
    parameters = StdioServerParameters(command=program, args=arguments, env=dict(server.environment))
    with _nowhere() as nowhere:
        async with Client(stdio_client(parameters, errlog=nowhere)) as client:
            yield client


def _nowhere() -> TextIO:
    """Return where a program's standard error goes: it may be anything, the program's token for example."""
    return Path(os.devnull).open("w")


def _text(block: types.ContentBlock) -> str:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.EmbeddedResource) and isinstance(block.resource, types.TextResourceContents):
        return block.resource.text
    return f"({block.type}: not text, and left out)"


def _kinds(exc: BaseException) -> Iterator[str]:
    """Yield the classes of ``exc`` and of those in it, outermost first."""
    yield type(exc).__name__
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from _kinds(inner)
