"""Run every check and then the tests, each with its time, and fail if any of them failed.

A check that cannot be made here is named in the output.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
NO_TESTS_COLLECTED = 5

RERUNS = "2"
"""Further tries of a test that measures: what else the machine does spoils one of them, a defect each."""


@dataclass(frozen=True)
class Step:
    """One command, with a name for the report. ``quiet`` shows its output only where it fails."""

    name: str
    command: tuple[str, ...]
    quiet: bool = True
    passing: tuple[int, ...] = (0,)


def static_steps() -> list[Step]:
    """Return the checks that execute nothing of the project."""
    python = sys.executable
    steps = [
        Step("format", ("ruff", "format", "--check", ".")),
        Step("lint", ("ruff", "check", ".")),
        Step("types", ("mypy",)),
        Step("types of scripts", ("mypy", "scripts", "examples")),
        Step("layers", ("lint-imports",)),
        Step("generated code", (python, "scripts/generate_protos.py", "--check")),
        Step("wire contract", ("buf", "lint")),
        Step("test map", (python, "scripts/test_map.py")),
    ]
    base = breaking_base(ROOT)
    if base is None:
        print("not checked: breaking changes of the wire contract, git has no tag and no main branch here")
    else:
        steps.append(
            Step("wire contract since " + base, ("buf", "breaking", "--against", f".git#ref={base}"))
        )
    return steps


def test_steps(*, long: bool) -> list[Step]:
    """Return the test runs: those that may share the machine, then those that must be alone."""
    limit = "" if long else " and not long"
    pytest = (sys.executable, "-m", "pytest", "-q", "--durations=5", "-m")
    return [
        Step("tests, two at a time", (*pytest, f"not serial{limit}", "-n", "2"), quiet=False),
        Step(
            "tests, one by one",
            (*pytest, f"serial{limit}", "-p", "no:xdist", "--reruns", RERUNS),
            quiet=False,
            passing=(0, NO_TESTS_COLLECTED),
        ),
    ]


def breaking_base(root: Path) -> str | None:
    """Return what the wire contract is compared with: the last tag, else the main branch, else nothing."""
    tag = _git(root, "describe", "--tags", "--abbrev=0")
    if tag is not None:
        return tag
    for branch in ("main", "origin/main"):
        if _git(root, "rev-parse", "--verify", "--quiet", branch) is not None:
            return branch
    return None


def _git(root: Path, *arguments: str) -> str | None:
    try:
        run = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return run.stdout.strip() if run.returncode == 0 else None


def run(step: Step) -> bool:
    """Run ``step`` from the tree's root, print its result and its time, and return whether it passed."""
    if not step.quiet:
        print(f"\n== {step.name}", flush=True)
    started = time.monotonic()
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "TMPDIR": tempfile.gettempdir(),  # found to be writable, which buf takes for granted of /tmp
    }
    done = subprocess.run(
        step.command, cwd=ROOT, env=environment, capture_output=step.quiet, text=True, check=False
    )
    passed = done.returncode in step.passing
    print(f"{'ok  ' if passed else 'FAIL'} {time.monotonic() - started:6.1f} s  {step.name}", flush=True)
    if step.quiet and not passed:
        print(done.stdout + done.stderr, flush=True)
    return passed


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--static", action="store_true", help="only the checks, no tests")
    parser.add_argument("--long", action="store_true", help="the tests with their full counts")
    options = parser.parse_args(arguments)
    steps = static_steps() + ([] if options.static else test_steps(long=options.long))
    started = time.monotonic()
    failed = [step.name for step in steps if not run(step)]
    verdict = f"failed: {', '.join(failed)}" if failed else "everything passed"
    print(f"\n{verdict} ({time.monotonic() - started:.0f} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
