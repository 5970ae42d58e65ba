"""The doctor looks at the real machine and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

from madang.cli import doctor


def test_every_check_reports_and_nothing_stays(tmp_path: Path) -> None:
    findings = doctor.examine(tmp_path / "not" / "there")
    assert [f.check for f in findings] == [
        "python", "engine", "steering", "durable write", "disk", "open files",
    ]  # fmt: skip
    assert all(finding.good or finding.advice for finding in findings)
    assert next(f for f in findings if f.check == "steering").good
    assert list(tmp_path.iterdir()) == []
