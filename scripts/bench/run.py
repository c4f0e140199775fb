"""One run of the benchmark, from its certificates to its report."""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import pki
from bench.lab import Lab
from bench.model import Scenario
from bench.page import page
from bench.report import report
from bench.results import Results, about
from bench.runner import Runner
from bench.scenarios import SCENARIOS
from bench.table import tables

ROOT = Path(__file__).resolve().parents[2]


def run(options: argparse.Namespace, *, lab_allowed: bool) -> int:
    """Measure, print, and keep results, report and page; returns the exit code."""
    os.environ |= environment()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    scenarios = chosen(options.only)
    results = Results(about(ROOT, quick=options.quick, seed=options.seed))
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tndrl-bench-")))
        pki.make(folder)
        lab = stack.enter_context(Lab(folder)) if lab_allowed else None
        bar = stack.enter_context(
            Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
                console=console,
            )
        )
        task = bar.add_task("", total=None)

        def progress(what: str) -> None:
            bar.update(task, description=what, advance=1)

        runner = Runner(folder, results, lab, progress, quick=options.quick)
        bar.update(task, total=runner.measurements(scenarios))
        for scenario in scenarios:
            runner.run(scenario)
            results.write(options.out / "results.json")
    for table in tables(results):
        console.print(table)
    for what in results.skipped:
        console.print(f"not measured: {what}")
    render(results, options.out / "report.html", options.page)
    console.print(f"{options.out / 'results.json'}, {options.out / 'report.html'}")
    return 0


def environment() -> dict[str, str]:
    """Return the environment in which ``python -m bench`` finds itself and the tests' tools."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("scripts", "tests"))}


def render(results: Results, to: Path, page_to: Path | None) -> None:
    """Write the report, and the page if it is wanted; each scenario's reasons are today's."""
    reasons = {scenario.key: scenario.why for scenario in SCENARIOS}
    for result in results.scenarios:
        result.why = reasons[result.key]
    to.write_text(report(results), encoding="utf-8")
    if page_to is not None:
        page_to.write_text(page(results), encoding="utf-8")


def chosen(only: str) -> tuple[Scenario, ...]:
    """Return the scenarios whose keys stand in ``only``, all if it is empty; raises SystemExit for an unknown one."""
    wanted = [key for key in only.split(",") if key]
    if unknown := set(wanted) - {scenario.key for scenario in SCENARIOS}:
        known = ", ".join(scenario.key for scenario in SCENARIOS)
        raise SystemExit(f"no scenario is called {', '.join(sorted(unknown))}; there are {known}")
    return tuple(scenario for scenario in SCENARIOS if not wanted or scenario.key in wanted)
