"""What a run found, as it is kept in results.json."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.model import Case, Metric, Peer, Scenario

PACKAGES = ("tndrl", "aioquic", "grpcio", "protobuf", "a2a-sdk", "cryptography", "uvicorn", "httpx")


@dataclass
class CaseResult:
    """What each peer's repetitions measured under one condition."""

    name: str
    link: str
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Peer -> metric -> one value a repetition."""
    refused: dict[str, list[str]] = field(default_factory=dict)
    """Peer -> why a repetition gave no figure."""

    @classmethod
    def of(cls, case: Case) -> CaseResult:
        """Return an empty result."""
        return cls(case.name, str(case.link) if case.link else "loopback interface")

    def add(self, peer: Peer, figures: dict[str, float]) -> None:
        """Take one repetition."""
        kept = self.figures.setdefault(peer.value, {})
        for key, value in figures.items():
            kept.setdefault(key, []).append(value)

    def refuse(self, peer: Peer, reason: str) -> None:
        """Take note that a repetition gave none."""
        self.refused.setdefault(peer.value, []).append(reason)


@dataclass
class ScenarioResult:
    """One question and its answers."""

    key: str
    number: int
    title: str
    question: str
    why: str
    metrics: list[dict[str, Any]]
    cases: list[CaseResult] = field(default_factory=list)
    seconds: float = 0.0
    """How long it took to measure."""

    @classmethod
    def of(cls, scenario: Scenario) -> ScenarioResult:
        """Return an empty result."""
        metrics = [asdict(metric) for metric in scenario.metrics]
        return cls(scenario.key, scenario.number, scenario.title, scenario.question, scenario.why, metrics)


@dataclass
class Results:
    """A whole run."""

    about: dict[str, str]
    scenarios: list[ScenarioResult] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """What was not measured, and why."""

    def write(self, path: Path) -> None:
        """Keep it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Results:
        """Return what :meth:`write` kept."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        scenarios = [
            ScenarioResult(**{**each, "cases": [CaseResult(**case) for case in each["cases"]]})
            for each in kept["scenarios"]
        ]
        return cls(kept["about"], scenarios, kept["skipped"])


def metrics_of(result: ScenarioResult) -> list[Metric]:
    """Return the metrics of a scenario's result."""
    return [Metric(**each) for each in result.metrics]


def about(root: Path, *, quick: bool, seed: int) -> dict[str, str]:
    """Return on what and with what a run is made."""
    kind = "quick" if quick else "full"
    return {
        "run": f"{kind}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _git(root, "rev-parse", "--short", "HEAD")
        + ("+" if _git(root, "status", "-s", "-uno") else ""),
        "seed": str(seed),
        "host": f"{_processor()}, {os.cpu_count()} cores, {_memory()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "TCP congestion control": _congestion_control(),
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("" if arguments[0] == "status" else "unknown")


def _congestion_control() -> str:
    file = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    return file.read_text().strip() if file.exists() else "unknown"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
