"""What is measured: peers, links, cases and scenarios, as plain values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

Figures = dict[str, float]
"""Metric's key -> its value in one measurement."""


class Peer(StrEnum):
    """Who serves and calls."""

    TNDRL = "tndrl"
    TCP = "grpc-tcp"
    JSONRPC = "a2a-jsonrpc"
    AIOQUIC = "aioquic"
    UNIX = "grpc-unix"
    OWN = "tndrl-streams"
    GO = "go"

    @property
    def label(self) -> str:
        """What a reader knows it by."""
        return _TITLES[self]

    @property
    def carrier(self) -> str:
        """What must have crossed for a figure to count: "udp", "tcp", or "" for none of both."""
        return _CARRIERS[self]


_TITLES = {
    Peer.TNDRL: "Tndrl",
    Peer.TCP: "grpc.aio over TCP, mTLS",
    Peer.JSONRPC: "A2A JSON-RPC over HTTPS, mTLS",
    Peer.AIOQUIC: "stock aioquic, streams",
    Peer.UNIX: "grpc.aio over a unix socket",
    Peer.OWN: "Tndrl's streams without gRPC",
    Peer.GO: "Tndrl calls Go",
}
_CARRIERS = {
    Peer.TNDRL: "udp",
    Peer.TCP: "tcp",
    Peer.JSONRPC: "tcp",
    Peer.AIOQUIC: "udp",
    Peer.UNIX: "",
    Peer.OWN: "udp",
    Peer.GO: "udp",
}


@dataclass(frozen=True, kw_only=True)
class Link:
    """The line between both sides. Seconds, shares from 0 to 1, bits per second, packets."""

    rtt: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: float | None = None
    queue: int | None = None
    blackout: tuple[float, float] | None = None
    """Period and length of the dark part at its end."""
    seed: int = 1

    def __str__(self) -> str:
        parts = [f"RTT {self.rtt * 1000:g} ms"]
        if self.jitter:
            parts.append(f"jitter {self.jitter * 1000:g} ms")
        if self.loss:
            parts.append(f"loss {self.loss:.0%}")
        if self.rate:
            parts.append(f"{self.rate / 1e6:g} Mbit/s")
        if self.queue:
            parts.append(f"queue of {self.queue} packets")
        if self.blackout:
            parts.append(f"dark for {self.blackout[1]:g} s of every {self.blackout[0]:g} s")
        return ", ".join(parts)

    def plain(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Link:
        """Return the link of :meth:`plain`'s fields."""
        dark = fields.get("blackout")
        return cls(**{**fields, "blackout": (dark[0], dark[1]) if dark else None})


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One thing that is measured."""

    key: str
    title: str
    unit: str
    lower_is_better: bool = True


@dataclass(frozen=True, kw_only=True)
class Case:
    """One condition under which every peer of it is measured."""

    name: str
    peers: tuple[Peer, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    """What servers and drivers are told, as plain JSON values."""
    link: Link | None = None
    """None: the loopback interface."""
    repetitions: int = 5


@dataclass(frozen=True)
class Ground:
    """What a driver stands on."""

    host: str
    """The server's address."""
    port: int
    folder: Path
    """``ca`` and both sides' certificates: ``server`` and ``client``."""
    params: Mapping[str, Any]
    served: Mapping[str, Any]
    """What the server said when it was ready."""


Drive = Callable[[Peer, Ground], Awaitable[Figures]]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One question, the cases that answer it, and how one measurement is made."""

    key: str
    number: int
    title: str
    question: str
    cases: Callable[[bool], tuple[Case, ...]]
    """The cases of a quick run, or of a full one."""
    drive: Drive
    metrics: tuple[Metric, ...]
    why: str
    """Why the figures are as they are, for the page."""
