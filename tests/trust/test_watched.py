"""What the log says while a file of credentials is broken, and when it is mended."""

from pathlib import Path

import pytest

from tests.operations.world import Clock
from wheelyard.errors import Invalid
from wheelyard.trust.watched import Content, WatchedFile


def _parsed(text: str) -> Content[str]:
    if "nonsense" in text:
        raise Invalid("Line 1 is nonsense.")
    return Content(text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file that says something."""
    file = tmp_path / "credentials"
    _write(file, "before")
    return file


def test_a_mended_file_is_told_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When a broken file reads again the log says so, once, after it has said what was wrong."""
    clock = Clock()
    watched = WatchedFile(path, _parsed, clock.seconds)
    for text in ("nonsense", "nonsense", "after", "after", "more"):
        _write(path, text)
        clock.advance(seconds=5)
        watched.current()

    wrong, mended = (each.getMessage() for each in caplog.records)
    assert "Line 1 is nonsense." in wrong
    assert mended == f"{path} reads again. What it says now is in force."
    assert watched.value == "more"


def test_a_file_that_comes_back(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that was away for a while, and is the same as ever, is told of too."""
    clock = Clock()
    watched = WatchedFile(path, _parsed, clock.seconds)
    clock.advance(seconds=5)
    watched.current()
    folder, away = path.parent, path.parent.with_name("away")
    folder.rename(away)
    clock.advance(seconds=5)
    assert watched.current() == "before"
    away.rename(folder)
    clock.advance(seconds=5)
    assert watched.current() == "before"

    wrong, mended = (each.getMessage() for each in caplog.records)
    assert "cannot be read" in wrong
    assert "reads again" in mended


def test_nothing_is_said_of_a_file_that_changes(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that changes, and was never broken, leaves no line in the log."""
    clock = Clock()
    watched = WatchedFile(path, _parsed, clock.seconds)
    _write(path, "after")
    clock.advance(seconds=5)
    assert watched.current() == "after"
    assert caplog.records == []


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
