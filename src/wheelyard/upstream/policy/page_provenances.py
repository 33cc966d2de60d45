"""Verifies the attestations of files of upstream pages, whose provenance may have to be fetched."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from wheelyard.concurrency.caches import ExpiringCache, LruCache
from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import INVALID_ATTESTATIONS, Invalid, NotFound, Unavailable
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

if TYPE_CHECKING:
    from wheelyard.archive.attestation_verifier import AttestationVerifier

REMEMBERED: Final = 50_000
"""Files that are remembered because their attestations hold, and as many that do not."""
FAULT_SECONDS: Final = 86_400.0
"""How long a file whose attestations do not hold stays hidden, until they are verified again."""


class ProvenanceSource(Protocol):
    """Where the provenance of files is, and what verifies it."""

    @property
    def is_offline(self) -> bool:
        """Whether nothing is fetched, so that only the store has provenance."""

    def read(self, page: UpstreamPage, file: UpstreamFile) -> bytes:
        """
        Return the provenance of a file, which is fetched if needed.

        Raises NotFound if the file has no provenance. Raises Unavailable if it cannot be had now.
        """

    def forget(self, page: UpstreamPage, file: UpstreamFile) -> None:
        """Remove the stored provenance of a file, so that it is fetched anew."""

    def build_verifiers(self) -> "Sequence[AttestationVerifier]":
        """Return a verifier for each trusted root, one of which has to know the signatures."""


class PageProvenances:
    """
    Verifies the attestations of files of pages. Threads may share it.

    A file whose attestations do not hold is remembered by this process, which hides it from then
    on. It is not remembered in the store: an older trusted root may be the reason.

    Args:
        source: Where the provenance is. Its verifiers are built once a rule asks.
        monotonic: The clock by which faults are remembered.
    """

    def __init__(self, source: ProvenanceSource, monotonic: Clock) -> None:
        self._source = source
        self._monotonic = monotonic
        self._verified: LruCache[tuple[str, str], bool] = LruCache(REMEMBERED)
        self._faults: ExpiringCache[tuple[str, str], str] = ExpiringCache(monotonic, REMEMBERED)
        self._fault_count = 0

    @cached_property
    def _verifiers(self) -> "Sequence[AttestationVerifier]":
        return self._source.build_verifiers()

    @property
    def generation(self) -> str:
        """A text that changes whenever the result of `list_known` may change, and once an hour."""
        return f"{self._fault_count}.{int(self._monotonic() // 3600)}"

    def remembered(self, files: Iterable[UpstreamFile]) -> Mapping[str, str]:
        """Return by filename why attestations do not hold, as far as that is known already."""
        faults = dict[str, str]()
        for file in files:
            if file.is_attested:
                fault = self._faults.get(_key(file)) or _fault_of_page(file)
                if fault:
                    faults[file.filename] = fault
        return faults

    def list_known(self, page: UpstreamPage, files: Iterable[UpstreamFile]) -> Mapping[str, str]:
        """
        Return by filename why attestations do not hold, as far as that needs no connection.

        While offline, the attestations are verified now, as they could not be verified later. If
        the store lacks the provenance of a file, that is a fault then.
        """
        if not self._source.is_offline:
            return self.remembered(files)
        faults = dict[str, str]()
        for file in files:
            if file.is_attested:
                fault = self._fault_offline(page, file)
                if fault:
                    faults[file.filename] = fault
        return faults

    def fault(self, page: UpstreamPage, file: UpstreamFile) -> str:
        """
        Return in sentences why the attestations of a file do not hold, or an empty text.

        The provenance may be fetched. A provenance that does not hold is removed from the store, so
        that it is fetched anew, unless nothing is fetched. Raises Unavailable if the provenance
        cannot be had now.
        """
        if self._verified.get(_key(file)):
            return ""
        known_fault = self._faults.get(_key(file)) or _fault_of_page(file)
        if known_fault:
            return known_fault
        fault = self._find_fault(page, file)
        if not fault:
            self._verified.put(_key(file), True, 1)  # noqa: FBT003 - the cached value
            return ""
        self._faults.put(_key(file), fault, FAULT_SECONDS)
        # counted last: a view that was made meanwhile is made again
        self._fault_count += 1
        return fault

    def forget(self, files: Iterable[UpstreamFile]) -> None:
        """Forget why attestations of files do not hold, so that they are verified again."""
        for file in files:
            self._faults.discard(_key(file))
        # counted last: a view that was made meanwhile is made again
        self._fault_count += 1

    def _fault_offline(self, page: UpstreamPage, file: UpstreamFile) -> str:
        """Return why the attestations of a file do not hold, or that its provenance is missing."""
        try:
            return self.fault(page, file)
        except Unavailable as error:
            return error.message

    def _find_fault(self, page: UpstreamPage, file: UpstreamFile) -> str:
        """Return why the provenance of a file does not verify it, or an empty text if it does."""
        try:
            body = self._source.read(page, file)
        except NotFound:
            return "Its index has no provenance of it."
        fault = ""
        for verifier in self._verifiers:
            try:
                verifier.verify_provenance(body, file.filename, file.sha256)
            except Invalid as error:  # also without the extra, as nobody can verify the file then
                fault = error.message
                if error.code == INVALID_ATTESTATIONS:  # no other root can know better
                    break
            else:
                return ""
        if not self._source.is_offline:  # the index may correct it later
            self._source.forget(page, file)
        return fault


def _key(file: UpstreamFile) -> tuple[str, str]:
    """Return what identifies a file, on whatever page it is."""
    return file.filename, file.sha256


def _fault_of_page(file: UpstreamFile) -> str:
    """Return why nobody can verify a file by what its page says, or an empty text."""
    if not file.sha256:
        return "The page of its index does not say its SHA-256."
    if not file.provenance_url:
        return "Its provenance is on a host that this index may not ask."
    return ""
