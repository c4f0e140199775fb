"""A rogue and one of our connections without a network between them: thousands of attacks in seconds."""

from __future__ import annotations

from aioquic.tls import Epoch

from rogue.connection import RogueConnection
from rogue.script import Script
from support.virtual import NODE, connection
from tndrl.transport._aioquic.connection import AuthenticatedConnection, Close
from tndrl.transport.quic_settings import QuicSettings

CLIENT = ("192.0.2.2", 50000)

TURNS = 20
"""Flights that either side may send one after another; a handshake takes three."""

SETTINGS = QuicSettings()


class Pair:
    """A rogue that plays ``script``, and ours in the other role."""

    def __init__(self, script: Script, *, rogue_is_client: bool) -> None:
        self.now = 0.0
        self.sent: list[bytes] = []
        """What the rogue has sent."""
        if rogue_is_client:
            self.rogue = RogueConnection(script)
            self.rogue.connect(NODE, self.now)
            destination = self.rogue.original_destination_connection_id
            self.ours = connection(is_client=False, settings=SETTINGS, destination=destination)
        else:
            self.ours = connection(is_client=True, settings=SETTINGS)
            self.ours.connect(NODE, self.now)
            self.rogue = RogueConnection(script, self.ours.original_destination_connection_id)
        self._rogue_is_client = rogue_is_client

    @property
    def close(self) -> Close | None:
        """How ours has closed or was closed; None if it lives."""
        return self.ours.close_info

    def exchange(self) -> None:
        """Let both say what they have to say."""
        for _ in range(TURNS):
            self.now += 0.01
            said = [data for data, _ in _datagrams(self.rogue, self.now)]
            answers = [data for data, _ in _datagrams(self.ours, self.now)]
            if not said and not answers:
                return
            self.feed(*said)
            for data in answers:
                self.rogue.receive_datagram(data, self._ours_at, self.now)
        raise AssertionError(f"no end of it: {self.close}")

    def feed(self, *datagrams: bytes) -> None:
        """Hand datagrams of the rogue to ours."""
        for data in datagrams:
            self.sent.append(data)
            self.ours.receive_datagram(data, CLIENT if self._rogue_is_client else NODE, self.now)
        while self.ours.next_event() is not None:
            pass

    def begin(self) -> None:
        """Let ours hear the first flight of a client, and no answer of a server: both have keys for Initial packets."""
        self.now += 0.01
        if self._rogue_is_client:
            self.feed(*(data for data, _ in _datagrams(self.rogue, self.now)))
        else:
            for data, _ in _datagrams(self.ours, self.now):
                self.rogue.receive_datagram(data, self._ours_at, self.now)

    def answer(self) -> None:
        """Let ours say what it has to say; nobody hears it."""
        self.now += 0.001
        _datagrams(self.ours, self.now)

    def attack(self, payload: bytes, epoch: Epoch = Epoch.ONE_RTT) -> None:
        """Hand a packet of the rogue to ours, with valid protection around what shall pass for frames."""
        self.feed(self.rogue.packet(payload, epoch))

    @property
    def _ours_at(self) -> tuple[str, int]:
        return NODE if self._rogue_is_client else CLIENT


def _datagrams(end: AuthenticatedConnection | RogueConnection, now: float) -> list[tuple[bytes, object]]:
    return end.datagrams_to_send(now) if end._network_paths else []
