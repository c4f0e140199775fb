"""Run the tests with peers of other makes and write docs/interop.md: who, version, direction, case, result."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("docs/interop.md")
GO_MODULES = ("github.com/quic-go/quic-go", "google.golang.org/grpc", "github.com/a2aproject/a2a-go/v2")

HEAD = """# Peers of other makes

`make interop` runs every case below on this machine, between our node and peers of other makes, and writes this page.
The Go peer is a program of our own, `tests/interop/go`, on quic-go, grpc-go and a2a-go at the versions of its `go.mod`.
quiche is driven through npm's `@matrixai/quic`; it and Debian's `gtlsclient` (ngtcp2) know QUIC and TLS, not gRPC.

"""


@dataclass(frozen=True, order=True)
class Row:
    """One case of the table."""

    peer: str
    direction: str
    case: str
    result: str


def rows(report: Path) -> list[Row]:
    """Return what a report of pytest says of each case, sorted."""
    found = []
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # pytest wrote it
        about = {item.get("name"): item.get("value") or "" for item in case.iter("property")}
        if {"peer", "direction", "case"} <= about.keys():
            found.append(Row(about["peer"], about["direction"], about["case"], _result(case)))
    return sorted(found)


def _result(case: ElementTree.Element) -> str:
    outcomes = {child.tag for child in case}
    if outcomes & {"failure", "error"}:
        return "FAILED"
    return "not checked" if "skipped" in outcomes else "passed"


def versions(root: Path) -> dict[str, str]:
    """Return the versions of each peer, from the files that pin them."""
    text = (root / "tests" / "interop" / "go" / "go.mod").read_text()
    pinned = dict(re.findall(r"^\s*(?:require )?(\S+) (v\S+)", text, re.MULTILINE))
    names = {module: re.sub(r"/v\d+$", "", module).rpartition("/")[2] for module in GO_MODULES}
    names["google.golang.org/grpc"] = "grpc-go"
    package = json.loads((root / "tests" / "interop" / "quiche" / "package.json").read_text())
    return {
        "Go": ", ".join(f"{names[module]} {pinned[module]}" for module in GO_MODULES),
        "quiche": f"@matrixai/quic {package['dependencies']['@matrixai/quic']}",
        "ngtcp2": "Debian's ngtcp2-client",
    }


def page(found: Iterable[Row], pinned: dict[str, str]) -> str:
    """Return the page."""
    lines = ["| Peer | Version | Direction | Case | Result |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.peer} | {pinned.get(row.peer, 'this tree')} | {row.direction} | {row.case} | {row.result} |"
        for row in found
    ]
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Run the tests and write the page; return pytest's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        command += [
            "-o",
            "junit_family=xunit1",
            "tests/interop",
        ]  # the default one has no place for properties
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        (ROOT / PAGE).write_text(page(rows(report), versions(ROOT)), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
