"""The agent of one node: both versions of A2A on its gRPC server, and all that lives behind them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Self

import a2a.client  # noqa: F401 - before a2a.compat, which otherwise hides its 0.3 transport from the SDK's clients
import grpc.aio
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
from a2a.server.agent_execution import AgentExecutor, RequestContext, SimpleRequestContextBuilder
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler, RequestHandler
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import Message, SendMessageRequest, Task, a2a_pb2_grpc

from pki.spiffe import SpiffeId
from tndrl.agent.card import make_card, media_types
from tndrl.agent.context import CallContextBuilder
from tndrl.agent.executor import PromptExecutor
from tndrl.agent.parts import check_message
from tndrl.agent.supervisor import NotingStore, SupervisedExecutor
from tndrl.config import Config
from tndrl.llm.make import make_provider

INTERRUPTED_TIMEOUT = 3600.0
"""Seconds that a task that waits for its caller stays in memory; the store has it for longer."""


class Admission(SimpleRequestContextBuilder):
    """Refuses what no executor should get, before there is a task; ``take`` raises A2AError for what ours cannot."""

    def __init__(self, take: Callable[[Message], object]) -> None:
        super().__init__()
        self._take = take

    async def build(
        self,
        context: ServerCallContext,
        params: SendMessageRequest | None = None,
        task_id: str | None = None,
        context_id: str | None = None,
        task: Task | None = None,
    ) -> RequestContext:
        """Return what is executed; raises A2AError."""
        if params is not None:
            check_message(params.message)
            self._take(params.message)
        return await super().build(context, params, task_id, context_id, task)


class AgentService:
    """Serves ``executor``, or the provider of ``config.llm`` if it is None.

    An async context manager for the event loop of its gRPC server. ``on_change`` is called there whenever
    :attr:`running` changes.
    """

    def __init__(
        self,
        config: Config,
        identity: SpiffeId,
        address: str,
        executor: AgentExecutor | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.card = make_card(config.agent, identity, address)
        self._config = config
        self._executor = executor
        self._on_change = on_change
        self._supervisor: SupervisedExecutor | None = None
        self._handler: RequestHandler | None = None
        self._resources = AsyncExitStack()

    @property
    def running(self) -> int:
        """Tasks that run now. May be read from any thread."""
        return self._supervisor.running if self._supervisor is not None else 0

    @property
    def total(self) -> int:
        """Messages that were executed since the start. May be read from any thread."""
        return self._supervisor.total if self._supervisor is not None else 0

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            executor = self._executor
            if executor is None:
                provider = make_provider(self._config.llm)
                stack.push_async_callback(provider.aclose)
                modes = media_types(self._config.agent.input_modes)
                executor = PromptExecutor(provider, input_modes=modes)
            supervisor = self._supervisor = SupervisedExecutor(executor, self._on_change)
            handler = DefaultRequestHandler(
                agent_executor=supervisor,
                task_store=NotingStore(InMemoryTaskStore(), supervisor.note_stored),
                agent_card=self.card,
                extended_agent_card=self.card,
                interrupted_task_timeout=INTERRUPTED_TIMEOUT,
                request_context_builder=Admission(
                    executor.prompt_of if isinstance(executor, PromptExecutor) else lambda _: None
                ),
            )
            stack.push_async_callback(handler.aclose)
            self._handler = handler
            self._resources = stack.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._resources.aclose()

    def register(self, server: grpc.aio.Server) -> None:
        """Add both versions of the service to a server."""
        assert self._handler is not None
        current = GrpcHandler(self._handler, CallContextBuilder("1.0"))
        old = CompatGrpcHandler(self._handler, CallContextBuilder("0.3"))
        for module, servicer in ((a2a_pb2_grpc, current), (a2a_v0_3_pb2_grpc, old)):
            module.add_A2AServiceServicer_to_server(servicer, server)
