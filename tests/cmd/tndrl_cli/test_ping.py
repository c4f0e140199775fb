"""``tndrl ping``."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
from contextlib import asynccontextmanager

import pytest

from support.link import Direction, Link, UdpLink
from support.stopwatch import ROUND_TRIP, Stopwatch
from tndrl.errors import PortClosedError
from tndrl.transport.tickets import TICKETS_PER_HANDSHAKE
from tndrl_cli import ping as module
from tndrl_cli.errors import CallError, ExitCode
from tndrl_cli.options import Invocation
from tndrl_cli.output import Output
from tndrl_cli.ping import Pings, statistics


def test_one(tndrl, node):
    """One ping unless told otherwise: a line for it and a summary."""
    done = tndrl("ping", node.address)
    pong, summary = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"pong 1 from spiffe://tndrl/node/node: \d+\.\d\d ms", pong)
    numbers = r"min/avg/max/mdev (\d+\.\d\d/){3}0\.00 ms"
    assert re.fullmatch(rf"{node.address}: 1 sent, 1 answered, 0% loss; {numbers}", summary)


def test_many_as_json(tndrl, node):
    """As JSON each ping is an object on a line, and the summary the last."""
    done = tndrl("ping", node.address, "-n", "3", "-o", "json")
    *pongs, summary = map(json.loads, done.stdout.splitlines())
    assert [(one["event"], one["ping"]) for one in pongs] == [("pong", 1), ("pong", 2), ("pong", 3)]
    times = [one["rtt_ms"] for one in pongs]
    assert (summary["event"], summary["sent"], summary["answered"], summary["loss_percent"]) == (
        "summary",
        3,
        3,
        0.0,
    )
    assert (summary["min_ms"], summary["max_ms"]) == (min(times), max(times))
    assert summary["identity"] == pongs[0]["identity"] == node.ready["identity"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["127.0.0.1:1"], 3, "nobody listens on 127.0.0.1:1"),
        (["does-not-exist.invalid:1"], 3, "cannot find does-not-exist.invalid:1"),
        (["backend"], 2, "peers: 'backend' is neither host:port nor a name from peers"),
        (["a b:1"], 2, "'a b:1' is not an address"),
    ],
)
def test_no_connection(tndrl, arguments, code, message):
    """A peer that cannot be reached or meant is one line and an exit code."""
    done = tndrl("ping", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"tndrl: {message}")
    assert done.stderr.count("\n") == 1


def test_silence(tndrl):
    """A host that says nothing is given up after the connect timeout, exit code 3."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = tndrl("ping", address, "--transport-connect-timeout", "0.3")
    assert done.returncode == 3
    assert done.stderr.startswith(f"tndrl: no answer from {address} within 0.3 s;")


@pytest.mark.parametrize(
    ("identity", "said"),
    [("stranger", "refused our certificate"), ("distrustful", "refused the certificate of")],
)
def test_identity(tndrl, node, identity, said):
    """A certificate that either side refuses is exit code 4 and says who refused whose."""
    done = tndrl("ping", node.address, identity=identity)
    assert (done.returncode, done.stdout) == (4, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_identity(tndrl, node, tmp_path):
    """A peer that proves another identity than is expected of it is exit code 4."""
    path = tmp_path / "node.yaml"
    path.write_text(f"peers: [{{name: lab, addr: '{node.address}', identity: spiffe://tndrl/node/lab}}]")
    done = tndrl("-c", str(path), "-o", "json", "ping", "lab")
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["exit_code"], error["alert_name"]) == (4, 4, "access_denied")
    assert (error["expected"], error["actual"]) == ("spiffe://tndrl/node/lab", "spiffe://tndrl/node/node")


def test_peer_by_name(tndrl, node, tmp_path):
    """A name from the configuration stands for its address."""
    path = tmp_path / "node.yaml"
    path.write_text(f"peers: [{{name: lab, addr: '{node.address}', identity: spiffe://tndrl/node/node}}]")
    assert tndrl("ping", "lab", "-c", str(path)).returncode == 0


