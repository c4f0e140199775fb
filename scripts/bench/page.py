"""docs/performance.md: the last full run, and why it came out as it did."""

from __future__ import annotations

from bench.figures import summary
from bench.results import Results, ScenarioResult
from bench.table import heads, rows

HEAD = """# Performance

What Tndrl costs and what it gives, beside what a user would pick instead. `make bench` measured all of it in one run
and wrote this page; `make bench-quick` takes two minutes, and `tndrl bench PEER` measures your own network.

Each side is a process of its own, with the same service, messages and limits, and certificates of both sides where it
has TLS. Cases with a link run between two network namespaces, where one seeded forwarder delays, drops and queues the
packets of TCP and of QUIC alike. Repetitions take turns between peers. A cell is a median with the interval
that holds it with at least {confidence:.0%} confidence; a ratio is the median of the repetitions' own ratios. A figure
is refused if no packet of the kind was sent, or if the forwarder was busy for more than 70 % of the time.

"""


def page(results: Results) -> str:
    """Return the page."""
    parts = [HEAD.format(confidence=_least_confidence(results)), _about(results)]
    parts += [_section(result) for result in results.scenarios]
    return "\n".join(parts)


def _least_confidence(results: Results) -> float:
    return min(
        (
            summary(values).confidence
            for scenario in results.scenarios
            for case in scenario.cases
            for figures in case.figures.values()
            for values in figures.values()
            if len(values) > 1
        ),
        default=0.0,
    )


def _about(results: Results) -> str:
    lines = ["| what | this run |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in results.about.items()]
    lines += [f"| not measured | {what} |" for what in results.skipped]
    return "\n".join(lines) + "\n"


def _section(result: ScenarioResult) -> str:
    columns = ["case", "peer", *heads(result)]
    lines = [f"## {result.number}. {result.title}", "", result.question, ""]
    links = {case.link for case in result.cases}
    if len(links) == 1:
        lines += [f"On: {links.pop()}.", ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += [f"| {row.case} | {row.peer} | {' | '.join(row.cells)} |" for row in rows(result)]
    return "\n".join([*lines, "", result.why, ""])
