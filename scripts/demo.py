"""Show two nodes prove who they are to each other, answer calls and work as agents, from certificates to shutdown.

Everything is real: the installed commands, UDP sockets and certificates in a temporary folder. Each step is
printed with its command and what came back. Nothing is left behind, whatever happens.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import IO

BIN = Path(sys.executable).parent
STATUS_PROGRAM = Path(__file__).resolve().parent.parent / "examples" / "status.py"
NODES = ("east", "west")
ECHO = {"east": "times=600,delay=0.1", "west": "chunk=6,delay=0.1"}
"""How each node's agent answers: east takes a minute, west repeats the prompt in pieces."""
FAILED, REFUSED = 1, 4
"""Exit codes of ``tndrl`` where a call or task failed, and where a certificate was refused by either side."""
STEP_LIMIT = 30.0
"""Seconds that one command, a node's start or its end may take."""

NODE_CONFIG = """\
version: v1
server:
  addr: {address}
pki:
  dir: {name}
stateDir: state-{name}
control:
  admins: ["spiffe://tndrl/node/operator"]
llm:
  provider: echo
  model: {echo}
"""

CALLER_CONFIG = """\
version: v1
pki:
  dir: {pki}
stateDir: state-{pki}
peers:
  - {{name: east, addr: "{east}", identity: "spiffe://tndrl/node/east"}}
  - {{name: west, addr: "{west}", identity: "spiffe://tndrl/node/west"}}
"""


class DemoError(Exception):
    """A step did not do what it is there to show."""


