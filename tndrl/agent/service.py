"""The agent of one node: both versions of A2A on its gRPC server, and all that lives behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, Self

import a2a.client  # noqa: F401 - before a2a.compat, which otherwise hides its 0.3 transport from the SDK's clients
import grpc.aio
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
from a2a.server.agent_execution import AgentExecutor
from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers import GrpcHandler
from a2a.types import Message, SendMessageRequest, Task, a2a_pb2_grpc
from a2a.utils.proto_utils import validate_proto_required_fields

from pki.spiffe import SpiffeId
from tndrl.agent.card import make_card, media_types
from tndrl.agent.context import CallContextBuilder
from tndrl.agent.database import Database
from tndrl.agent.executor import PromptExecutor
from tndrl.agent.handler import DurableHandler
from tndrl.agent.intake import Intake
from tndrl.agent.parts import check_role
from tndrl.agent.supervisor import SupervisedExecutor
from tndrl.agent.sweep import prune_for_ever, sweep
from tndrl.config import Config
from tndrl.llm.make import make_provider
from tndrl.transport.gate import CallGate
from tndrl.transport.grpc_server import GrpcServer
from tndrl.transport.idempotent import idempotent_methods
from tndrl.transport.interceptor import PeerInterceptor
from tndrl.transport.stream_type import StreamType


class AdmittingHandler(DurableHandler):
    """Refuses what no executor should get, before there is a task; ``admit`` raises A2AError for what ours cannot."""

    def __init__(self, admit: Callable[[Message], object], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._admit = admit

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Message | Task:
        """Take a message and return what comes of it."""
        self._check(params)
        return await super().on_message_send(params, context)

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Take a message and yield what comes of it."""
        self._check(params)
        async with aclosing(super().on_message_send_stream(params, context)) as events:
            async for event in events:
                yield event

    def _check(self, params: SendMessageRequest) -> None:
        validate_proto_required_fields(params)
        check_role(params.message)
        self._admit(params.message)


class AgentService:
    """Serves ``executor``, or the provider of ``config.llm`` if it is None; its tasks are kept in ``state_dir``.

    An async context manager for the event loop of its gRPC server; entering raises ConfigError. ``on_change`` is
    called there whenever :attr:`running` changes. Leaving it leaves tasks that run for the next start to end.
    """

    def __init__(
        self,
        config: Config,
        identity: SpiffeId,
        address: str,
        state_dir: Path,
        executor: AgentExecutor | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.card = make_card(config.agent, identity, address)
        self._config = config
        self._state_dir = state_dir
        self._executor = executor
        self._on_change = on_change
        self._supervisor: SupervisedExecutor | None = None
        self._handler: DurableHandler | None = None
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
            agent, executor = self._config.agent, self._executor
            if executor is None:
                provider = make_provider(self._config.llm)
                stack.push_async_callback(provider.aclose)
                executor = PromptExecutor(provider, input_modes=media_types(agent.input_modes))
            supervisor = self._supervisor = SupervisedExecutor(executor, self._on_change)
            database = await stack.enter_async_context(Database(agent.store, self._state_dir))
            await sweep(database)
            stack.push_async_callback(_end, asyncio.create_task(prune_for_ever(database, agent.retention)))
            admit = executor.prompt_of if isinstance(executor, PromptExecutor) else _admit_all
            handler = AdmittingHandler(
                admit, supervisor, database, self.card, on_stored=supervisor.note_stored
            )
            stack.push_async_callback(handler.aclose)
            self._handler = handler
            self._resources = stack.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._resources.aclose()

    def server(self, path: Path, gate: CallGate, max_message: int) -> GrpcServer:
        """Return the gRPC server of both versions, on the unix socket ``path``, which enters and leaves this.

        ``gate`` counts and bounds its calls; requests have at most ``max_message`` bytes.
        """
        interceptors = [PeerInterceptor(gate, idempotent_methods(StreamType.A2A)), Intake()]
        return GrpcServer(
            "agent",
            path,
            self._register,
            interceptors=interceptors,
            max_message=max_message,
            limits=gate.limits,
            lifespan=self,
        )

    def _register(self, server: grpc.aio.Server) -> None:
        assert self._handler is not None
        current = GrpcHandler(self._handler, CallContextBuilder("1.0"))
        old = CompatGrpcHandler(self._handler, CallContextBuilder("0.3"))
        for module, servicer in ((a2a_pb2_grpc, current), (a2a_v0_3_pb2_grpc, old)):
            module.add_A2AServiceServicer_to_server(servicer, server)


def _admit_all(_message: Message) -> None:
    """A user's executor decides for itself."""


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
