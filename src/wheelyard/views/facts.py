"""The facts about the files of a project, as the filter of a view asks for them."""

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from packaging.utils import NormalizedName

from wheelyard.catalog.files import Files
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import NotFound
from wheelyard.model.licences import UNKNOWN, licence_of
from wheelyard.model.project import File, Project
from wheelyard.model.public_packages import UNDECIDED, Verdict
from wheelyard.model.view_filter.facts import LOOKED_UP_LATER, FileFacts

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamIndex, UpstreamListing
    from wheelyard.upstream.page import UpstreamFile, UpstreamPage
    from wheelyard.upstream.policy.osv_source import OsvSource

REMEMBERED_LICENCES: Final = 50_000
MALWARE_SEVERITY: Final = 10.0
"""The severity of what is known to be malicious, which has no score."""


class Licences:
    """
    The licences of files, found in their core metadata and remembered.

    Threads may share it. Metadata with a digest never changes, so neither does what was found.
    """

    def __init__(self) -> None:
        self._by_digest: LruCache[str, str] = LruCache(REMEMBERED_LICENCES)
        self.count = 0
        """How many were found so far."""

    def of_private(self, files: Files, name: NormalizedName, file: File) -> str:
        """
        Return the licence of a private file, which may be read from the store.

        Raises Unavailable if the store does not answer.
        """
        if not file.has_metadata:
            return UNKNOWN
        licence = self._by_digest.get(file.core_metadata)
        if licence is None:
            try:
                raw = files.core_metadata(name, file)
            except NotFound:
                return UNKNOWN
            licence = self._remember(file.core_metadata, licence_of(raw, name, file.version))
        return licence

    def of_public(self, file: "UpstreamFile") -> str:
        """Return the licence of a public file if it is known, and else `LOOKED_UP_LATER`."""
        if not file.has_metadata:
            return UNKNOWN
        licence = self._by_digest.get(_key(file))
        return LOOKED_UP_LATER if licence is None else licence

    def unknown(self, files: "Iterable[UpstreamFile]") -> "list[UpstreamFile]":
        """Return those of some public files that nobody has looked up, one of each metadata."""
        unknown = {_key(file): file for file in files if self.of_public(file) == LOOKED_UP_LATER}
        return list(unknown.values())

    def find_public(
        self, upstream: "UpstreamIndex", page: "UpstreamPage", file: "UpstreamFile"
    ) -> None:
        """
        Read the core metadata of a public file, which may be fetched, for `of_public`.

        Raises Unavailable if it cannot be had now.
        """
        if self.of_public(file) == LOOKED_UP_LATER:
            licence = UNKNOWN
            with suppress(NotFound):
                raw = upstream.files.bring_metadata(page, file)
                licence = licence_of(raw, page.name, file.version)
            self._remember(_key(file), licence)

    def _remember(self, key: str, licence: str) -> str:
        self._by_digest.put(key, licence, 1)
        self.count += 1
        return licence


def _key(file: "UpstreamFile") -> str:
    return file.core_metadata or f"{file.filename} {file.url}"


def private_facts(
    wanted: frozenset[str], files: Files, licences: Licences, project: Project
) -> dict[str, FileFacts]:
    """
    Return the facts about the files of a private project, by filename.

    Who may publish here has approved what they publish. Databases of advisories are about public
    packages, and this index keeps no attestations. A promoted file counts from its promotion on.
    Raises Unavailable if the store does not answer.
    """
    name = project.name
    return {
        file.filename: FileFacts(
            name=name,
            version=file.version,
            uploaded_at=file.promoted_at or file.uploaded_at,
            licence=licences.of_private(files, name, file) if "licence" in wanted else None,
            is_approved=True,
            is_yanked=file.yanked is not None,
        )
        for file in project.files
    }


def public_facts(
    wanted: frozenset[str],
    licences: Licences,
    advisories: "OsvSource | None",
    listing: "UpstreamListing",
) -> dict[str, FileFacts]:
    """
    Return the facts about the files of a public project that are shown, by filename.

    A licence that nobody has looked up yet is `LOOKED_UP_LATER`. Raises Unavailable if the store
    does not say what was decided.
    """
    name, decisions = listing.name, UNDECIDED
    if "approved" in wanted:
        decisions = listing.origin.policy.decisions_of(name)
    severities = dict[str, float]()
    if "severity" in wanted and advisories is not None:
        versions = (file.version for file in listing.files)
        severities = {
            version: max(
                MALWARE_SEVERITY if advisory.is_malicious else advisory.score
                for advisory in hit.advisories
            )
            for version, hit in advisories.current().hits(name, versions).items()
        }
    facts = dict[str, FileFacts]()
    for file in listing.files:
        decision = decisions.for_file(file.version, file.sha256)
        facts[file.filename] = FileFacts(
            name=name,
            version=file.version,
            uploaded_at=file.uploaded_at,
            licence=licences.of_public(file) if "licence" in wanted else None,
            severity=severities.get(file.version, 0.0),
            is_approved=decision is not None and decision.verdict is Verdict.APPROVED,
            is_attested=file.is_attested,
            is_yanked=file.yanked is not None,
        )
    return facts
