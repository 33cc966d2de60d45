"""Pages of upstream indexes, as values."""

from datetime import datetime, timedelta

from packaging.utils import NormalizedName

from tests.fake_time import START
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

DEMO = NormalizedName("demo")
NOW = START
OLD = START - timedelta(days=1000)
DIGEST = "0" * 64
"""The digest of all files, where a test does not say."""


def listed_wheel(
    version: str,
    uploaded_at: datetime | None = OLD,
    *,
    first_seen: datetime | None = None,
    has_metadata: bool = True,
    tag: str = "py3-none-any",
    sha256: str = DIGEST,
) -> UpstreamFile:
    """Return a wheel of the project `demo`, as a page lists it: a name without bytes."""
    filename = f"demo-{version}-{tag}.whl"
    return UpstreamFile(
        filename=filename,
        version=version,
        url=f"https://files.example.com/{filename}",
        sha256=sha256,
        uploaded_at=uploaded_at,
        first_seen=first_seen,
        has_metadata=has_metadata,
    )


def page(*files: UpstreamFile) -> UpstreamPage:
    """Return the page of `demo` with these files."""
    return UpstreamPage(
        name=DEMO,
        upstream="pypi-01234567",
        fetched_at=NOW,
        files=tuple(sorted(files, key=lambda each: each.filename)),
    )
