"""The plots of a report, each an SVG: bars, latency distributions, and times against numbers of agents."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import summary
from bench.model import Metric, Peer
from bench.results import ScenarioResult, metrics_of

WIDTH, HEIGHT = 8.0, 3.2
"""Inches."""

COLOURS = dict(
    zip(Peer, ("#0b6e4f", "#c8553d", "#e0a458", "#5b7db1", "#8d8d8d", "#6fb98f", "#7b4b94"), strict=True)
)
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


def plots(result: ScenarioResult) -> list[str]:
    """Return the SVGs of a scenario."""
    if not any(case.figures for case in result.cases):
        return []
    if result.key == "agents":
        return [_against_count(result)]
    drawn = []
    metrics = metrics_of(result)
    if {"p50", "p99"} <= {metric.key for metric in metrics}:
        drawn.append(_distributions(result))
    bars = [metric for metric in metrics if metric.key not in PERCENTILES]
    return drawn + [_bars(result, metric) for metric in bars if _measured(result, metric)]


def _measured(result: ScenarioResult, metric: Metric) -> bool:
    return any(figures.get(metric.key) for case in result.cases for figures in case.figures.values())


def _bars(result: ScenarioResult, metric: Metric) -> str:
    figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT))
    peers = _peers(result)
    width = 0.8 / max(1, len(peers))
    for number, peer in enumerate(peers):
        places, heights, below, above = [], [], [], []
        for place, case in enumerate(result.cases):
            values = case.figures.get(peer.value, {}).get(metric.key)
            if not values:
                continue
            found = summary(values)
            places.append(place + (number - (len(peers) - 1) / 2) * width)
            heights.append(found.median)
            below.append(found.median - found.low)
            above.append(found.high - found.median)
        axes.bar(
            places, heights, width, yerr=[below, above], label=peer.label, color=COLOURS[peer], capsize=2
        )
    axes.set_xticks(range(len(result.cases)), [_folded(case.name) for case in result.cases])
    axes.set_ylabel(f"{metric.title}, {metric.unit}" if metric.unit else metric.title)
    return _finished(figure, axes)


def _distributions(result: ScenarioResult) -> str:
    """Draw latency against percentile, one line for each peer and case."""
    figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT + 0.8))
    keys = [key for key in PERCENTILES if any(metric.key == key for metric in metrics_of(result))]
    styles = ("-", "--", ":", "-.")
    for number, case in enumerate(result.cases):
        for peer, figures in case.figures.items():
            if not figures.get(keys[0]):
                continue
            axes.plot(
                range(len(keys)),
                [summary(figures[key]).median for key in keys],
                styles[number % len(styles)],
                marker="o",
                markersize=3,
                color=COLOURS[Peer(peer)],
                label=f"{Peer(peer).label}, {case.name}",
            )
    axes.set_xticks(range(len(keys)), [f"p{PERCENTILES[key]:g}" for key in keys])
    axes.set_yscale("log")
    axes.set_ylabel("ms")
    return _finished(figure, axes)


def _against_count(result: ScenarioResult) -> str:
    figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT + 0.8))
    for peer in _peers(result):
        points = [
            (int(case.name.split()[0]), summary(case.figures[peer.value]["all"]).median)
            for case in result.cases
            if case.figures.get(peer.value, {}).get("all")
        ]
        axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[peer], label=peer.label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("agents")
    axes.set_ylabel("ms until all have replied")
    return _finished(figure, axes)


def _peers(result: ScenarioResult) -> Sequence[Peer]:
    return [peer for peer in Peer if any(peer.value in case.figures for case in result.cases)]


def _folded(name: str) -> str:
    return name.replace(", ", ",\n")


def _finished(figure: Figure, axes: Axes) -> str:
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    written = io.StringIO()
    figure.savefig(written, format="svg", bbox_inches="tight")
    plt.close(figure)
    return re.sub(r"^.*?(?=<svg)", "", written.getvalue(), flags=re.DOTALL)
