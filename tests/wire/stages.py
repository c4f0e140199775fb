"""Where rogues appear: a node they dial, a node that dials them. Each has a victim, who must notice nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import pytest

import tndrl
from rogue.connection import Closed
from rogue.peer import Peer, RogueClient, RogueServer
from rogue.script import Script
from support import nodes
from tndrl.errors import TndrlError
from tndrl.v1.control_pb2_grpc import ControlServiceStub

EARLY = b"\x10PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""What a rogue client writes at once: a stream type that is served, HTTP/2's preface and empty SETTINGS."""

LINE_LIMIT = 600
"""Characters of a log line: what a peer makes us say is shortened."""


def check_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Check that nothing was logged as an error: no peer may cause a fault of ours."""
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@dataclass
class Stage:
    """A running node, a witness behind it, and a victim: the channel of somebody who was there before the rogue."""

    node: tndrl.Node
    witness: nodes.Witness
    victim: ControlServiceStub
    caplog: pytest.LogCaptureFixture

    async def refused(self, script: Script) -> Closed:
        """Let a rogue client in; check that it got nothing and broke nothing; return how it was closed."""
        before = self.node.stats()
        self.caplog.clear()
        async with RogueClient(self.node.address, replace(script, stream=script.stream or EARLY)) as rogue:
            closed = await rogue.outcome()
        assert closed is not None, "the node accepted the rogue"
        await self.check_nothing_passed(before, rogue)
        assert self.node.stats()["handshakes_failed"] == before.get("handshakes_failed", 0) + 1
        return closed

    async def accepted(self, script: Script) -> None:
        """Let an honest client in, and out again."""
        async with RogueClient(self.node.address, script) as peer:
            assert await peer.outcome() is None

    async def breaks(self, script: Script) -> Closed:
        """Let a client in that is accepted and then closed; return how."""
        async with RogueClient(self.node.address, script) as rogue:
            closed = await rogue.closed()
        await nodes.ping(self.victim)
        return closed

    async def check_nothing_passed(self, before: dict[str, int], rogue: Peer) -> None:
        """Check that nothing was routed or written, that one line tells of it, and that the victim lives."""
        after = self.node.stats()
        assert after["streams_bridged"] == before["streams_bridged"]  # the victim's
        assert self.witness.calls == 0
        assert not rogue.received
        check_no_fault(self.caplog)
        (line,) = self.lines(rogue.local_address)
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < LINE_LIMIT
        await nodes.ping(self.victim)

    def lines(self, address: str) -> list[str]:
        """Return the lines of our own logs, INFO and above, that name ``address``."""
        ours = self.caplog.records
        lines = [record.getMessage() for record in ours if record.levelno >= logging.INFO]
        return [line for line in lines if address in line]


@dataclass
class Caller:
    """A node that dials, and a victim: a channel that it had before it dialled the rogue, on the same socket."""

    node: tndrl.Node
    victim: ControlServiceStub
    caplog: pytest.LogCaptureFixture

    async def accepts(self, script: Script) -> None:
        """Dial an honest server."""
        async with RogueServer(script) as server, self.node.connect(server.address):
            assert await (await server.peer()).outcome() is None

    async def breaks(self, script: Script) -> Closed:
        """Dial a server that is accepted and then closed; return how."""
        async with RogueServer(script) as server, self.node.connect(server.address):
            closed = await (await server.peer()).closed()
        await nodes.ping(self.victim)
        return closed

    async def refuses(self, script: Script) -> tuple[Closed, TndrlError]:
        """Dial a rogue server; check that it got nothing; return how it was closed and what the caller saw."""
        async with RogueServer(script) as server:
            with pytest.raises(TndrlError) as raised:
                async with self.node.connect(server.address):
                    pytest.fail("the node accepted the rogue")
            rogue = await server.peer()
            closed = await rogue.closed()
            assert server.address in str(raised.value)
        assert not rogue.received
        check_no_fault(self.caplog)
        await nodes.ping(self.victim)
        return closed, raised.value