class Demo:
    """The demonstration in one folder, with the processes it started."""

    def __init__(self, folder: Path) -> None:
        """Work in ``folder``, and let no setting of the caller's own reach the commands."""
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TNDRL_")}
        path = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
        # A command that is killed cannot remove its temporary files: they go with the folder.
        self.environment = {**kept, "PATH": path, "HOME": str(folder), "TMPDIR": str(folder)}
        self.nodes: dict[str, subprocess.Popen[str]] = {}
        self._children: list[subprocess.Popen[str]] = []
        self._interrupted = False
        self._steps = 0

    def play(self) -> None:
        """Show every step; raise DemoError at the first that fails."""
        self.make_identities()
        addresses = {}
        for name in NODES:
            self.step(f"Node {name} starts on a port of its own")
            addresses[name] = self.start_node(name)
        for caller in ("operator", "stranger"):
            self.write(f"{caller}.yaml", CALLER_CONFIG.format(pki=caller, **addresses))
        self.step("The operator calls both: each call begins with both sides proving who they are")
        self.run("tndrl", "-c", "operator.yaml", "ping", "east", "-n", "3")
        self.run("tndrl", "-c", "operator.yaml", "ping", "west")
        self.run("tndrl", "-c", "operator.yaml", "status", "west")
        self.step(f"A stranger with a certificate of another CA is refused (exit code {REFUSED})")
        self.run("tndrl", "-c", "stranger.yaml", "ping", "east", expected=REFUSED)
        self.step("Ten lines of Python ask a node's status with a generated stub (examples/status.py)")
        self.run("python", str(STATUS_PROGRAM), addresses["east"], "operator")
        self.play_agents(addresses["east"])
        self.step("The operator, who is in both nodes' control.admins, stops them")
        for name in NODES:
            self.run("tndrl", "-c", "operator.yaml", "shutdown", name)
        self.await_ends()

    def play_agents(self, address: str) -> None:
        """Show what agents do; east listens at ``address``."""
        tndrl = ("tndrl", "-c", "operator.yaml")
        self.step("Each node has an agent. Who it is is proven; what it says of itself is claimed")
        self.run(*tndrl, "discover", "west")
        self.step("A prompt, answered piece by piece")
        self.run(*tndrl, "prompt", "west", "Every word of this comes back to you.", "-s")
        self.step("A long task is cancelled, and whoever waits for it is told")
        waiting = self.begin(*tndrl, "prompt", "east", "tick ", "-s")
        self.run(*tndrl, "task", "cancel", "east", self.working_task(*tndrl))
        self.finish(waiting)
        self.step(
            "A node is killed while it works. When it is back, the task says so, and the prompt resumes by itself"
        )
        waiting = self.begin(*tndrl, "prompt", "east", "tock ", "-s")
        task = self.working_task(*tndrl)
        self.show(("kill", "-9", str(self.nodes["east"].pid)))
        self.nodes["east"].kill()
        self.nodes["east"].wait(STEP_LIMIT)
        self.start_node("east", address)
        self.run(*tndrl, "task", "get", "east", task)
        self.finish(waiting)

    def make_identities(self) -> None:
        """Create a CA with the identities of two nodes and the operator, and a stranger's of another CA."""
        self.step("A certificate authority, and three identities that it signs")
        self.run("tndrl-pki", "init", "--dir", "ca")
        for name in (*NODES, "operator"):
            self.run("tndrl-pki", "issue", name, "--dir", "ca", "--out", name)
            self.trust(name, "ca")
        self.step("Another authority signs a stranger, who trusts both authorities")
        self.run("tndrl-pki", "init", "--dir", "other-ca")
        self.run("tndrl-pki", "issue", "operator", "--dir", "other-ca", "--out", "stranger")
        self.trust("stranger", "ca", "other-ca")

    def trust(self, who: str, *authorities: str) -> None:
        """Give the folder ``who`` the certificates of ``authorities``, and nothing of their keys."""
        files = [f"{authority}/ca.crt" for authority in authorities]
        self.show(("cat", *files, ">", f"{who}/ca.crt"))
        self.write(f"{who}/ca.crt", "".join((self.folder / file).read_text("ascii") for file in files))

    def start_node(self, name: str, address: str = "127.0.0.1:0") -> str:
        """Start a node and return the address that its ready line names."""
        self.write(f"{name}.yaml", NODE_CONFIG.format(name=name, address=address, echo=ECHO[name]))
        command = ["tndrl", "-c", f"{name}.yaml", "-o", "json", "serve"]
        self.show(command)
        with (self.folder / f"{name}.log").open("a", encoding="utf-8") as log:
            node = self.nodes[name] = self.launch(command, log)
        line = first(node, lambda output: output.readline())
        self.check_interrupted()
        if not line:
            raise DemoError(f"node {name} did not become ready:\n{self.log(name)}")
        print_output(line)
        return str(json.loads(line)["address"])

    def await_ends(self) -> None:
        """Wait until both nodes have ended by themselves; raise DemoError if one failed."""
        for name, node in self.nodes.items():
            status = node.wait(STEP_LIMIT)
            self.check_interrupted()
            print(f"   node {name} ended with exit code {status}")
            if status:
                raise DemoError(f"node {name} failed:\n{self.log(name)}")

    def launch(self, command: Sequence[str], errors: int | IO[str]) -> subprocess.Popen[str]:
        """Start a command whose output is read here, in a session of its own: Ctrl-C reaches only this script."""
        child = subprocess.Popen(
            self.resolve(command),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        self._children.append(child)
        if self._interrupted:
            child.terminate()
        return child

    def interrupt(self, signum: int, frame: FrameType | None) -> None:
        """Handle a signal: end what runs. It raises nothing, or a child might be lost while it is started."""
        self._interrupted = True
        for child in self._children:
            child.terminate()

    def check_interrupted(self) -> None:
        """Raise KeyboardInterrupt if a signal came."""
        if self._interrupted:
            raise KeyboardInterrupt

    def stop(self) -> None:
        """End everything that still runs, by force if it must be."""
        for child in self._children:
            child.terminate()
        for child in self._children:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdout is not None:
                child.stdout.close()

    def begin(self, *command: str) -> subprocess.Popen[str]:
        """Start a command, show what it writes first, and leave it running."""
        self.show((*command, "&"))
        child = self.launch(command, subprocess.STDOUT)
        print_output(f"{first(child, lambda output: output.read(4))}...")
        self.check_interrupted()
        return child

    def working_task(self, *tndrl: str) -> str:
        """Return the ID of the task that east works on."""
        for line in self.run(*tndrl, "-o", "json", "task", "list", "east").splitlines():
            task = json.loads(line)
            if task["state"] == "WORKING":
                return str(task["task_id"])
        raise DemoError(f"east works on nothing\n{self.log('east')}")

    def finish(self, child: subprocess.Popen[str]) -> None:
        """Wait for the end of a command that was left running; raise DemoError unless its task had failed."""
        status = child.wait(STEP_LIMIT)
        self.check_interrupted()
        print(f"   and the prompt that was waiting ended with exit code {status}:")
        print_output(child.stdout.read() if child.stdout is not None else "")
        if status != FAILED:
            raise DemoError(f"the prompt that was waiting exited with {status}, not {FAILED}")

    def run(self, *command: str, expected: int = 0) -> str:
        """Run a command to its end, show it and return its output; raise DemoError unless it exits as ``expected``."""
        self.show(command)
        child = self.launch(command, subprocess.STDOUT)
        output, _ = child.communicate(timeout=STEP_LIMIT)
        self.check_interrupted()
        print_output(output)
        if child.returncode != expected:
            logs = "".join(self.log(name) for name in self.nodes)
            raise DemoError(f"'{' '.join(command)}' exited with {child.returncode}, not {expected}\n{logs}")
        return output

    def resolve(self, command: Sequence[str]) -> list[str]:
        """Return ``command`` with the program's path in the environment that runs this script."""
        program = sys.executable if command[0] == "python" else str(BIN / command[0])
        return [program, *command[1:]]

    def step(self, text: str) -> None:
        """Print the heading of a step."""
        self._steps += 1
        print(f"\n{self._steps}. {text}", flush=True)

    def show(self, command: Sequence[str]) -> None:
        """Print a command as a person would type it."""
        words = (f'"{word}"' if " " in word else word for word in command)
        print(f"   $ {' '.join(words)}", flush=True)

    def write(self, name: str, text: str) -> None:
        """Write a file into the folder."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def log(self, name: str) -> str:
        """Return what a node wrote to its log."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


def first(process: subprocess.Popen[str], read: Callable[[IO[str]], str]) -> str:
    """Return what ``read`` finds first in the output of ``process`` within ``STEP_LIMIT`` seconds, or nothing."""
    found: SimpleQueue[str] = SimpleQueue()
    output = process.stdout
    if output is None:
        return ""
    threading.Thread(target=lambda: found.put(read(output)), daemon=True).start()
    try:
        return found.get(timeout=STEP_LIMIT)
    except Empty:
        return ""


def print_output(text: str) -> None:
    """Print what came back, set off from the commands."""
    for line in text.splitlines():
        print(f"     {line}", flush=True)


def main() -> int:
    """Play the demonstration; return the exit code."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tndrl-demo-"))
        demo = Demo(Path(folder))
        stack.callback(demo.stop)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, demo.interrupt)
        try:
            demo.play()
        except (DemoError, subprocess.TimeoutExpired) as error:
            print(f"\nThe demo failed: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nInterrupted; cleaning up", file=sys.stderr)
            return 130
    print("\nDone: no process and no file is left.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
