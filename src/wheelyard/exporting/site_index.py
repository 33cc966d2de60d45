"""The index whose pages are those of a static site: over the same store, open, and unchanging."""

from collections.abc import Iterable
from math import inf
from typing import Final

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import CachePolicy, MaxAge, Snapshot
from wheelyard.catalog.projects import NameList, ProjectNames
from wheelyard.exporting.manifest import Options
from wheelyard.model.access import ANONYMOUS, Action, Caller, Pattern, Scope
from wheelyard.settings.sections import IapSettings, TelemetrySettings
from wheelyard.storage.base import ObjectVersion
from wheelyard.wiring.index import Index, build_index
from wheelyard.wiring.stores import DOCUMENT_CAPACITY

ANYONE: Final = Caller(ANONYMOUS, (Scope(Action.READ, (Pattern("*"),)),))
"""Somebody who is not signed in, and may read everything."""


def index_for_site(index: Index, options: Options) -> Index:
    """Return the index over the same store whose pages are those of a site."""
    settings = index.settings
    settings = replace(
        settings,
        server=replace(
            settings.server, public_url=options.base_url, path_prefix="", read_only=True
        ),
        access=replace(settings.access, cookie_login=False),
        iap=IapSettings(),
        telemetry=TelemetrySettings(),
        http=replace(settings.http, page_cache=0),
        upstream=replace(settings.upstream, enabled=options.has_public, offline=True),
    )
    kept = CachePolicy(is_local=False, freshness=inf, capacity=DOCUMENT_CAPACITY)
    stores, traits = index.stores, index.traits
    return build_index(stores, index.spool, settings, index.runtime, traits, documents=kept)


class ExportedNames(ProjectNames):
    """The list of the projects of a site, instead of that in the store."""

    def __init__(self) -> None:
        self.show(())

    def show(self, names: Iterable[NormalizedName]) -> None:
        """Have these names, which are sorted, from now on."""
        listed = NameList(tuple(names))
        version = ObjectVersion(str(id(listed)))
        self._snapshot = Snapshot(listed, version, validated_at=0.0, attempted_at=0.0, size=0)

    def peek(self, max_age: MaxAge = "fresh") -> Snapshot[NameList]:
        """Return the list."""
        del max_age
        return self._snapshot

    def get(self) -> Snapshot[NameList]:
        """Return the list."""
        return self._snapshot
