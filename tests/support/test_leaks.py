"""Each detector of leaks, shown a test that leaks what it is for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]

LEAKERS = """
import asyncio, grpc, logging, os, socket, subprocess, tempfile, threading
from support import leaks

leaks.SETTLE = 0.2
kept = []

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

def test_socket():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_open_file(tmp_path):
    kept.append((tmp_path / "notes").open("w"))

def test_thread():
    threading.Thread(target=threading.Event().wait, name="stray", daemon=True).start()

def test_process():
    kept.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))

def test_temporary_file():
    tempfile.mkdtemp(prefix="tndrl-left-")

async def test_callback_error():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)

async def test_task_error():
    async def fail():
        raise ValueError("nobody asked")
    asyncio.create_task(fail())
    await asyncio.sleep(0)

def test_error_in_a_loop_of_its_own():
    async def fail():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
    thread = threading.Thread(target=lambda: asyncio.run(fail()))
    thread.start()
    thread.join()

def test_unraisable():
    class Bad:
        def __del__(self):
            raise ValueError("in a finaliser")
    bad = Bad()
    bad.itself = bad

async def test_grpc_server(short_dir):
    server = grpc.aio.server()
    server.add_insecure_port(f"unix:{short_dir}/backend")
    await server.start()
    kept.append(server)

def test_unclosed_socket():
    a, b = socket.socketpair()

def test_unawaited_coroutine():
    asyncio.sleep(1)

def test_logged_exception():
    class Handle:
        def __init__(self):
            self.number = os.open("/dev/null", os.O_RDONLY)
        def __del__(self):
            os.close(self.number)
    handle = Handle()
    try:
        raise ValueError("its traceback keeps the handle")
    except ValueError as error:
        logging.getLogger("test").warning("failed: %s", error)

async def test_clean(short_dir):
    server = grpc.aio.server()
    server.add_insecure_port(f"unix:{short_dir}/backend")
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{short_dir}/backend") as channel:
        await channel.channel_ready()
    await server.stop(0)
"""

MESSAGES = {
    "task": "task left: <Task .*forgotten",
    "socket": "descriptor left: .* AF_INET SOCK_STREAM local .'127.0.0.1'",
    "open_file": "descriptor left: .*notes",
    "thread": "thread left: stray",
    "process": r"process left: \d+ cat",
    "temporary_file": "temporary file left: tndrl-left-",
    "callback_error": "unhandled in an event loop: .*ZeroDivisionError",
    "task_error": "unhandled in an event loop: .*nobody asked",
    "error_in_a_loop_of_its_own": "unhandled in an event loop: .*ZeroDivisionError",
    "unraisable": "ValueError: in a finaliser",
    "grpc_server": "descriptor left: .* AF_UNIX .*backend",
    "unclosed_socket": "ResourceWarning: unclosed",
    "unawaited_coroutine": "coroutine 'sleep' was never awaited",
}
"""Which leaking test -> what its failure says."""


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the leaking tests in a process of their own and return what each one's failure said."""
    folder = tmp_path_factory.mktemp("leakers")
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "test_leakers.py").write_text(LEAKERS)
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "--junitxml=report.xml", "test_leakers.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    cases = ElementTree.parse(folder / "report.xml").iter("testcase")
    return {case.attrib["name"].removeprefix("test_"): "".join(case.itertext()) for case in cases}


@pytest.mark.parametrize("leaker", MESSAGES)
def test_a_leak_fails_the_test_that_made_it(failures: dict[str, str], leaker: str) -> None:
    """Whatever a test leaves behind turns that test red and is named in its failure."""
    assert re.search(MESSAGES[leaker], failures[leaker])


def test_a_clean_test_passes(failures: dict[str, str]) -> None:
    """A gRPC server and a channel that were closed leave nothing behind."""
    assert failures["clean"] == ""


def test_what_only_the_log_keeps_is_no_leak(failures: dict[str, str]) -> None:
    """Captured log records keep no exception, nor what its frames hold, until the end of the test."""
    assert failures["logged_exception"] == ""
