"""What a test must not leave behind: descriptors, threads, processes, files, tasks, unheard errors.

A ``Watch`` is taken before a test and asked afterwards. What a dependency leaves by its own design is listed
in ``TOLERATED``, and nowhere else.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import psutil

SETTLE = 2.0
"""Seconds that a dependency's threads and descriptors get to end after their owner was closed."""

GRPCIO = "src/python/grpcio/"
"""What stands in the description of a task that grpcio began."""

TOLERATED = {
    "multiprocessing.resource_tracker": "one helper process of the standard library, which lives until exit",
}
"""Part of a leak's description -> why it is none. Each entry hides real leaks of its kind."""


class Watch:
    """The state of this process at one moment, and what has been added to it since."""

    def __init__(self, scratch: Path) -> None:
        """Remember what is there now; ``scratch`` is the folder that temporary files go to."""
        self._scratch = scratch
        self._files = files(scratch)
        self._threads = set(threading.enumerate())
        self._processes = processes()
        self._descriptors = Counter(descriptors().values())

    def leaks(self) -> list[str]:
        """Return one line per thing left since the start, waiting up to ``SETTLE`` seconds for it to go."""
        deadline = time.monotonic() + SETTLE
        while (found := self._added()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _added(self) -> list[str]:
        gc.collect()
        found = [f"temporary file left: {name}" for name in sorted(files(self._scratch) - self._files)]
        found += [f"thread left: {thread.name}" for thread in set(threading.enumerate()) - self._threads]
        found += [f"process left: {describe_process(child)}" for child in processes() - self._processes]
        current = descriptors()
        for name in Counter(current.values()) - self._descriptors:
            numbers = [number for number, other in current.items() if other == name]
            found.append(f"descriptor left: {describe_descriptor(max(numbers), name)}")
        return [line for line in found if not any(part in line for part in TOLERATED)]


class LoopErrors(logging.Handler):
    """Collects what event loops report because no caller hears it, in every thread.

    The default exception handler of a loop logs as error to ``asyncio``: exceptions of callbacks and of tasks
    nobody awaited, tasks destroyed while pending.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line of the report and of the exception in it."""
        cause = f" ({record.exc_info[1]!r})" if record.exc_info else ""
        first = record.getMessage().partition("\n")[0]
        self.lines.append(f"unhandled in an event loop: {first}{cause}")

    def __enter__(self) -> Self:
        logging.getLogger("asyncio").addHandler(self)
        return self

    def __exit__(self, *exception: object) -> None:
        logging.getLogger("asyncio").removeHandler(self)


def forget_arguments(records: Iterable[logging.LogRecord]) -> None:
    """Let captured records hold text only: an exception among their arguments keeps its frames' objects alive."""
    for record in records:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None


async def pending_tasks() -> list[str]:
    """Return one line per task of the running loop that a few turns of the loop do not end.

    Those of grpcio wait for a thread of its own, and get ``SETTLE`` seconds.
    """
    for _ in range(10):
        await asyncio.sleep(0)
    here = asyncio.current_task()
    if of_grpcio := [task for task in asyncio.all_tasks() if task is not here and GRPCIO in repr(task)]:
        await asyncio.wait(of_grpcio, timeout=SETTLE)
    return [f"task left: {task!r}" for task in asyncio.all_tasks() if task is not here]


def files(folder: Path) -> set[str]:
    """Return the names that stand in ``folder``."""
    return {entry.name for entry in folder.iterdir()}


def processes() -> set[psutil.Process]:
    """Return the processes that this one started, directly or not, zombies included."""
    return set(psutil.Process().children(recursive=True))


def describe_process(process: psutil.Process) -> str:
    """Return a process's id and command line."""
    try:
        return f"{process.pid} {' '.join(process.cmdline()) or process.status()}"
    except psutil.NoSuchProcess:
        return f"{process.pid} (gone)"


def descriptors() -> dict[int, str]:
    """Return this process's open descriptors by number, each with a name that tells it from any other."""
    opened = {}
    for entry in Path("/dev/fd").iterdir():
        number = int(entry.name)
        name = _quietly(lambda number=number: name_of(number))
        if name is not None:
            opened[number] = name
    return opened


def name_of(number: int) -> str:
    """Return the kind and identity of a descriptor; raise OSError if it is closed."""
    if Path("/proc/self/fd").is_dir():
        return str(Path(f"/proc/self/fd/{number}").readlink())
    status = os.fstat(number)
    return f"{stat.filemode(status.st_mode)[0]}:{status.st_dev}:{status.st_ino}"


def describe_descriptor(number: int, name: str) -> str:
    """Return a descriptor's name and, where it is a socket, its type and both ends."""
    status = _quietly(lambda: os.fstat(number))
    if status is None or not stat.S_ISSOCK(status.st_mode):
        return name
    with socket.socket(fileno=os.dup(number)) as handle:
        ends = [_quietly(handle.getsockname), _quietly(handle.getpeername)]
        return f"{name} {handle.family.name} {handle.type.name} local {ends[0]!r} remote {ends[1]!r}"


def _quietly(call: Callable[[], object]) -> object | None:
    """Return what ``call`` does, or None where the descriptor it asks for was closed meanwhile."""
    try:
        return call()
    except OSError:
        return None


def report(lines: Iterable[str]) -> str:
    """Return the failure message for ``lines``."""
    return "the test left something behind:\n" + "\n".join(f"  - {line}" for line in lines)
