"""Switch off what network cards do for the kernel, so that every packet is one that a line could carry."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
SWITCHES = {"receive checksums": 0x15, "checksums": 0x17, "TSO": 0x1F, "GSO": 0x24, "GRO": 0x2C}
"""The ETHTOOL_S... commands of linux/ethtool.h: with a 0 each switches one off."""


def switch_off(device: str) -> None:
    """Switch off every offload of ``device`` in this network namespace; raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in SWITCHES.values():
            value = array.array("B", struct.pack("=II", command, 0))
            address, _length = value.buffer_info()
            request = struct.pack("16sP", device.encode(), address)
            fcntl.ioctl(sock, SIOCETHTOOL, request)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        switch_off(name)
