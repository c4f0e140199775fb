"""``tndrl serve``."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time

import grpc
import grpc.aio
import psutil
import pytest

import tndrl as tndrl_api
from support import nodes
from tndrl_cli.options import Invocation
from tndrl_cli.output import Output
from tndrl_cli.serve import _serve


def end(node, *signals):
    """Send signals, return the exit code and the log."""
    for number in signals:
        node.process.send_signal(number)
    _, log = node.process.communicate(timeout=10)
    return node.process.returncode, log


def test_ready_line(node):
    """When it is ready, and not before, it writes one line with its address and identity."""
    assert node.ready == {"event": "ready", "address": node.address, "identity": "spiffe://tndrl/node/node"}
    host, _, port = node.address.rpartition(":")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        pytest.raises(OSError, match="Address already in use"),
    ):
        other.bind((host, int(port)))


def test_ready_as_text(command, pki, tmp_path):
    """A person reads it as words."""
    arguments = [
        "--server-addr",
        "127.0.0.1:0",
        "--pki-dir",
        str(pki / "node"),
        "--state-dir",
        str(tmp_path / "state"),
    ]
    with subprocess.Popen(
        [command, "serve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        line = process.stdout.readline()
        process.terminate()
    assert line.startswith("ready: spiffe://tndrl/node/node at 127.0.0.1:")
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal(serve, number):
    """SIGTERM and SIGINT stop it gracefully, with exit code 0."""
    code, log = end(serve(), number)
    assert code == 0
    assert f"stopping: it received {number.name}" in log
    assert "Traceback" not in log


def test_log_is_on_standard_error(serve):
    """The log goes to standard error, nothing but the ready line to standard output."""
    node = serve("--log-level", "info")
    node.process.terminate()
    out, log = node.process.communicate(timeout=10)
    assert out == ""
    assert " INFO tndrl.node READY\n" in log


def test_log_level(serve):
    """Below the log level nothing is logged."""
    assert end(serve("--log-level", "error"), signal.SIGTERM) == (0, "")


def test_address_in_use(tndrl, node, tmp_path):
    """An address that is taken is named with its setting, exit code 2."""
    done = tndrl("serve", "--server-addr", node.address, "--state-dir", str(tmp_path / "state"))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"tndrl: server.addr: cannot listen on {node.address}: Address already in use;" in done.stderr


def test_bad_configuration(tndrl, tmp_path):
    """A mistake in the file ends it with exit code 2 before anything else, each mistake on a line."""
    path = tmp_path / "node.yaml"
    path.write_text("servr: {}\nlogLevel: loud\n")
    done = tndrl("serve", "-c", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"tndrl: {path}:1: servr: there is no such key; did you mean 'server'?",
        f"tndrl: {path}:2: logLevel: 'loud' is not one of debug, info, warn, error",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: b\n" * 2_000_000, "is larger than 1 MiB"),
        (b"[" * 1_000_000, "more than 32 levels"),
        (
            b"a: &a [x, x]\n"
            + b"".join(b"%c: &%c [*%c, *%c]\n" % (n + 1, n + 1, n, n) for n in range(97, 117)),
            "values",
        ),
        (b"server:\n\taddr: x\n", "a tab where YAML wants spaces"),
        (b"\xff\xfea", "is not UTF-8"),
        (b"server: {addr: nowhere}", "'nowhere' is not an address: has no port"),
        (None, "is a directory"),
    ],
    ids=["10 MB", "deep", "bomb", "tab", "encoding", "address", "directory"],
)
def test_hostile_file(tndrl, tmp_path, content, message):
    """Whatever the file holds, it ends in a line with the file's name, exit code 2, in less than a second."""
    path = tmp_path / "node.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    began = time.perf_counter()
    done = tndrl("serve", "-c", str(path))
    assert time.perf_counter() - began < 1
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"tndrl: {path}:")
    assert message in done.stderr


def test_missing_certificate(tndrl, tmp_path):
    """A missing file is named with its setting, exit code 2, as JSON too."""
    done = tndrl("-o", "json", "--log-level", "error", "serve", "--pki-dir", str(tmp_path))
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["exit_code"], error["key"]) == (2, 2, "pki.caCert")
    assert error["source"] == str(tmp_path / "ca.crt")


class Ready(Output):
    """Keeps the ready line's record."""

    def __init__(self):
        super().__init__(as_json=True)
        self.record = asyncio.get_running_loop().create_future()

    def write(self, record, text):
        self.record.set_result(record)


@pytest.fixture
def busy(monkeypatch, service):
    """Gives the node that ``serve`` makes a busy service."""

    class BusyNode(tndrl_api.Node):
        def __init__(self, config):
            super().__init__(config)
            self.add_service(0x10, service.add_to)

    monkeypatch.setattr(tndrl_api, "Node", BusyNode)
    return service


async def end_while_busy(folder, busy, *signals, **flags):
    """Serve, call the busy service, send signals, and return the exit code."""
    output = Ready()
    serving = asyncio.create_task(
        _serve(Invocation(nodes.config(folder / "node", **flags), output), lambda: None)
    )
    address = (await output.record)["address"]
    async with nodes.calling(folder / "caller", "b", address) as peer:
        call = peer.channel(0x10).unary_unary("/test.Busy/Wait")(b"")
        assert await asyncio.to_thread(busy.called.wait, 5)
        for number in signals:
            os.kill(os.getpid(), number)
        code = await serving
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    return code


async def test_second_signal(short_dir, busy):
    """A second signal ends it while calls still run, with exit code 1."""
    assert await end_while_busy(short_dir, busy, signal.SIGTERM, signal.SIGINT) == 1


async def test_drain_limit(short_dir, busy):
    """So does the end of the time to drain."""
    assert await end_while_busy(short_dir, busy, signal.SIGTERM, server__drainTimeout=0.1) == 1


async def test_signal_before_ready(short_dir):
    """Told to stop before it is ready, it ends with exit code 0 and writes no ready line."""
    output = Ready()
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
    assert await _serve(Invocation(nodes.config(short_dir), output), lambda: None) == 0
    assert not output.record.done()


@pytest.mark.serial
def test_is_light(serve):
    """It is READY in less than a second, and idle it stays under 80 MiB."""
    began = time.perf_counter()
    node = serve()
    assert time.perf_counter() - began < 1
    assert psutil.Process(node.process.pid).memory_info().rss < 80 << 20


COUNTING = """
import gc, sys, tndrl
from tndrl_cli.app import main

class CountingNode(tndrl.Node):
    async def wait_stopped(self):
        print(gc.get_freeze_count())
        return True

tndrl.Node = CountingNode
sys.exit(main(sys.argv[1:]))
"""


def test_what_was_loaded_is_collected_no_more(pki, tmp_path):
    """A running node looks for garbage in what it has made only: to go through all it has loaded holds peers up."""
    arguments = ["serve", "--server-addr", "127.0.0.1:0", "--pki-dir", str(pki / "node")]
    command = [sys.executable, "-c", COUNTING, *arguments, "--state-dir", str(tmp_path / "state")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert int(ran.stdout.splitlines()[-1]) > 10_000
