"""What a test needs of the machine. Where it is missing the test skips with one line, or fails where CI=1.

Call these at the start of a test or fixture: ``requires.openssl()``. Each says what is missing and the cure.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from functools import cache
from typing import NoReturn

import pytest


def root() -> None:
    """Need the rights of user 0, for example to become another user."""
    if os.geteuid() != 0:
        missing("it must run as root")


def linux() -> None:
    """Need a Linux kernel."""
    if sys.platform != "linux":
        missing("it needs Linux")


def ipv6() -> None:
    """Need IPv6, at least on the loopback interface."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        missing("it needs IPv6; enable it on the loopback interface")


def openssl() -> None:
    """Need the ``openssl`` command."""
    tool("openssl", "install the package openssl")


def go() -> None:
    """Need the Go tool chain."""
    tool("go", "install Go from https://go.dev/dl")


def npm() -> None:
    """Need Node's package manager."""
    tool("npm", "install Node.js")


def tool(name: str, cure: str) -> None:
    """Need the command ``name``; ``cure`` says how to get it."""
    if shutil.which(name) is None:
        missing(f"it needs the command {name}; {cure}")


def namespaces() -> None:
    """Need user and network namespaces of one's own, as ``unshare -rn`` makes them."""
    tool("unshare", "install the package util-linux")
    if not _can_unshare():
        missing("it needs user and network namespaces; 'unshare -rn true' must succeed")


@cache
def _can_unshare() -> bool:
    return subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0


def missing(what: str) -> NoReturn:
    """Skip the running test because of ``what``, or fail it under ``CI=1``."""
    if os.environ.get("CI") == "1":
        pytest.fail(f"must be checked under CI=1, but {what}", pytrace=False)
    pytest.skip(f"not checked: {what}")
