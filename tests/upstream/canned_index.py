"""An upstream index without a socket: the answers of `UpstreamClient.page`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from packaging.utils import NormalizedName

from tests.distributions import Distribution
from tests.upstream.fake_pages import JSON
from wheelyard.http_client.urls import parse_url
from wheelyard.sources.simple_page import FetchedPage
from wheelyard.upstream.upstream_client import Missing

URL = "https://packages.example.com/simple/"


@dataclass
class CannedIndex:
    """An index that sends pages without an ETag, and only pages."""

    files: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    """What the pages list, by project."""
    asked: list[str] = field(default_factory=list)
    """The projects that it was asked for so far."""

    def publish(
        self, distribution: Distribution, upload_time: str = "2025-06-01T12:00:00Z"
    ) -> None:
        """List a distribution."""
        file = {
            "filename": distribution.filename,
            "url": f"{URL}{distribution.filename}",
            "hashes": {"sha256": distribution.sha256},
            "size": len(distribution.body),
            "upload-time": upload_time,
        }
        self.files.setdefault(distribution.filename.partition("-")[0], []).append(file)

    @contextmanager
    def page(
        self, name: NormalizedName, etag: str = "", *, has_slot: bool = False
    ) -> Iterator[FetchedPage | Missing]:
        """See `UpstreamClient.page`."""
        del etag, has_slot
        self.asked.append(name)
        if name not in self.files:
            yield Missing()
            return
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": self.files[name]}
        yield FetchedPage(parse_url(f"{URL}{name}/"), JSON, bytearray(json.dumps(page).encode()))
