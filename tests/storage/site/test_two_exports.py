"""
Every way in which two exports and a publisher can come between each other, played through.

An export of a page looks which version the page has, reads the document, and puts the page over
that version; on a Conflict it begins again. Whatever the order, in the end the page is of the
latest document that an export has read to its end.
"""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from tests.bucket.server import BucketServer
from tests.storage.site.conformance import PAGE
from tests.storage.site.opened import bucket_site
from wheelyard.errors import Conflict
from wheelyard.storage.base import ObjectVersion
from wheelyard.storage.site.base import Site
from wheelyard.storage.site.folder import FolderSite

pytestmark = pytest.mark.integration

DOCUMENTS = ("listed", "yanked", "listed")
"""The page of the last revision is that of the first, byte for byte."""
SCHEDULES = sorted(set(permutations("PPAAABBB")))
"""Whose turn it is; a publisher, and two exports of three steps, which may have to begin again."""
SOME = 60
"""Schedules that are played on a bucket, which takes its time."""


class Play:
    """One schedule, on a page of its own."""

    def __init__(self, site: Site, path: str) -> None:
        self._site = site
        self._path = path
        self._revision = 0
        self._exported = 0
        """The latest revision that an export has put, and was not told of a Conflict."""
        site.put(path, DOCUMENTS[0].encode(), PAGE, None)

    def run(self, schedule: tuple[str, ...]) -> tuple[str, str]:
        """Return what the page shows in the end, and what it should."""
        players = {"P": self._publish(), "A": self._export(), "B": self._export()}
        for turn in schedule:
            next(players[turn], None)
        for turn in "AB":
            for _ in players[turn]:
                pass
        found = self._site.get(self._path)
        assert found
        return found.body.decode(), DOCUMENTS[self._exported]

    def _publish(self) -> Iterator[None]:
        for _ in DOCUMENTS[1:]:
            self._revision += 1
            yield

    def _export(self) -> Iterator[None]:
        while True:
            seen: ObjectVersion = self._site.version(self._path)
            yield
            revision = self._revision
            yield
            try:
                self._site.put(self._path, DOCUMENTS[revision].encode(), PAGE, seen)
            except Conflict:
                continue
            self._exported = max(self._exported, revision)
            return


def test_in_a_folder(tmp_path: Path) -> None:
    """In a folder the later document's page stays, in all 560 orders."""
    site = FolderSite(tmp_path, Random())

    outcomes = [
        Play(site, f"simple/{number}.html").run(schedule)
        for number, schedule in enumerate(SCHEDULES)
    ]
    site.close()

    assert len(outcomes) == 560
    assert [each for each in outcomes if each[0] != each[1]] == []


@pytest.mark.parametrize("seed", range(2))
def test_in_a_bucket(server: BucketServer, tmp_path: Path, seed: int) -> None:
    """In a bucket it does so, too."""
    del server
    with bucket_site(tmp_path) as site:
        outcomes = [
            Play(site, f"simple/{number}.html").run(schedule)
            for number, schedule in enumerate(Random(seed).sample(SCHEDULES, SOME))
        ]

    assert [each for each in outcomes if each[0] != each[1]] == []
