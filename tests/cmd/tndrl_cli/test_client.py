"""What the commands that call a peer share."""

import pytest

from support import nodes
from tndrl.v1.control_pb2 import GetStatusRequest
from tndrl_cli.client import control
from tndrl_cli.errors import CallError
from tndrl_cli.options import Invocation
from tndrl_cli.output import Output

OUTPUT = Output(as_json=True)


@pytest.fixture
async def using(short_dir):
    """How to call, and a node to be called, which is the caller itself."""
    async with nodes.running(short_dir) as node:
        yield node, Invocation(nodes.config(short_dir), OUTPUT)


async def test_answer(using):
    """A call gives the answer."""
    node, how = using
    async with control(node.address, how) as caller:
        answer = await caller.call(caller.stub.GetStatus, GetStatusRequest())
    assert answer.identity == node.identity == caller.peer.identity


async def test_status(using):
    """A gRPC status is a CallError with its name and details."""
    node, how = using
    async with control(node.address, how) as caller:
        missing = caller.peer.channel(1).unary_unary("/tndrl.v1.ControlService/Nothing")
        with pytest.raises(CallError) as caught:
            await caller.call(missing, b"")
    assert (caught.value.address, caught.value.status) == (node.address, "UNIMPLEMENTED")


async def test_connection_lost(short_dir):
    """A call on a connection that ended raises why it ended."""
    async with nodes.running(short_dir) as node:
        how = Invocation(nodes.config(short_dir), OUTPUT)
        async with control(node.address, how) as caller:
            await node.stop(reason="enough")
            with pytest.raises(nodes.tndrl.TndrlError) as caught:
                await caller.call(caller.stub.GetStatus, GetStatusRequest())
    assert type(caught.value).__name__ in ("ConnectionClosedError", "PortClosedError")


@pytest.mark.serial
def test_refused_is_quick(seconds, node):
    """A failed call keeps nothing alive that would delay the end: it takes no longer than one that succeeds."""
    assert seconds("shutdown", node.address, identity="guest") < 0.6
