"""What the kernel counts: datagrams and segments of this network namespace, time and memory of a process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

_FIELDS = {"udp": ("Udp", "OutDatagrams"), "tcp": ("Tcp", "OutSegs")}


def sent(text: str | None = None) -> dict[str, int]:
    """Return the "udp" datagrams and "tcp" segments that were sent from this namespace; 0 where nobody counts.

    ``text`` is what stands in /proc/net/snmp.
    """
    file = Path("/proc/net/snmp")
    if text is None:
        text = file.read_text() if file.exists() else ""
    rows: dict[str, dict[str, int]] = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        protocol, _, fields = names.partition(":")
        rows[protocol] = dict(zip(fields.split(), map(int, values.split()[1:]), strict=False))
    return {key: rows.get(protocol, {}).get(name, 0) for key, (protocol, name) in _FIELDS.items()}


@dataclass(frozen=True)
class Usage:
    """What a process has used so far."""

    cpu: float
    """Seconds."""
    resident: int
    """Bytes."""

    @classmethod
    def of(cls, pid: int | None = None) -> Usage:
        """Return what a process, this one if None, has used; raises psutil.NoSuchProcess."""
        process = psutil.Process(pid)
        times = process.cpu_times()
        return cls(times.user + times.system, process.memory_info().rss)