def test_verbose(tndrl):
    """Verbose logs everything and names causes, without a traceback."""
    done = tndrl("-v", "ping", "does-not-exist.invalid:1")
    assert "tndrl: because of gaierror: " in done.stderr
    assert " DEBUG " in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupted(command, pki, serve):
    """A node that goes away is lost pings; Ctrl-C ends with the summary of what was sent and exit code 130."""
    node = serve()
    arguments = [command, "ping", node.address, "-n", "1000000", "--pki-dir", str(pki / "operator")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("pong 1 from")
        node.process.terminate()
        assert any(line.startswith("ping ") and ": lost: " in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert re.search(
        rf"{node.address}: \d+ sent, \d+ answered, .*% loss; min/avg/max/mdev", out.splitlines()[-1]
    )
    assert (process.returncode, err.strip()) == (130, "")


class Scripted:
    """Answers as told: None is an answer, an exception a failure."""

    class stub:  # noqa: N801 - stands for an instance
        Ping = None

    class peer:  # noqa: N801 - stands for an instance
        address = "a:1"
        identity = "spiffe://tndrl/node/a"

    def __init__(self, *outcomes):
        self._outcomes = list(outcomes)

    async def call(self, _method, _request):
        """Return or raise the next outcome."""
        if (outcome := self._outcomes.pop(0)) is not None:
            raise outcome


async def run_script(monkeypatch, *outcomes):
    """Run as many pings as there are outcomes."""

    @asynccontextmanager
    async def control(_target, _using):
        yield Scripted(*outcomes)

    monkeypatch.setattr(module, "control", control)
    monkeypatch.setattr(module, "PAUSE", 0)
    return await module._ping("a:1", len(outcomes), Invocation(None, Output(as_json=False)))


LATE = CallError("a:1", "DEADLINE_EXCEEDED", "")


async def test_some_lost(monkeypatch, capsys):
    """Pings that got no answer are counted and written; the exit code is 1."""
    assert await run_script(monkeypatch, None, LATE, None) is ExitCode.FAILED
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"ping 2: lost: {LATE}"
    assert lines[-1].startswith("a:1: 3 sent, 2 answered, 33.3% loss; min/avg/max/mdev")


async def test_all_lost(monkeypatch, capsys):
    """Where none was answered the last failure decides the exit code."""
    with pytest.raises(PortClosedError):
        await run_script(monkeypatch, LATE, PortClosedError("a:1"))
    assert capsys.readouterr().out.splitlines()[-1] == "a:1: 2 sent, 0 answered, 100% loss"


def test_nothing_to_sum_up(capsys):
    """Before the first ping came back there is no summary."""
    Pings(Scripted(), Invocation(None, Output(as_json=False))).summarise()
    assert capsys.readouterr().out == ""


def test_statistics():
    """The deviation is that of the whole, as ping(8) has it."""
    assert statistics([1.0, 3.0]) == {"min": 1.0, "avg": 2.0, "max": 3.0, "mdev": 1.0}


def test_nine_at_once(command, pki, node):
    """Nine at once with the node's own certificate succeed; one that found eight busy, when it tries again."""
    arguments = [command, "ping", node.address, "--pki-dir", str(pki / "node")]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    pinging = [subprocess.Popen(arguments, **pipes, text=True) for _ in range(9)]
    said = [one.communicate(timeout=30)[1] for one in pinging]
    refused = [text for text in said if text]
    assert all("try again later" in text for text in refused)
    assert len(refused) <= 1
    for _ in refused:
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, timeout=30)


async def test_the_second_takes_one_round_trip_fewer(command, pki, node, tmp_path):
    """On a slow link the first takes two round trips, and the second, which finds a ticket of it, a single one."""
    first, second = Stopwatch(2), Stopwatch(1)
    async with UdpLink(node.address, Link(1, delay=ROUND_TRIP / 2), logging=True) as link:

        async def ping(home, watch):
            link.log.clear()
            arguments = [command, "ping", link.address, "--pki-dir", str(pki / "operator")]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            environment = {**os.environ, "HOME": str(home)}
            process = await asyncio.create_subprocess_exec(*arguments, **pipes, env=environment)
            _out, err = await process.communicate()
            assert (process.returncode, err) == (0, b"")
            spoken = [seen.at for seen in link.log if seen.direction is Direction.TO_NODE]
            watch.note(spoken[-1] - spoken[0])  # the last word is that it closes

        number = 0
        while first.goes_on or second.goes_on:
            number += 1
            home = tmp_path / str(number)
            await ping(home, first)
            files = list((home / ".tndrl" / "tickets").iterdir())
            assert [one.stat().st_mode & 0o777 for one in files] == [0o600] * TICKETS_PER_HANDSHAKE
            await ping(home, second)
    assert (first.round_trips, second.round_trips) == (2, 1)


async def test_whoever_uses_the_last_ticket_gets_new_ones(tndrl, node, tmp_path):
    """However often a command is run, the next one finds a ticket."""
    folder = tmp_path / ".tndrl" / "tickets"
    for _ in range(TICKETS_PER_HANDSHAKE + 2):
        assert tndrl("ping", node.address).returncode == 0
        assert list(folder.iterdir())


async def test_a_node_that_is_gone_is_told_with_a_ticket_too(tndrl, serve):
    """Whether or not there is a ticket for it, a node that does not answer is exit code 3 and one line."""
    node = serve()
    assert tndrl("ping", node.address).returncode == 0
    node.process.terminate()
    node.process.wait(10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        host, port = node.address.split(":")
        silent.bind((host, int(port)))
        done = tndrl("ping", node.address, "--transport-connect-timeout", "0.5")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"tndrl: no answer from {node.address} within 0.5 s;")
    assert done.stderr.count("\n") == 1


@pytest.mark.serial
def test_is_quick(seconds, node):
    """``tndrl ping`` takes less than 0.6 s on a warm disk."""
    assert seconds("ping", node.address) < 0.6
