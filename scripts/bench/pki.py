"""Certificates of the benchmark, issued by the project's own tool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SERVER_ADDRESS = "10.77.0.1"
CLIENT_ADDRESS = "10.77.0.2"
OTHER_CLIENT_ADDRESS = "10.77.0.3"

_TOOL = str(Path(sys.executable).with_name("tndrl-pki"))


def make(folder: Path) -> None:
    """Issue a CA and the identities of both sides below ``folder``: ``server`` and ``client``."""
    _run("init", "--dir", str(folder / "ca"))
    for name in ("server", "client"):
        out = folder / name
        addresses = ["--ip", SERVER_ADDRESS] if name == "server" else []
        _run("issue", name, "--dir", str(folder / "ca"), "--out", str(out), *addresses)
        (out / "ca.crt").write_bytes((folder / "ca" / "ca.crt").read_bytes())


def _run(*arguments: str) -> None:
    subprocess.run([_TOOL, *arguments], check=True, stdout=subprocess.DEVNULL)
