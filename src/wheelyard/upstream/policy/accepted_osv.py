"""
The OSV database that was accepted last, in the store: JSON, compressed with gzip.

Servers compare each new database with it, so that one that has lost entries shows nothing that was
hidden. It has the advisories themselves, so that a start has them, too. What is damaged is as good
as missing: then the next database is taken without a comparison.
"""

import logging
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.gzipped import gunzipped, gzipped
from wheelyard.storage.base import ABSENT, NotModified, ObjectVersion, Store
from wheelyard.upstream.policy.advisories import Advisory

SIZE_LIMIT: Final = 1024**3
"""Bytes of the largest document that is read, before compression."""

logger = logging.getLogger("wheelyard")


class AcceptedOsv(Struct, frozen=True, omit_defaults=True):
    """What is kept of an accepted database."""

    entries: int
    """How many usable entries it had, of any ecosystem and severity."""
    modified_at: float
    """When its newest file was written, in seconds since the epoch."""
    advisories: dict[NormalizedName, tuple[Advisory, ...]] = {}
    """Those that counted by the settings of that time."""
    skipped: int = 0
    """How many malformed entries it had, and files that could not be read."""
    first_skipped: str = ""
    """Where the first of them was, and what was wrong with it; empty if there was none."""


_DECODER: Final = Decoder(AcceptedOsv)


class AcceptedOsvRecord:
    """Reads and writes what was accepted last; for one thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._version: ObjectVersion = ABSENT

    def load(self) -> AcceptedOsv | None:
        """Return it; None if there is none. Raise Unavailable if the store does not answer."""
        found = self._store.get(keys.UPSTREAM_ADVISORIES)
        if found is None or isinstance(found, NotModified):
            return None
        self._version = found.version
        try:
            return _DECODER.decode(gunzipped(found.body, SIZE_LIMIT) or b"")
        except (DecodeError, UnicodeDecodeError):
            logger.warning("upstream: %s is damaged, and is written anew", keys.UPSTREAM_ADVISORIES)
            return None

    def has_changed(self) -> bool:
        """Return whether another one was accepted since `load`, or `save`."""
        found = self._store.get(keys.UPSTREAM_ADVISORIES, self._version or None)
        return found is not None and not isinstance(found, NotModified)

    def save(self, accepted: AcceptedOsv) -> None:
        """Write another one. Raise Unavailable if the store does not take it."""
        body = gzipped(Encoder().encode(accepted))
        self._version = self._store.put(keys.UPSTREAM_ADVISORIES, body, None)
