"""The figures for a person's eyes: one row for each peer and case, the same for the terminal and for pages."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from bench.figures import ratios, summary, text
from bench.model import Metric, Peer
from bench.results import CaseResult, Results, ScenarioResult, metrics_of

REFERENCE = Peer.TCP
"""What ratios are against, where it was measured."""


@dataclass(frozen=True)
class Row:
    """One peer under one condition."""

    case: str
    peer: str
    cells: list[str]


def heads(result: ScenarioResult) -> list[str]:
    """Return the names of the columns of figures."""
    return [
        f"{metric.title}, {metric.unit}" if metric.unit else metric.title for metric in metrics_of(result)
    ]


def rows(result: ScenarioResult) -> list[Row]:
    """Return a row for each peer of each case, and one of the ratios between the two that matter most."""
    found = []
    metrics = metrics_of(result)
    for case in result.cases:
        for peer, figures in case.figures.items():
            found.append(Row(case.name, Peer(peer).label, [_cell(figures, metric) for metric in metrics]))
        found += [
            Row(case.name, Peer(peer).label, [f"refused: {reasons[0]}", *[""] * (len(metrics) - 1)])
            for peer, reasons in case.refused.items()
            if peer not in case.figures
        ]
        if compared := _ratio(case, metrics):
            found.append(compared)
    return found


def _cell(figures: dict[str, list[float]], metric: Metric) -> str:
    values = figures.get(metric.key)
    if not values:
        return ""
    found = summary(values)
    if len(values) == 1 or found.low == found.high:
        return text(found.median)
    return f"{text(found.median)} ({text(found.low)} to {text(found.high)})"


def _ratio(case: CaseResult, metrics: list[Metric]) -> Row | None:
    ours, theirs = case.figures.get(Peer.TNDRL), case.figures.get(REFERENCE)
    if ours is None or theirs is None:
        return None
    cells = []
    for metric in metrics:
        pairs = ratios(ours.get(metric.key, []), theirs.get(metric.key, []))
        cells.append(f"x {text(summary(pairs).median)}" if pairs else "")
    return Row(case.name, "Tndrl by TCP", cells)


def tables(results: Results) -> list[Table]:
    """Return a table for each scenario, as rich draws them."""
    drawn = []
    for result in results.scenarios:
        table = Table(title=f"{result.number}. {result.title}", title_justify="left", expand=False)
        for name in ("case", "peer", *heads(result)):
            table.add_column(name, justify="left" if name in ("case", "peer") else "right", overflow="fold")
        last = ""
        for row in rows(result):
            if last and row.case != last:
                table.add_section()
            table.add_row(row.case if row.case != last else "", row.peer, *row.cells)
            last = row.case
        drawn.append(table)
    return drawn
