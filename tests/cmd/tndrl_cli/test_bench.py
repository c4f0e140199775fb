"""``tndrl bench``."""

import json
import re

import pytest

from tndrl_cli.bench import Meter
from tndrl_cli.errors import NotMeasuredError


def test_figures(tndrl, node):
    """First calls, loads, and the datagrams that prove that they crossed a network."""
    done = tndrl("bench", node.address, "--seconds", "0.1")
    assert (done.returncode, done.stderr) == (0, "")
    cold, resumed, one, fifty, datagrams = done.stdout.splitlines()
    assert re.fullmatch(r"first call, cold connection: [\d.]+ ms, [\d.]+ times the quickest Ping", cold)
    assert re.fullmatch(r"first call, resumed connection: [\d.]+ ms, [\d.]+ times the quickest Ping", resumed)
    numbers = r"[\d,]+ calls/s; p50/p99/p99\.9 [\d.]+/[\d.]+/[\d.]+ ms"
    assert re.fullmatch(rf"Ping, 1 at once: {numbers}", one)
    assert re.fullmatch(rf"Ping, 50 at once: {numbers}", fifty)
    assert re.fullmatch(r"datagrams: [\d,]+ sent, [\d,]+ received", datagrams)


def test_as_json(tndrl, node):
    """Each figure is an object on a line."""
    done = tndrl("bench", node.address, "--seconds", "0.1", "-o", "json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["event"] for record in records] == [
        "first_call",
        "first_call",
        "load",
        "load",
        "datagrams",
    ]
    assert [record.get("connection") for record in records[:2]] == ["cold", "resumed"]
    assert [record["at_once"] for record in records[2:4]] == [1, 50]
    assert records[2]["p50_ms"] <= records[2]["p99_ms"] <= records[2]["p999_ms"]
    assert records[4]["sent"] > records[2]["calls_per_second"] * 0.1
    assert {record["identity"] for record in records[:4]} == {node.ready["identity"]}


def test_no_connection(tndrl):
    """A peer that cannot be reached is one line and an exit code."""
    done = tndrl("bench", "127.0.0.1:1", "--seconds", "0.1")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("tndrl: nobody listens on 127.0.0.1:1")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("still", ["sent", "received"])
def test_nothing_crossed(still):
    """What was measured without any datagram is no figure."""
    before = {"datagrams_sent": 5, "datagrams_received": 5}
    after = {name: 5 if name.endswith(still) else 6 for name in before}
    with pytest.raises(NotMeasuredError, match=f"no datagram was {still} meanwhile"):
        Meter("there", None)._count(before, after)
