"""The core metadata of a release, as its page needs it: read at most once for a request."""

from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import UPSTREAM_CODES, Unavailable
from wheelyard.http.protocol.messages import Request
from wheelyard.http.resolver import OpenListing
from wheelyard.model.lenient_metadata import parse_any
from wheelyard.model.metadata import CoreMetadata
from wheelyard.rendering.shown import ShownFile
from wheelyard.rendering.web.release_page import dependency_names

RequiredNames = LruCache[str, frozenset[NormalizedName]]
"""The names that releases require, by project and the digest of core metadata, or of the file."""


class ReleaseMetadata:
    """
    The core metadata of a release.

    Args:
        request: Waits for what an upstream index sends.
        listing: Lists the release.
        file: Describes it; None of a project without releases.
        remembered: What is known of earlier ones.
    """

    def __init__(
        self,
        request: Request,
        listing: OpenListing,
        file: ShownFile | None,
        remembered: RequiredNames,
    ) -> None:
        self._request = request
        self.listing = listing
        self.file = file
        self.remembered = remembered
        self.core: CoreMetadata | None = None
        """What was loaded."""
        self.is_missing = False
        """Whether `core` is a minimum because its upstream index has not sent it."""

    def required_names(self) -> frozenset[NormalizedName]:
        """Return the names of all projects that the release may need; raises what `load` does."""
        if self.file is None:
            return frozenset()
        digest = self.file.core_metadata or self.file.sha256
        key = f"{self.listing.name} {digest}"
        names = self.remembered.get(key) if digest else None
        if names is None:
            names = dependency_names(self.load())
            if digest and not self.is_missing:
                size = 256 + len(key) + sum(100 + len(name) for name in names)
                self.remembered.put(key, names, size)
        return names

    def load(self) -> CoreMetadata:
        """
        Return the core metadata, a minimum if the upstream index does not send it.

        Raises:
            NotFound: The project is not what it was, as its name has become private.
            Unavailable: The store does not answer.
        """
        assert self.file is not None  # noqa: S101 - else there is nothing to read
        if self.core is not None:
            return self.core
        core = None
        try:
            core = self.listing.open.core_metadata(self._request, self.file.filename)
        except Unavailable as error:
            if error.code not in UPSTREAM_CODES:
                raise
        self.is_missing = core is None
        self.core = core or parse_any(None, self.listing.name, self.file.version)
        return self.core
