"""The agent as the a2a-sdk serves it by itself, for the peers that are no nodes."""

from __future__ import annotations

from typing import Any

import grpc.aio
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, a2a_pb2_grpc

from bench.agent import Replier


def add_to(server: grpc.aio.Server) -> None:
    """Add the agent with the SDK's own handlers."""
    add: Any = a2a_pb2_grpc.add_A2AServiceServicer_to_server
    add(GrpcHandler(handler()), server)


def handler() -> DefaultRequestHandler:
    """Return the SDK's handler of the agent; tasks are kept in memory."""
    return DefaultRequestHandler(agent_executor=Replier(), task_store=InMemoryTaskStore(), agent_card=card())


def card() -> AgentCard:
    """Return the agent's card."""
    return AgentCard(
        name="bench",
        description="answers at once",
        version="1",
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="reply", name="reply", description="answers", tags=["bench"])],
        supported_interfaces=[AgentInterface(url="x", protocol_binding="GRPC", protocol_version="1.0")],
    )
