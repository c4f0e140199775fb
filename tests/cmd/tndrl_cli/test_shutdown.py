"""``tndrl shutdown``."""

import json

import pytest


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
