"""The ten questions, each in a module of its own."""

from __future__ import annotations

from bench.model import Scenario
from bench.scenarios import (
    address_change,
    agents,
    blackout,
    first_call,
    head_of_line,
    memory,
    small_operations,
    startup,
    streams,
    unary,
)

SCENARIOS: tuple[Scenario, ...] = (
    unary.SCENARIO,
    streams.SCENARIO,
    first_call.SCENARIO,
    agents.SCENARIO,
    head_of_line.SCENARIO,
    address_change.SCENARIO,
    blackout.SCENARIO,
    memory.SCENARIO,
    small_operations.SCENARIO,
    startup.SCENARIO,
)


def scenario(key: str) -> Scenario:
    """Return the scenario that is called ``key``; raises KeyError."""
    return {each.key: each for each in SCENARIOS}[key]
