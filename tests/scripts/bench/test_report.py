"""What a run leaves behind: results, table, report and page."""

import re
import subprocess
import sys

import pytest

from bench.model import Case, Peer
from bench.page import page
from bench.results import CaseResult, Results, ScenarioResult, about
from bench.run import ROOT, chosen, environment
from bench.scenarios import SCENARIOS
from bench.table import rows


@pytest.fixture
def results():
    """A run of every scenario, whose figures are made up; Tndrl loses all of them."""
    found = Results(about(ROOT, quick=True, seed=3), skipped=["Go: it is not here"])
    for scenario in SCENARIOS:
        result = ScenarioResult.of(scenario)
        for case in scenario.cases(True):
            kept = CaseResult.of(case)
            for repetition in range(3):
                for number, peer in enumerate(case.peers):
                    kept.add(peer, {metric.key: 10.0 - number + repetition for metric in scenario.metrics})
            result.cases.append(kept)
        found.scenarios.append(result)
    found.scenarios[0].cases[0].refuse(Peer.GO, "no UDP packet was sent")
    return found


def test_results_are_kept(results, tmp_path):
    """What is written is what is read, with what it was measured on."""
    results.write(tmp_path / "deep" / "results.json")
    assert Results.read(tmp_path / "deep" / "results.json") == results
    assert {"host", "kernel", "commit", "seed", "grpcio", "aioquic"} <= results.about.keys()


def test_a_loser_is_printed(results):
    """Each peer has its row, one that was refused too, and the ratio says who lost."""
    found = rows(results.scenarios[0])
    assert [row.peer for row in found if row.case == "1 at once"] == [
        "Tndrl",
        "grpc.aio over TCP, mTLS",
        "Tndrl calls Go",
        "Tndrl by TCP",
    ]
    assert found[0].cells[0] == "11.0 (10.0 to 12.0)"
    assert found[2].cells[0] == "refused: no UDP packet was sent"
    assert found[3].cells[0] == "x 1.10"


def test_the_report_needs_nothing_else(results, tmp_path):
    """The report is one file with plots that loads nothing; it and the page can be written again from the results."""
    results.write(tmp_path / "results.json")
    command = [sys.executable, "-m", "bench", "render", str(tmp_path / "results.json")]
    subprocess.run([*command, "--page", str(tmp_path / "page.md")], check=True, env=environment())
    assert (tmp_path / "page.md").read_text() == page(results)
    made = (tmp_path / "report.html").read_text()
    assert made.count("<svg") >= len(SCENARIOS)
    assert not re.findall(r"<(?:script|link|img|iframe)\b", made)
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", re.sub(r"<svg.*?</svg>", "", made, flags=re.DOTALL))
    assert "not measured" in made


def test_the_page(results):
    """The page has each scenario with its figures and the reason why."""
    made = page(results)
    for result in results.scenarios:
        assert f"## {result.number}. {result.title}" in made
        assert result.why in made
    assert "| 1 at once | Tndrl by TCP | x 1.10 |" in made
    assert "at least 75% confidence" in made


def test_chosen():
    """Scenarios are chosen by their keys; an unknown one is told with those there are."""
    assert [scenario.key for scenario in chosen("streams,unary")] == ["unary", "streams"]
    assert len(chosen("")) == 10
    with pytest.raises(SystemExit, match="no scenario is called wings; there are unary"):
        chosen("wings")


@pytest.mark.parametrize("quick", [True, False])
def test_cases_are_well_formed(quick):
    """Every scenario has cases with names of their own, and compares with TCP."""
    for scenario in SCENARIOS:
        cases: tuple[Case, ...] = scenario.cases(quick)
        assert len({case.name for case in cases}) == len(cases) > 0
        assert any(Peer.TCP in case.peers for case in cases)
