"""Streams of large messages, down, up and both ways."""

from __future__ import annotations

import time

from bench.counters import Usage
from bench.model import Case, Figures, Ground, Metric, Peer, Scenario
from bench.peers import make_of

COUNT = 128
"""Messages of a call: 8 MiB."""

ETHERNET = 1452
"""Bytes of a datagram's payload on an ordinary link over IPv6."""


def cases(quick: bool) -> tuple[Case, ...]:
    """Each direction with the datagrams of the loopback interface; down also with those of an ordinary link."""
    seconds, repetitions = (0.5, 2) if quick else (1.0, 4)
    every = (Peer.TNDRL, Peer.TCP) if quick else (Peer.TNDRL, Peer.TCP, Peer.UNIX, Peer.OWN, Peer.AIOQUIC)
    down = Case(name="down", peers=every, params={"way": "down", "seconds": seconds}, repetitions=repetitions)
    others = [
        Case(
            name=way,
            peers=(Peer.TNDRL, Peer.TCP, Peer.AIOQUIC),
            params={"way": way, "seconds": seconds},
            repetitions=2,
        )
        for way in (() if quick else ("up", "both"))
    ]
    small = Case(
        name=f"down, datagrams of {ETHERNET} bytes",
        peers=(Peer.TNDRL, Peer.OWN, Peer.AIOQUIC),
        params={"way": "down", "seconds": seconds, "datagram": ETHERNET},
        repetitions=1 if quick else repetitions,
    )
    return (down, *others, small)


async def drive(peer: Peer, ground: Ground) -> Figures:
    """Make one call after another until the time is over."""
    server = int(ground.served["pid"])
    async with make_of(peer).connecting(ground) as connection:
        call = getattr(connection.caller(), str(ground.params["way"]))
        await call(COUNT)
        ours, theirs, began = Usage.of(), Usage.of(server), time.perf_counter()
        size = 0
        while time.perf_counter() - began < float(ground.params["seconds"]):
            size += await call(COUNT)
        took = time.perf_counter() - began
        gigabytes = size / 1e9
        return {
            "rate": size / took / 1e6,
            "cpu_client": (Usage.of().cpu - ours.cpu) / gigabytes,
            "cpu_server": (Usage.of(server).cpu - theirs.cpu) / gigabytes,
        }


SCENARIO = Scenario(
    key="streams",
    number=2,
    title="Large streams",
    question="How many bytes a second go through one call, in messages of 64 KiB, on the loopback interface?",
    cases=cases,
    drive=drive,
    metrics=(
        Metric(key="rate", title="throughput", unit="MB/s", lower_is_better=False),
        Metric(key="cpu_client", title="caller's CPU for a gigabyte", unit="s"),
        Metric(key="cpu_server", title="server's CPU for a gigabyte", unit="s"),
    ),
    why=(
        "TCP moves large messages in the kernel; QUIC here moves them in Python, one packet after "
        "another, so what counts is how many packets there are. On the loopback interface Tndrl's "
        "datagrams grow to 16 KB, and are sent and received many in one system call; on an ordinary link "
        "they have 1,452 bytes, and each costs about as much as a large one. Tndrl's streams without gRPC "
        "show what the bridge and grpcio add; stock aioquic, with its one datagram for a turn of the "
        "event loop, what the engine gives as it comes."
    ),
)
