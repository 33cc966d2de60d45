"""Where the files of a list are: a folder or a bucket, or below a URL."""

from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from wheelyard.outgoing.urls import Url
from wheelyard.sources.candidate import Candidate
from wheelyard.sources.places import Place, candidate_at
from wheelyard.sources.web.downloads import Download
from wheelyard.sources.web.fetching import Web


@dataclass(frozen=True, slots=True)
class PlaceShelf:
    """Files that lie flat in a place."""

    place: Place

    def __str__(self) -> str:
        return str(self.place)

    def fetch(self, filename: str) -> Candidate | None:
        """Return a file."""
        item = self.place.find(filename)
        return None if item is None else candidate_at(self.place, item)


@dataclass(frozen=True, slots=True)
class WebShelf:
    """Files below a URL; whether they are there is known when they are read."""

    web: Web
    root: Url

    def __str__(self) -> str:
        return self.root.shown

    def fetch(self, filename: str) -> Candidate | None:
        """Return a file."""
        download = Download(self.web, self.root.joined(quote(filename)))
        return Candidate(
            filename=filename,
            place=download.url.shown,
            read=download.open,
            dated=partial(download.dated),
        )
