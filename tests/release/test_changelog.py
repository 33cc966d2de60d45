"""The sections of the changelog, and what a release makes of them."""

from datetime import date

import pytest

from tests.clients.harness import REPOSITORY
from tools.changelog import HEADING, is_dated, release_notes, released, sections

FIRST = """\
# Changelog

What changed.

## [Unreleased]

### Added

- The [page](docs/page.md#part), the [site](https://example.com/) and the [list](#list).
"""
RELEASED = """\
# Changelog

What changed.

## [Unreleased]

## [0.1.0] - 2026-11-24

### Added

- The [page](docs/page.md#part), the [site](https://example.com/) and the [list](#list).

[Unreleased]: https://github.com/wheelyard/wheelyard/compare/v0.1.0...HEAD
[0.1.0]: https://github.com/wheelyard/wheelyard/releases/tag/v0.1.0
"""


def test_the_first_release() -> None:
    """What was unreleased is the section of the version, with the day and the links."""
    assert released(FIRST, "0.1.0", date(2026, 11, 24)) == RELEASED
    assert sections(RELEASED)["Unreleased"] == ""
    assert is_dated(RELEASED, "0.1.0")
    assert not is_dated(FIRST, "0.1.0")


def test_the_next_release() -> None:
    """Each version links to what has changed since the one before."""
    text = RELEASED.replace("## [Unreleased]\n", "## [Unreleased]\n\n### Fixed\n\n- A fault.\n")

    after = released(text, "0.2.0", date(2027, 1, 2))

    assert "## [Unreleased]\n\n## [0.2.0] - 2027-01-02\n\n### Fixed\n\n- A fault.\n" in after
    assert after.endswith(
        "[Unreleased]: https://github.com/wheelyard/wheelyard/compare/v0.2.0...HEAD\n"
        "[0.2.0]: https://github.com/wheelyard/wheelyard/compare/v0.1.0...v0.2.0\n"
        "[0.1.0]: https://github.com/wheelyard/wheelyard/releases/tag/v0.1.0\n"
    )


def test_the_notes_of_a_release() -> None:
    """The notes of a release are its section, and their links lead to the pages of that version."""
    assert release_notes(RELEASED, "0.1.0") == (
        "### Added\n\n- The [page](https://github.com/wheelyard/wheelyard/blob/v0.1.0/docs/page.md"
        "#part), the [site](https://example.com/) and the [list](#list).\n"
    )


def test_the_changelog_can_be_released() -> None:
    """Every version of the changelog has a date, and nothing in it has another kind of heading."""
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    first, *versions = HEADING.findall(text)

    assert first == ("Unreleased", "")
    assert [version for version, day in versions if not day] == []
    assert text.count("\n## ") == 1 + len(versions)
    kinds = {line for line in text.splitlines() if line.startswith("### ")}
    names = ("Added", "Changed", "Deprecated", "Fixed", "Removed", "Security")
    assert kinds <= {f"### {name}" for name in names}


@pytest.mark.parametrize("text", ["", "# Changelog\n", "## [Unreleased]\n"])
def test_an_empty_changelog_has_nothing_to_release(text: str) -> None:
    """A changelog without a line has no section that could be a version's."""
    assert not sections(text).get("Unreleased")
