"""What a failed call means."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from a2a.utils.errors import InvalidParamsError
from google.protobuf.message import DecodeError
from grpc.aio import AioRpcError, Metadata

from support.scripted_agent import UnixLine
from tndrl.agent.line import attentive, own_errors
from tndrl.errors import AgentCallError, NoAgentError, PortClosedError

LINE = UnixLine(Path("/nowhere"))


def status(code: grpc.StatusCode, details: str | None) -> AioRpcError:
    """Return what grpcio raises."""
    return AioRpcError(code, Metadata(), Metadata(), details)


def test_a_status_is_an_error_of_ours() -> None:
    """Code and details are kept."""
    with pytest.raises(AgentCallError) as caught, own_errors(LINE):
        raise status(grpc.StatusCode.NOT_FOUND, None)
    assert (caught.value.address, caught.value.status, caught.value.details) == ("a:1", "NOT_FOUND", "")


def test_a_lost_connection_is_its_cause() -> None:
    """Where the connection is gone, why it went is raised."""
    line = UnixLine(Path("/nowhere"), failure=PortClosedError("a:1"))
    with pytest.raises(PortClosedError), own_errors(line):
        raise status(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def test_other_failures_are_not_the_connections() -> None:
    """A status that came over a connection that died since is still that status."""
    line = UnixLine(Path("/nowhere"), failure=PortClosedError("a:1"))
    with pytest.raises(AgentCallError, match="NOT_FOUND"), own_errors(line):
        raise status(grpc.StatusCode.NOT_FOUND, "")


def test_a_node_without_an_agent() -> None:
    """The code of the reset stream says that nobody serves this type."""
    with pytest.raises(NoAgentError), own_errors(LINE):
        raise status(grpc.StatusCode.UNAVAILABLE, "stream reset by the peer: UNKNOWN_STREAM_TYPE")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotImplementedError("cannot"), "UNIMPLEMENTED"),
        (TimeoutError(), "DEADLINE_EXCEEDED"),
        (ValueError("secret"), "INTERNAL"),
        (DecodeError("secret"), "INTERNAL"),
        (InvalidParamsError("secret"), "INTERNAL"),
    ],
)
def test_what_the_conversion_raises(error: Exception, code: str) -> None:
    """An answer that fits no protocol is the agent's failure."""
    with pytest.raises(AgentCallError) as caught, own_errors(LINE):
        raise error
    assert caught.value.status == code
    assert "secret" not in str(caught.value)


def test_bugs_stay_bugs() -> None:
    """Anything else is not touched."""
    with pytest.raises(KeyError), own_errors(LINE):
        raise KeyError


async def test_a_quick_answer_needs_no_probe() -> None:
    """Where answers come nobody asks whether the peer lives."""
    line = UnixLine(Path("/nowhere"))
    assert await attentive(line, asyncio.sleep(0, "answer")) == "answer"
    assert line.probes == 0


async def test_a_silent_peer_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is no answer the peer is probed, and its end ends the waiting."""
    monkeypatch.setattr("tndrl.agent.line.SILENCE", 0.01)
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    class Dying(UnixLine):
        async def probe(self, timeout: float) -> None:
            await super().probe(timeout)
            if self.probes == 3:
                answer.set_exception(PortClosedError("a:1"))

    line = Dying(Path("/nowhere"))
    with pytest.raises(PortClosedError):
        await attentive(line, answer)
    assert line.probes == 3


async def test_waiting_that_is_cancelled_leaves_nothing() -> None:
    """What was waited for is cancelled too."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await attentive(LINE, answer)
    assert answer.cancelled()
