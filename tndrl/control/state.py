"""Where a node stands in its life. The transitions are data; a step that is not among them raises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum

from tndrl.errors import StateTransitionError


class NodeState(Enum):
    """The states of a node; the numbers are those of ``tndrl.v1.NodeState`` on the wire."""

    STARTING = 1
    """Reading its files and opening its sockets."""
    READY = 2
    """Serving, and nothing is running."""
    BUSY = 3
    """Serving, and at least one task is running."""
    DRAINING = 4
    """Finishing what runs; everything new but Control is refused."""
    STOPPED = 5
    """Done."""


TRANSITIONS: dict[NodeState, frozenset[NodeState]] = {
    NodeState.STARTING: frozenset({NodeState.READY, NodeState.STOPPED}),
    NodeState.READY: frozenset({NodeState.BUSY, NodeState.DRAINING}),
    NodeState.BUSY: frozenset({NodeState.READY, NodeState.DRAINING}),
    NodeState.DRAINING: frozenset({NodeState.STOPPED}),
    NodeState.STOPPED: frozenset(),
}


class StateMachine:
    """Holds a node's state; may be read and advanced from any thread."""

    def __init__(self, on_change: Callable[[NodeState], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._state = NodeState.STARTING
        self._on_change = on_change

    @property
    def current(self) -> NodeState:
        """The state now."""
        return self._state

    def advance(self, wanted: NodeState) -> None:
        """Go to ``wanted``; raises StateTransitionError where that is no step from here."""
        with self._lock:
            if wanted not in TRANSITIONS[self._state]:
                raise StateTransitionError(self._state.name, wanted.name)
            self._state = wanted
        if self._on_change is not None:
            self._on_change(wanted)

    def note_tasks(self, running: int) -> None:
        """Become BUSY with the first running task and READY with the last; no change while starting or draining."""
        with self._lock:
            if self._state not in (NodeState.READY, NodeState.BUSY):
                return
            self._state = NodeState.BUSY if running else NodeState.READY
