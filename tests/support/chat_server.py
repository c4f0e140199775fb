"""A real HTTP server of the OpenAI streaming chat API, whose answers a test writes.

An answer is a coroutine function that gets an ``Exchange``. ``says`` and ``calls`` make the usual ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any


class Exchange:
    """One request, and the connection that its answer goes to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def head(self, status: int = 200, kind: str = "text/event-stream", *headers: str) -> None:
        """Begin the answer; it is chunked."""
        lines = (
            f"HTTP/1.1 {status} Whatever",
            f"Content-Type: {kind}",
            "Transfer-Encoding: chunked",
            *headers,
        )
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def raw(self, data: bytes) -> None:
        """Send bytes of the body."""
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def event(self, event: object) -> None:
        """Send one event: text as it is, all else as JSON."""
        text = event if isinstance(event, str) else json.dumps(event)
        await self.raw(f"data: {text}\n\n".encode())

    async def delta(self, finish: str | None = None, **delta: object) -> None:
        """Send one piece of an answer."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        await self.event(
            {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        )

    async def end(self) -> None:
        """End the body as the protocol says."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def gone(self) -> None:
        """Wait until the client closes the connection."""
        assert await self._reader.read(1) == b""


Answer = Callable[[Exchange], Awaitable[None]]


class ChatServer:
    """What was asked, and what comes next. ``gone`` is set when an answer saw its client go."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while await self._request(reader):
                await self.answers.pop(0)(Exchange(reader, writer))
        except ConnectionError:
            pass  # a client that was cancelled closes in the middle of an answer
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bool:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return False
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        self.paths.append(first.split()[1])
        self.headers.append(headers)
        self.requests.append(json.loads(await reader.readexactly(int(headers["content-length"]))))
        self.asked.set()
        return True

    def hangs(self, *words: str) -> Answer:
        """Return an answer that sends ``words``, then nothing until the client goes, which it notes."""

        async def answer(to: Exchange) -> None:
            if words:
                to.head()
            for word in words:
                await to.delta(content=word)
            await to.gone()
            self.gone.set()

        return answer


def says(*words: str, finish: str | None = "stop") -> Answer:
    """Return an answer of ``words``."""

    async def answer(to: Exchange) -> None:
        to.head()
        for word in words:
            await to.delta(content=word)
        if finish:
            await to.delta(finish)
        await to.event("[DONE]")
        await to.end()

    return answer


def calls(*tools: tuple[str, object], text: str = "") -> Answer:
    """Return an answer that calls tools, each a name and arguments (text goes out as it is)."""
    made = [
        {
            "index": at,
            "id": f"call-{at}",
            "type": "function",
            "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
        }
        for at, (name, given) in enumerate(tools)
    ]

    async def answer(to: Exchange) -> None:
        to.head()
        if text:
            await to.delta(content=text)
        await to.delta(tool_calls=made)
        await to.delta("tool_calls")
        await to.event("[DONE]")
        await to.end()

    return answer


def fails(status: int, body: object = None, *headers: str) -> Answer:
    """Return an answer of an error status."""

    async def answer(to: Exchange) -> None:
        to.head(status, "application/json", *headers)
        await to.raw(json.dumps({"error": {"message": body}}).encode())
        await to.end()

    return answer


def breaks(*events: object, end: bool = True) -> Answer:
    """Return an answer of one good word and then ``events``; without ``end`` the connection just closes."""

    async def answer(to: Exchange) -> None:
        to.head()
        await to.delta(content="Well")
        for event in events:
            await to.event(event)
        if not end:
            raise ConnectionAbortedError
        await to.end()

    return answer


@asynccontextmanager
async def chat_server(*answers: Answer) -> AsyncIterator[ChatServer]:
    """Run a server that gives ``answers``, one per request."""
    state = ChatServer(answers)
    server = await asyncio.start_server(state.serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        state.url = f"http://{host}:{port}/v1"
        yield state
