"""Answers with a model that may use the tools of MCP servers, as mcphost does for Go nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from tndrl.llm.provider import Turn, last_prompt
from tndrl.llm.services import ModelPlace
from tndrl.llm.tool_servers import ToolServer

if TYPE_CHECKING:
    from tndrl.llm.agent_loop import AgentLoop


class McpHostProvider:
    """Loads the agent library with the first prompt: it would double a node's start and add 50 MiB to an idle one.

    The parameters are those of ``AgentLoop``.
    """

    def __init__(
        self,
        place: ModelPlace,
        servers: Sequence[ToolServer],
        *,
        system_prompt: str | None = None,
        max_steps: int = 0,
    ) -> None:
        self._place = place
        self._servers = servers
        self._system_prompt = system_prompt
        self._max_steps = max_steps
        self._loading = asyncio.Lock()
        self._loop: AgentLoop | None = None

    async def reply(self, turns: Sequence[Turn]) -> AsyncGenerator[str]:
        """Answer as ``Provider.reply`` says."""
        last_prompt(turns)
        loop = await self._loaded()
        async with aclosing(loop.reply(turns)) as pieces:
            async for piece in pieces:
                yield piece

    async def aclose(self) -> None:
        """Take leave of the tool servers, end their programs and close the connections to the model."""
        if self._loop is not None:
            await self._loop.aclose()

    async def _loaded(self) -> AgentLoop:
        async with self._loading:
            if self._loop is None:
                self._loop = await asyncio.to_thread(self._load)
            return self._loop

    def _load(self) -> AgentLoop:
        from tndrl.llm.agent_loop import AgentLoop

        return AgentLoop(
            self._place, self._servers, system_prompt=self._system_prompt, max_steps=self._max_steps
        )
