"""Properties that all migration guides share."""

from pathlib import Path

import pytest

from tests.clients.projects import Built
from tests.migration.conftest import NewGuide
from tests.migration.guide_runner import PAGES, digests

SYSTEMS = sorted(path.stem for path in PAGES.glob("*.md") if path.stem != "README")


@pytest.mark.clients
def test_the_way_over(
    new_guide: NewGuide, old_release: Built, new_release: Built, tmp_path: Path
) -> None:
    """The migration steps end with a comparison that finds nothing missing, and all bytes alike."""
    place = tmp_path / "old"
    place.mkdir()
    for file in (old_release.wheel, old_release.sdist, new_release.wheel):
        (place / file.name).write_bytes(file.read_bytes())
    guide = new_guide("README", {"/srv/old": str(place)})

    output = guide.type("Migration steps")

    assert f"{place}: imported 3 files\n" in output
    assert f"{place}: would import 0 files, 3 there already\n" in output
    wanted = digests(old_release) | {
        new_release.wheel.name: digests(new_release)[new_release.wheel.name]
    }
    assert {name: file.sha256 for name, file in guide.files("acme-core").items()} == wanted


def test_every_page_is_listed() -> None:
    """The first page of the migration guides links to every other one, and each to its steps."""
    first = (PAGES / "README.md").read_text()

    assert SYSTEMS
    assert [name for name in SYSTEMS if f"({name}.md)" not in first] == []
    texts = {name: (PAGES / f"{name}.md").read_text() for name in SYSTEMS}
    assert [name for name in SYSTEMS if "(README.md#migration-steps)" not in texts[name]] == []
