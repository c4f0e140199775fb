"""A model and its tools in turns, until the model has said all it has to say.

Importing this loads the agent library and the MCP SDK, which take a second: see ``tndrl.llm.mcphost``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence

from pydantic_ai import (
    Agent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    RunContext,
    TextPart,
    TextPartDelta,
    Tool,
    UsageLimits,
    UserPromptPart,
)
from pydantic_ai.exceptions import AgentRunError, ModelAPIError, ToolFailed, UsageLimitExceeded
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_core import SchemaValidator, core_schema

from tndrl.errors import ProviderError
from tndrl.llm import chat_api
from tndrl.llm.provider import Turn, last_prompt
from tndrl.llm.services import ModelPlace
from tndrl.llm.tool_servers import ToolServer
from tndrl.llm.tool_session import ToolFailedError, ToolSession

NAME_LENGTH = 64
"""Characters of a tool's name at most, of letters, digits, hyphens and underscores, as the API demands."""


_FAILURES = (AgentRunError, AttributeError, TypeError, LookupError, *chat_api.FAILURES)
"""What a model's answer can end a run with; the library takes the shape of every piece for granted."""

_ARGUMENTS = SchemaValidator(core_schema.dict_schema(core_schema.str_schema()))
"""Refuses arguments that have no names, so that the model is told; what they mean is the tool's to check."""


class AgentLoop:
    """Answers prompts with a model that may use the tools of MCP servers.

    ``max_steps`` is how many rounds of tool calls one prompt may take, 0 for any number; ``silence`` how many
    seconds may pass without a sign of the model or a tool.
    """

    def __init__(
        self,
        place: ModelPlace,
        servers: Sequence[ToolServer],
        *,
        system_prompt: str | None = None,
        max_steps: int = 0,
        silence: float = chat_api.SILENCE,
    ) -> None:
        self._place = place
        self._system_prompt = system_prompt
        self._max_steps = max_steps
        self._silence = silence
        self._client = chat_api.make_client(place)
        provider = OpenAICompatibleProvider(place.service, openai_client=self._client)
        # Without the flag an answer that broke off would count as a whole one.
        profile = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
        self._model = OpenAIChatModel(place.model, provider=provider, profile=profile)
        self._sessions = [ToolSession(server) for server in servers]

    async def reply(self, turns: Sequence[Turn]) -> AsyncGenerator[str]:
        """Answer as ``Provider.reply`` says."""
        prompt = last_prompt(turns)
        agent = Agent(self._model, instructions=self._system_prompt, tools=await self._tools())
        limits = UsageLimits(request_limit=self._max_steps + 1 if self._max_steps else None)
        begun = False
        apart = ""
        try:
            async with agent.run_stream_events(
                prompt, message_history=_history(turns[:-1]), usage_limits=limits
            ) as events:
                while event := await chat_api.within(self._silence, anext(events, None)):
                    if isinstance(event, PartStartEvent) and begun:
                        apart = "\n\n"  # what the model says after a tool's answer is a new paragraph
                    if text := _text(event):
                        yield apart + text
                        begun, apart = True, ""
        except UsageLimitExceeded:
            raise self._too_many_steps() from None
        except _FAILURES as exc:
            ended_early = type(exc) is ModelAPIError and exc.__cause__ is None
            raise chat_api.failure(self._place, chat_api.BrokenOffError() if ended_early else exc) from None

    async def aclose(self) -> None:
        """Take leave of the tool servers, end their programs and close the connections to the model."""
        await asyncio.gather(*(session.aclose() for session in self._sessions))
        await self._client.close()

    async def _tools(self) -> list[Tool[None]]:
        """Return every tool under a name that no other has; raises ``ProviderError``."""
        lists = await asyncio.gather(*(session.tools() for session in self._sessions))
        tools: dict[str, Tool[None]] = {}
        for session, listed in zip(self._sessions, lists, strict=True):
            for tool in listed:
                name = _free_name(f"{session.server.name}__{tool.name}", tools)
                tools[name] = self._tool(session, tool.name, name, tool.description, tool.input_schema)
        return list(tools.values())

    def _tool(
        self, session: ToolSession, tool: str, name: str, description: str | None, schema: dict[str, object]
    ) -> Tool[None]:
        async def call(context: RunContext[None], /, **arguments: object) -> str:
            # Checked here, before the tool does anything: the limit of requests is looked at afterwards.
            if 0 < self._max_steps < context.run_step:
                raise self._too_many_steps()
            try:
                return await session.call(tool, arguments)
            except ToolFailedError as exc:
                raise ToolFailed(str(exc)) from None

        made = Tool.from_schema(call, name, description, schema, takes_ctx=True)
        made.function_schema.validator = _ARGUMENTS
        return made

    def _too_many_steps(self) -> ProviderError:
        return ProviderError(f"the model wanted more than {self._max_steps} rounds of tool calls")


def _free_name(wanted: str, taken: dict[str, Tool[None]]) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", wanted)
    name = plain[:NAME_LENGTH]
    number = 1
    while name in taken:
        number += 1
        ending = f"_{number}"
        name = plain[: NAME_LENGTH - len(ending)] + ending
    return name


def _history(turns: Sequence[Turn]) -> list[ModelMessage]:
    return [
        ModelRequest([UserPromptPart(turn.text)])
        if turn.role == "user"
        else ModelResponse([TextPart(turn.text)])
        for turn in turns
    ]


def _text(event: object) -> str:
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""
