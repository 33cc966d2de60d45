"""What the short way remembers: where paths have led, and what form headers have asked for."""

from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog.cache import WeighedCache
from wheelyard.http.heads import Head
from wheelyard.http.negotiation import Encoding, Form, encoding_for, form_for
from wheelyard.settings.sections import MIB

PATHS: Final = 4 * MIB
"""Bytes of memory for the paths whose project is remembered."""
PATH_LIMIT: Final = 256
"""Bytes of such a path."""
ACCEPTS: Final = 128 * 1024
"""Bytes of memory for the pairs of Accept and Accept-Encoding whose answer is remembered."""
ACCEPT_LIMIT: Final = 1024
"""Bytes of such a pair; longer ones are no client's, and would only take memory."""
OVERHEAD: Final = 256
"""Bytes of memory that one of them takes besides its own, about."""


class Hot:
    """What one process remembers of requests that it has answered before."""

    def __init__(self) -> None:
        self._paths: WeighedCache[bytes, NormalizedName] = WeighedCache(PATHS)
        self._accepts: WeighedCache[tuple[bytes, bytes], tuple[Form | None, Encoding]] = (
            WeighedCache(ACCEPTS)
        )

    def name(self, mark: bytes, raw_path: bytes) -> NormalizedName | None:
        """
        Return the project whose page a path has led to, None for whoever has not had it.

        Args:
            mark: Of the caller; how long a denial takes says nothing of a name to anybody else.
            raw_path: As it was sent.
        """
        return self._paths.get(mark + raw_path)

    def remember(self, mark: bytes, raw_path: bytes, name: NormalizedName) -> None:
        """Remember that a caller has had the page of a project at a path."""
        if len(raw_path) <= PATH_LIMIT:
            self._paths.put(mark + raw_path, name, OVERHEAD + 2 * len(raw_path))

    def negotiated(self, head: Head) -> tuple[Form | None, Encoding]:
        """Return which form of a page is asked for, None for none that there is; and how packed."""
        asked = (head.accept or b"", head.accept_encoding or b"")
        known = self._accepts.get(asked)
        if known is None:
            form = form_for(asked[0].decode("latin-1"))
            known = (form, encoding_for(asked[1].decode("latin-1")))
            if len(asked[0]) + len(asked[1]) <= ACCEPT_LIMIT:
                weight = OVERHEAD + len(asked[0]) + len(asked[1])
                self._accepts.put(asked, known, weight)
        return known
