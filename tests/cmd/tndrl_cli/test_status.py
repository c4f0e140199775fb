"""``tndrl status``."""

import json

from tndrl._version import __version__
from tndrl.v1.control_pb2 import GetStatusResponse
from tndrl_cli.status import as_record, as_text


def test_text(tndrl, node):
    """A person gets a line per fact."""
    done = tndrl("status", node.address)
    facts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert (facts["address"], facts["identity"]) == (node.address, "spiffe://tndrl/node/node")
    assert (facts["state"], facts["active_tasks"], facts["version"]) == ("READY", "0", __version__)


def test_json(tndrl, node):
    """A program gets one object."""
    record = json.loads(tndrl("-o", "json", "status", node.address).stdout)
    assert (record["address"], record["identity"]) == (node.address, node.ready["identity"])
    assert (record["state"], record["active_tasks"]) == ("READY", 0)
    assert record["uptime_seconds"] >= 0
    assert record["metadata"]["version"] == __version__


def test_unknown_state():
    """A state of a later version is shown as its number."""
    assert as_record(GetStatusResponse(state=77))["state"] == "77"


def test_hostile_text():
    """What the peer wrote is escaped and shortened, and cannot pose as another fact."""
    answer = GetStatusResponse(identity="a\nb", metadata={"x\x1b": "y" * 1000, "state": "READY"})
    text = as_text("a:1", as_record(answer))
    assert "identity        a\\nb\n" in text
    assert text.count("\nstate ") == 1
    assert max(map(len, text.splitlines())) < 300
