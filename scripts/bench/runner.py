"""Runs scenarios: each case with fresh servers, repetitions interleaved between peers, the first ones thrown away."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.lab import Lab, Place, RefusedError
from bench.model import Case, Peer, Scenario
from bench.results import CaseResult, Results, ScenarioResult

Progress = Callable[[str], None]
"""Told before each measurement what it is."""

OWN_SERVER = frozenset({"startup"})
"""Scenarios that start what they measure."""

FRESH_SERVER = frozenset({"memory"})
"""Scenarios that change what they measure, so that each repetition needs a server of its own."""


class Runner:
    """Measures scenarios one after another into ``results``; without ``lab`` only on the loopback interface."""

    def __init__(
        self, folder: Path, results: Results, lab: Lab | None, progress: Progress, *, quick: bool
    ) -> None:
        self._folder = folder
        self._results = results
        self._lab = lab
        self._progress = progress
        self._quick = quick
        self._missing = {peer: why for peer, why in ((Peer.GO, _no_go()),) if why}
        self._told: set[str] = set()

    def measurements(self, scenarios: Sequence[Scenario]) -> int:
        """Return how many there will be."""
        return sum(
            case.repetitions * len(self._peers(case))
            for scenario in scenarios
            for case in scenario.cases(self._quick)
            if self._lab is not None or case.link is None
        )

    def run(self, scenario: Scenario) -> None:
        """Measure every case of a scenario."""
        began = time.monotonic()
        result = ScenarioResult.of(scenario)
        self._results.scenarios.append(result)
        for case in scenario.cases(self._quick):
            if case.link is not None and self._lab is None:
                self._skip(f"{scenario.title}: network namespaces are not allowed here")
                continue
            kept = CaseResult.of(case)
            result.cases.append(kept)
            with self._place(case) as place:
                self._measure(scenario, case, place, kept)
        result.seconds = round(time.monotonic() - began, 1)

    def _measure(self, scenario: Scenario, case: Case, place: Place, kept: CaseResult) -> None:
        for peer in case.peers:
            if peer in self._missing:
                self._skip(f"{peer.label}: {self._missing[peer]}")
        with ExitStack() as stack:
            servers: dict[Peer, dict[str, Any]] = {}
            if scenario.key not in OWN_SERVER | FRESH_SERVER:
                for peer in self._peers(case):
                    try:
                        servers[peer] = stack.enter_context(place.serving(peer, case))
                    except RefusedError as error:
                        kept.refuse(peer, str(error))
            for repetition in range(case.repetitions):
                order = [peer for peer in self._peers(case) if peer.value not in kept.refused]
                for peer in order if repetition % 2 == 0 else reversed(order):
                    self._progress(f"{scenario.title}: {case.name}: {peer.label}")
                    try:
                        with self._server(scenario, case, peer, place, servers.get(peer)) as served:
                            kept.add(peer, place.drive(scenario.key, peer, case, served))
                    except RefusedError as error:
                        kept.refuse(peer, str(error))

    @contextmanager
    def _server(
        self, scenario: Scenario, case: Case, peer: Peer, place: Place, running: dict[str, Any] | None
    ) -> Iterator[dict[str, Any]]:
        if scenario.key in FRESH_SERVER:
            with place.serving(peer, case) as served:
                yield served
        else:
            yield running or {}

    @contextmanager
    def _place(self, case: Case) -> Iterator[Place]:
        if case.link is None:
            yield Place(self._folder)
            return
        assert self._lab is not None
        with self._lab.place(case.link) as place:
            yield place

    def _peers(self, case: Case) -> list[Peer]:
        return [peer for peer in case.peers if peer not in self._missing]

    def _skip(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._results.skipped.append(what)


def _no_go() -> str:
    return "" if shutil.which("go") else "Go is not installed"
