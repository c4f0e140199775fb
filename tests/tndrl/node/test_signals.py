"""Signals that stop a node: gracefully the first time, at once the second."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from tndrl.node.signals import StopSignals


class Recorder:
    """Stands for a node: accepts one graceful request and one without grace."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.reasons: list[str] = []
        self.told = asyncio.Event()

    def request_shutdown(self, *, graceful: bool, timeout: float | None, reason: str) -> str | None:
        """Note the request."""
        refusal = "stopping already" if graceful in self.asked else None
        self.asked.append(graceful)
        self.reasons.append(reason)
        self.told.set()
        return refusal


async def send(number: signal.Signals, node: Recorder) -> None:
    """Send this process a signal and wait until the node has been told."""
    node.told.clear()
    os.kill(os.getpid(), number)
    async with asyncio.timeout(5):
        await node.told.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_is_graceful(number: signal.Signals) -> None:
    """A node learns which signal it was, and that running calls may finish."""
    node = Recorder()
    with StopSignals() as signals:
        signals.obeyed_by(node)
        await send(number, node)
    assert node.asked == [True]
    assert node.reasons == [f"it received {number.name}"]


async def test_the_second_ends_at_once() -> None:
    """Whoever signals twice does not want to wait."""
    node = Recorder()
    with StopSignals() as signals:
        signals.obeyed_by(node)
        await send(signal.SIGTERM, node)
        await send(signal.SIGINT, node)
    assert node.asked == [True, True, False]


async def test_an_early_one_is_kept() -> None:
    """A signal that comes before there is a node stops the node as soon as there is one."""
    node = Recorder()
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)  # lets the loop take the signal from its socket
        await asyncio.sleep(0)
        signals.obeyed_by(node)
        async with asyncio.timeout(5):
            await node.told.wait()
    assert node.asked == [True]


async def test_handlers_are_taken_back() -> None:
    """After the block a signal is again what it was before."""
    before = signal.getsignal(signal.SIGINT)
    with StopSignals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_takes_no_signals() -> None:
    """Python delivers signals to the main thread only; elsewhere the block does nothing."""
    results: list[object] = []

    async def enter() -> None:
        with StopSignals():
            results.append(True)

    thread = threading.Thread(target=lambda: asyncio.run(enter()))
    thread.start()
    thread.join()
    assert results == [True]
