"""Starting up, one command, and idle memory."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from bench.counters import Usage
from bench.model import Case, Figures, Ground, Metric, Peer, Scenario

TNDRL = str(Path(sys.executable).with_name("tndrl"))
ENTRY = (sys.executable, "-m", "bench")


def cases(quick: bool) -> tuple[Case, ...]:
    """As a person runs them."""
    plain = Case(name="as a person runs them", peers=(Peer.TNDRL, Peer.TCP), repetitions=1 if quick else 5)
    agents = Case(
        name="with an agent",
        peers=(Peer.TNDRL, Peer.TCP, Peer.JSONRPC),
        params={"agent": True},
        repetitions=3,
    )
    return (plain,) if quick else (plain, agents)


async def drive(peer: Peer, ground: Ground) -> Figures:
    """Start a server, see how much memory it holds, and call it once from a process that is started for that."""
    folder, agent = ground.folder, bool(ground.params.get("agent"))
    state = folder / "state-started"
    if peer is Peer.TNDRL:
        serve = [TNDRL, "serve", "-o", "json", "--server-addr", "127.0.0.1:0"]
        serve += ["--pki-dir", str(folder / "server"), "--state-dir", str(state), "--log-level", "error"]
        serve += ["--llm-provider", "echo"] if agent else []
    else:
        params = json.dumps({"agent": agent})
        serve = [*ENTRY, "serve", peer.value, "--dir", str(folder), "--host", "127.0.0.1", "--params", params]
    began = time.perf_counter()
    server = await asyncio.create_subprocess_exec(*serve, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
    try:
        assert server.stdout is not None
        ready = json.loads(await server.stdout.readline())
        figures = {"ready": time.perf_counter() - began}
        address = str(ready.get("address") or f"127.0.0.1:{ready['port']}")
        await asyncio.sleep(0.5)  # idle is what it holds once start-up is over
        figures["resident"] = Usage.of(server.pid).resident / 1024 / 1024
        figures["call"] = await _one_call(peer, folder, address)
    finally:
        server.terminate()
        await server.communicate()
    return figures


async def _one_call(peer: Peer, folder: Path, address: str) -> float:
    if peer is Peer.TNDRL:
        command = [TNDRL, "ping", address, "--pki-dir", str(folder / "client")]
    else:
        command = [*ENTRY, "call", peer.value, address, "--dir", str(folder)]
    environment = {**os.environ, "HOME": str(folder)}
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, env=environment)
    if await process.wait():
        raise AssertionError(f"{' '.join(command)} failed")
    return time.perf_counter() - began


SCENARIO = Scenario(
    key="startup",
    number=10,
    title="Starting up",
    question="How long is it until a node is READY, what does it hold idle, and how long does one command take?",
    cases=cases,
    drive=drive,
    metrics=(
        Metric(key="ready", title="until READY", unit="s"),
        Metric(key="resident", title="idle memory", unit="MiB"),
        Metric(key="call", title="one call, process and all", unit="s"),
    ),
    why=(
        "Most of it is Python loading what is needed: grpcio for all, aioquic and cryptography's path "
        "validation for QUIC, the a2a-sdk and its database for agents. The server over TCP is the "
        "benchmark's own small script, without configuration, Control, health, reflection or durable "
        "tasks."
    ),
)
