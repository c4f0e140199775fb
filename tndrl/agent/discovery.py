"""Finding out which version of A2A a peer speaks, and what its card says."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
from a2a.types import a2a_pb2

from tndrl.agent.extensions import claimed_identity
from tndrl.agent.line import Line, own_errors
from tndrl.agent.wire import Wire, Wire10
from tndrl.errors import CardIdentityError
from tndrl.transport.stream_type import StreamType

MAX_CARD = 1 << 20
"""Bytes of the largest card that is read."""
MAX_ANSWER = 64 << 20
"""Bytes of the largest answer that is read."""


def wire(version: str, channel: grpc.aio.Channel) -> Wire:
    """Return ``version`` of the protocol, 1.0 or 0.3, on a channel."""
    if version == Wire10.version:
        return Wire10(channel)
    from tndrl.agent.wire03 import Wire03

    return Wire03(channel)


async def discover(line: Line, timeout: float) -> tuple[str, a2a_pb2.AgentCard]:
    """Return the newest version that the agent on ``line`` speaks, and its card.

    Waits at most ``timeout`` seconds. Raises NoAgentError; CardIdentityError where the card claims another SPIFFE ID
    than the certificate proves; AgentCallError, also for a card above 1 MiB; and why the connection was lost. Safe to
    cancel.
    """
    channel = a2a_channel(line, MAX_CARD)
    try:
        with own_errors(line):
            async with asyncio.timeout(timeout):
                version, card = await _first_card(channel)
    finally:
        await channel.close(None)
    claimed = claimed_identity(card)
    if claimed is not None and claimed != line.identity:
        raise CardIdentityError(line.address, line.identity, claimed)
    return version, card


def a2a_channel(line: Line, max_message: int) -> grpc.aio.Channel:
    """Return a channel of its own for A2A that reads messages of at most ``max_message`` bytes."""
    return line.channel(StreamType.A2A, options=[("grpc.max_receive_message_length", max_message)])


async def _first_card(channel: grpc.aio.Channel) -> tuple[str, a2a_pb2.AgentCard]:
    try:
        return "1.0", await wire("1.0", channel).card()
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise
    return "0.3", await wire("0.3", channel).card()
