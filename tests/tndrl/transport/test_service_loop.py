"""The loop of a service: what wakes it, and what it asks the system."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import grpc.aio
import pytest

from tndrl.transport import service_loop
from tndrl.transport.service_loop import LOOK_EVERY, LazySelector, ServiceLoop, WakeUps


class Wakes:
    """A socket pair as grpcio has one, whose bytes wake a loop, and what the loop made of them."""

    def __init__(self, loop: ServiceLoop, *, patient: bool) -> None:
        self.read, self.write = socket.socketpair()
        self.read.setblocking(False)
        self.handled = 0
        self.taker = WakeUps(loop, self.read, self._handle, patient=patient)
        loop.add_reader(self.read, self.taker.take)

    def _handle(self) -> None:
        try:
            self.read.recv(1)
        except BlockingIOError:
            return
        self.handled += 1

    def close(self) -> None:
        self.read.close()
        self.write.close()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceLoop]:
    """Return a loop of a service; no other one has taken a wake-up so far."""
    monkeypatch.setattr(WakeUps, "taken_at", 0.0)
    monkeypatch.setattr(service_loop, "PATIENCE", 0.001)
    with asyncio.Runner(loop_factory=ServiceLoop) as runner:
        yield runner.get_loop()


def run_until(loop: ServiceLoop, condition: Callable[[], bool]) -> None:
    """Run the loop until something holds."""

    async def wait() -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - a callback makes it true, which tells nobody
                await asyncio.sleep(0.0005)

    loop.run_until_complete(wait())


@pytest.fixture
def wakes(loop: ServiceLoop, request: pytest.FixtureRequest) -> Iterator[Wakes]:
    """Return what wakes a loop that is patient, or not if the test says so."""
    made = Wakes(loop, patient=getattr(request, "param", True))
    yield made
    if made.read.fileno() != -1:
        loop.remove_reader(made.read)
        made.close()


@pytest.mark.parametrize("wakes", [False], indirect=True)
def test_a_wake_up_is_handled_at_once(loop: ServiceLoop, wakes: Wakes) -> None:
    """A loop that is not patient takes what there is, and is known to live."""
    wakes.write.send(b"1")
    run_until(loop, lambda: wakes.handled == 1)
    assert WakeUps.taken_at > 0


def test_a_patient_loop_leaves_wake_ups_to_the_others(
    loop: ServiceLoop, wakes: Wakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another loop takes them a patient one handles none, however many there are."""
    monkeypatch.setattr(service_loop, "PATIENCE", 0.05)

    async def another() -> None:
        for _ in range(20):
            wakes.write.send(b"1")
            await asyncio.sleep(0.01)
            WakeUps.taken_at = loop.time()
            wakes.read.recv(1)

    loop.run_until_complete(another())
    assert wakes.handled == 0


def test_a_patient_loop_handles_what_the_others_leave(
    loop: ServiceLoop, wakes: Wakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody else takes a wake-up it waits for a moment, and from then on for nobody."""
    began = loop.time()
    wakes.write.send(b"1")
    run_until(loop, lambda: wakes.handled == 1)
    assert loop.time() - began >= service_loop.PATIENCE
    monkeypatch.setattr(service_loop, "PATIENCE", 60.0)
    wakes.write.send(b"1")
    run_until(loop, lambda: wakes.handled == 2)


def test_a_patient_loop_trusts_the_others_again(
    loop: ServiceLoop, wakes: Wakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once another loop has taken one the patient one leaves them to it again."""
    wakes.write.send(b"1")
    run_until(loop, lambda: wakes.handled == 1)
    WakeUps.taken_at = loop.time()
    monkeypatch.setattr(service_loop, "PATIENCE", 60.0)
    wakes.write.send(b"1")
    loop.run_until_complete(asyncio.sleep(0.002))
    assert wakes.handled == 1


def test_a_closed_socket_is_watched_no_more(loop: ServiceLoop, wakes: Wakes) -> None:
    """When grpcio has ended in the meantime nothing is looked at."""
    wakes.write.send(b"1")
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    wakes.close()
    loop.run_until_complete(asyncio.sleep(0.002))
    assert wakes.handled == 0


@pytest.mark.parametrize("loop_of", [ServiceLoop, lambda: ServiceLoop(patient=True)])
def test_grpcio_wakes_loops_as_it_did(loop_of: Callable[[], ServiceLoop]) -> None:
    """A server's wake-ups go through ours: when this fails, see how grpcio tells a loop of events now."""

    async def serve() -> bool:
        server = grpc.aio.server()
        await server.start()
        await server.stop(None)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ServiceLoop)
        return loop.wake_ups is not None

    with asyncio.Runner(loop_factory=loop_of) as runner:
        assert runner.run(serve())


def test_a_loop_with_work_still_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that never runs out of callbacks looks at its sockets after a moment, and one without at once."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    near, far = socket.socketpair()
    with near, far, LazySelector() as selector:
        selector.register(near, 1)
        far.send(b"x")
        assert selector.select(0)
        assert not selector.select(0)
        now += LOOK_EVERY
        assert selector.select(0)
        assert not selector.select(0)
        assert selector.select(None)
