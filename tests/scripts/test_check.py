"""The one gate: what it runs and what it answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import check


def test_a_failing_step_fails_and_shows_its_output(capsys: pytest.CaptureFixture[str]) -> None:
    """A step's output appears where the step fails."""
    assert not check.run(check.Step("bad", ("sh", "-c", "echo the reason; exit 3")))
    assert "FAIL" in (printed := capsys.readouterr().out)
    assert "the reason" in printed


def test_a_passing_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A step that passes says so with its time, and nothing else."""
    assert check.run(check.Step("good", ("sh", "-c", "echo noise")))
    assert capsys.readouterr().out.startswith("ok ")


def test_one_failing_step_fails_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps run, and one failure among them is the result."""
    steps = [check.Step("bad", ("false",)), check.Step("good", ("true",))]
    monkeypatch.setattr(check, "static_steps", lambda: steps)
    assert check.main(["--static"]) == 1
    steps.pop(0)
    assert check.main(["--static"]) == 0


def test_serial_tests_run_alone() -> None:
    """Tests that measure run in a second run, without a second process beside them."""
    parallel, serial = check.test_steps(long=False)
    assert parallel.command[-3:] == ("not serial and not long", "-n", "2")
    assert serial.command[-5:] == ("serial and not long", "-p", "no:xdist", "--reruns", "2")


def test_the_long_run_has_no_limit() -> None:
    """The long run selects the full counts too."""
    assert [step.command[6] for step in check.test_steps(long=True)] == ["not serial", "serial"]


@pytest.mark.parametrize(("tags", "base"), [(["v0.1"], "v0.1"), ([], "main")])
def test_the_wire_contract_is_compared_with_the_last_tag(tmp_path: Path, tags: list[str], base: str) -> None:
    """The last tag is what users have; before the first there is the main branch."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    commands = [("init", "-qb", "main"), (*who, "commit", "-qm", "x", "--allow-empty")]
    for command in commands + [("tag", tag) for tag in tags]:
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    assert check.breaking_base(tmp_path) == base


def test_without_git_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    """An unpacked archive has no history, which is no failure."""
    assert check.breaking_base(tmp_path) is None
