"""``tndrl shutdown``."""

import asyncio
import json

import grpc
import pytest

import tndrl as tndrl_api
from support import nodes
from tndrl_cli.errors import ShutdownRefusedError
from tndrl_cli.options import Invocation
from tndrl_cli.output import Output
from tndrl_cli.shutdown import _shutdown


def test_graceful(tndrl, serve):
    """An admin stops a node, which ends with exit code 0 and logs the reason."""
    node = serve()
    done = tndrl("shutdown", node.address, "--reason", "tidy up", "--timeout", "5")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"spiffe://tndrl/node/node at {node.address} shuts down\n"
    _, log = node.process.communicate(timeout=10)
    assert node.process.returncode == 0
    assert "stopping: tidy up" in log


def test_force_as_json(tndrl, serve):
    """Forced, it does not wait; a program gets one object."""
    node = serve()
    done = tndrl("-o", "json", "shutdown", node.address, "--force")
    record = {
        "event": "shutdown",
        "address": node.address,
        "identity": "spiffe://tndrl/node/node",
        "accepted": True,
    }
    assert (done.returncode, json.loads(done.stdout)) == (0, record)
    assert node.process.wait(timeout=10) in (0, 1)


def test_not_an_admin(tndrl, node):
    """Anybody else is refused with exit code 1 and told why."""
    done = tndrl("shutdown", node.address, identity="guest")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"tndrl: {node.address} answered PERMISSION_DENIED: spiffe://tndrl/node/guest is not"
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("timeout", ["0", "-1", "x"])
def test_bad_timeout(tndrl, timeout):
    """A time to wait is a whole number of seconds from 1."""
    done = tndrl("shutdown", "a:1", "--timeout", timeout)
    assert done.returncode == 2
    assert done.stderr.startswith("tndrl: invalid value for '--timeout': ")


async def test_repeated(short_dir, service):
    """A node that stops already refuses with its reason, unless it is forced."""
    using = Invocation(nodes.config(short_dir), Output(as_json=True))
    node = tndrl_api.Node(using.config)
    node.add_service(0x10, service.add_to)
    async with node, node.connect(node.address) as peer:
        call = peer.channel(0x10).unary_unary("/test.Busy/Wait")(b"")
        assert await asyncio.to_thread(service.called.wait, 5)
        assert await _shutdown(node.address, False, 0, "once", using) == 0
        with pytest.raises(ShutdownRefusedError, match="the node is stopping already: once; --force"):
            await _shutdown(node.address, False, 0, "twice", using)
        assert await _shutdown(node.address, True, 0, "now", using) == 0
        # The node closes its own channels too, and may be the quicker of the two ends.
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await call
