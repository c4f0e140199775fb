"""A node, and a caller with two interfaces that come and go, each in a network namespace of its own.

Run as ``unshare -rn python two_interfaces.py FOLDER``; writes what the caller noticed as one line of JSON. The node's
address is reached over either interface, the first is preferred.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support import certs, nodes
from tndrl.errors import TndrlError

NODE = "10.9.9.9"
STEPS = {
    "an interface goes down": "ip link set c0 down",
    "it comes back": "ip link set c0 up && ip route add 10.9.9.9 via 10.0.0.1 dev c0 metric 10",
    "its address goes": "ip addr del 10.0.0.2/24 dev c0",
    "it gets another": "ip addr add 10.0.0.7/24 dev c0 && ip route add 10.9.9.9 via 10.0.0.1 dev c0 metric 10",
}
CALLS = 30
"""Calls that are answered between two steps."""


def shell(commands: str, namespace: int | None = None) -> None:
    """Run commands, in the network namespace of another process if given."""
    prefix = [] if namespace is None else ["nsenter", "-t", str(namespace), "-n"]
    subprocess.run([*prefix, "sh", "-ec", commands], check=True)


def connect(caller: int) -> None:
    """Connect our namespace with that of the process ``caller``, twice."""
    shell(f"ip link set lo up; ip addr add {NODE}/32 dev lo")
    for number in (0, 1):
        shell(
            f"ip link add a{number} type veth peer name c{number} netns {caller}\n"
            f"ip addr add 10.0.{number}.1/24 dev a{number}; ip link set a{number} up"
        )
        shell(
            f"ip addr add 10.0.{number}.2/24 dev c{number}; ip link set c{number} up\n"
            f"ip route add {NODE} via 10.0.{number}.1 dev c{number} metric {10 * number + 10}",
            caller,
        )


class Calls:
    """Pings without end, and how they went."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.longest = 0.0
        self._answered = asyncio.Semaphore(0)

    async def run(self, stub: object) -> None:
        """Ping until cancelled."""
        while True:
            began = time.perf_counter()
            try:
                await nodes.ping(stub)
            except Exception as error:
                self.failures.append(str(error))
            self.longest = max(self.longest, time.perf_counter() - began)
            self._answered.release()
            await asyncio.sleep(0.005)

    async def more(self) -> float:
        """Wait until more calls have been answered; return how long the longest of them took."""
        self.longest = 0.0
        for _ in range(CALLS):
            await self._answered.acquire()
        return self.longest


async def call(folder: Path, address: str, identity: str) -> None:
    """Call the node while interfaces come and go."""
    known = [{"name": "node", "addr": address, "identity": identity}]
    async with nodes.calling(folder, "b", "node", peers=known) as peer, asyncio.TaskGroup() as tasks:
        calls, stalls = Calls(), {}
        running = tasks.create_task(calls.run(nodes.control(peer)))
        await calls.more()
        for step, commands in STEPS.items():
            changing = asyncio.ensure_future(asyncio.to_thread(shell, commands))
            meanwhile = await calls.more()
            await changing
            stalls[step] = max(meanwhile, await calls.more())
        running.cancel()
        try:
            await peer.probe(5)
        except TndrlError as error:
            calls.failures.append(str(error))
        stats = peer._dialer.stats()
        print(
            json.dumps(
                {"failures": calls.failures, "stalls": stalls, "migrations": stats.get("migrations", 0)}
            )
        )


async def serve(folder: Path) -> None:
    """Run the node, and the caller in a process and a namespace of its own."""
    certs.write_pki_dir(folder / "b" / "pki", certs.node_leaf("b"))
    caller = await asyncio.create_subprocess_exec(
        "unshare", "-n", sys.executable, __file__, "call", str(folder / "b"), stdin=subprocess.PIPE
    )
    assert caller.stdin is not None
    await asyncio.to_thread(own_namespace, caller.pid)
    connect(caller.pid)
    async with nodes.running(folder / "a", server__addr="[::]:4433") as node:
        caller.stdin.write(f"{NODE}:4433 {node.identity}\n".encode())
        await caller.wait()
        print(json.dumps({"handshakes": node.stats()["handshakes_completed"]}))


def own_namespace(process: int) -> None:
    """Wait until a process has a network namespace of its own."""
    ours = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{process}/ns/net").readlink() == ours:
        time.sleep(0.01)


if __name__ == "__main__":
    if sys.argv[1] == "call":
        asyncio.run(call(Path(sys.argv[2]), *sys.stdin.readline().split()))
    else:
        asyncio.run(serve(Path(sys.argv[1])))
