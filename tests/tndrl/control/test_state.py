"""Where a node stands: every step there is, and every one there is not."""

from __future__ import annotations

import itertools
import threading

import pytest

from tndrl.control.state import TRANSITIONS, NodeState, StateMachine
from tndrl.errors import StateTransitionError
from tndrl.v1 import control_pb2

STEPS = {
    ("STARTING", "READY"),
    ("STARTING", "STOPPED"),
    ("READY", "BUSY"),
    ("READY", "DRAINING"),
    ("BUSY", "READY"),
    ("BUSY", "DRAINING"),
    ("DRAINING", "STOPPED"),
}
WAYS = {
    "STARTING": (),
    "READY": ("READY",),
    "BUSY": ("READY", "BUSY"),
    "DRAINING": ("READY", "DRAINING"),
    "STOPPED": ("STOPPED",),
}
"""How to get to each state."""


def machine_at(state: NodeState) -> StateMachine:
    """Return a machine that has gone to ``state``."""
    machine = StateMachine()
    for step in WAYS[state.name]:
        machine.advance(NodeState[step])
    return machine


@pytest.mark.parametrize(("current", "wanted"), list(itertools.product(NodeState, repeat=2)))
def test_every_step(current: NodeState, wanted: NodeState) -> None:
    """A step of the table is made; every other one raises and changes nothing."""
    machine = machine_at(current)
    if (current.name, wanted.name) in STEPS:
        machine.advance(wanted)
        assert machine.current is wanted
        return
    with pytest.raises(StateTransitionError) as raised:
        machine.advance(wanted)
    assert (raised.value.current, raised.value.wanted) == (current.name, wanted.name)
    assert machine.current is current


def test_the_table_knows_every_state() -> None:
    """Each state has its row, and a node that stopped stays so."""
    assert set(TRANSITIONS) == set(NodeState)
    assert not TRANSITIONS[NodeState.STOPPED]


def test_the_numbers_are_those_of_the_wire() -> None:
    """The states have the numbers of the proto, which has one more, for none."""
    wire = {name.removeprefix("NODE_STATE_"): number for name, number in control_pb2.NodeState.items()}
    assert wire == {"UNSPECIFIED": 0, **{state.name: state.value for state in NodeState}}


@pytest.mark.parametrize("state", list(NodeState))
@pytest.mark.parametrize("running", [0, 1, 7])
def test_tasks_make_busy_and_ready(state: NodeState, running: int) -> None:
    """The number of running tasks matters while serving, and at no other time."""
    machine = machine_at(state)
    machine.note_tasks(running)
    serving = state in (NodeState.READY, NodeState.BUSY)
    expected = (NodeState.BUSY if running else NodeState.READY) if serving else state
    assert machine.current is expected


def test_steps_are_told() -> None:
    """Each step is told once, when it has been made."""
    told: list[tuple[NodeState, NodeState]] = []
    machine = StateMachine(lambda state: told.append((state, machine.current)))
    machine.advance(NodeState.READY)
    with pytest.raises(StateTransitionError):
        machine.advance(NodeState.STOPPED)
    assert told == [(NodeState.READY, NodeState.READY)]


def test_threads_agree() -> None:
    """Of many threads that make the same step one succeeds."""
    machine, made = machine_at(NodeState.READY), []

    def drain() -> None:
        try:
            machine.advance(NodeState.DRAINING)
        except StateTransitionError:
            return
        made.append(1)

    threads = [threading.Thread(target=drain) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
