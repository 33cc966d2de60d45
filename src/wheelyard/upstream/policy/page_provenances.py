"""Whether the attestations of files of upstream pages hold, whose provenance has to be fetched."""

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
"""Files that are remembered because their attestations hold, or do not."""
FAULT_SECONDS: Final = 86_400.0
"""How long a file stays hidden whose attestations do not hold, until it is looked at again."""


class ProvenanceSource(Protocol):
    """Where the provenance of files is, and what verifies it."""

    @property
    def is_offline(self) -> bool:
        """Whether nothing is fetched, so that the store alone says what can be known."""

    def read(self, page: UpstreamPage, file: UpstreamFile) -> bytes:
        """
        Return the provenance of a file, fetched if needed.

        Raises NotFound if there is none. Raises Unavailable if it cannot be had now.
        """

    def forget(self, page: UpstreamPage, file: UpstreamFile) -> None:
        """Remove the stored provenance of a file, so that it is fetched anew."""

    def build_verifiers(self) -> "Sequence[AttestationVerifier]":
        """Return one for each trusted root, of which one has to know the signatures."""


class PageProvenances:
    """
    Verifies the attestations of files of pages. Threads may share it.

    A file whose attestations do not hold is remembered by this process, which hides it from then
    on. It is not remembered in the store: an older trusted root may be the reason.

    Args:
        source: Where the provenance is. Its verifiers are built once a rule asks.
        monotonic: The clock for what is remembered.
    """

    def __init__(self, source: ProvenanceSource, monotonic: Clock) -> None:
        self._source = source
        self._monotonic = monotonic
        self._held: LruCache[tuple[str, str], bool] = LruCache(REMEMBERED)
        self._faults: ExpiringCache[tuple[str, str], str] = ExpiringCache(monotonic, REMEMBERED)
        self._fault_count = 0

    @cached_property
    def _verifiers(self) -> "Sequence[AttestationVerifier]":
        return self._source.build_verifiers()

    @property
    def generation(self) -> str:
        """Another one whenever `known` may say something else, or an hour later."""
        return f"{self._fault_count}.{int(self._monotonic() // 3600)}"

    def remembered(self, files: Iterable[UpstreamFile]) -> Mapping[str, str]:
        """Return by filename why attestations do not hold, as far as that needs no look at them."""
        faults = dict[str, str]()
        for file in files:
            if file.is_attested:
                fault = self._faults.get(_key(file)) or _fault_of_page(file)
                if fault:
                    faults[file.filename] = fault
        return faults

    def known(self, page: UpstreamPage, files: Iterable[UpstreamFile]) -> Mapping[str, str]:
        """
        Return by filename why attestations do not hold, as far as that needs no connection.

        While offline, the store says it of these files: nobody could look later then. What it
        cannot say is a fault then.
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

        Its provenance may be fetched. One that does not hold is removed from the store, unless
        nothing is fetched, so that it is fetched anew. Raises Unavailable if the provenance cannot
        be had now.
        """
        if self._held.get(_key(file)):
            return ""
        fault = self._faults.get(_key(file)) or _fault_of_page(file)
        if fault:
            return fault
        fault = self._find_fault(page, file)
        if not fault:
            self._held.put(_key(file), True, 1)  # noqa: FBT003 - the cached value
            return ""
        self._faults.put(_key(file), fault, FAULT_SECONDS)
        # in this order: a page that was made meanwhile is made again
        self._fault_count += 1
        return fault

    def forget(self, files: Iterable[UpstreamFile]) -> None:
        """Forget why attestations of files do not hold, so that they are looked at again."""
        for file in files:
            self._faults.discard(_key(file))
        # in this order: a page that was made meanwhile is made again
        self._fault_count += 1

    def _fault_offline(self, page: UpstreamPage, file: UpstreamFile) -> str:
        """Return why the attestations of a file do not hold. What nobody can read is a fault."""
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
            except Invalid as error:  # also without the extra: what nobody can verify is not sent
                fault = error.message
                if error.code == INVALID_ATTESTATIONS:  # no other root can know better
                    break
            else:
                return ""
        if not self._source.is_offline:  # the index may have corrected it by then
            self._source.forget(page, file)
        return fault


def _key(file: UpstreamFile) -> tuple[str, str]:
    return file.filename, file.sha256


def _fault_of_page(file: UpstreamFile) -> str:
    """Return why nobody can verify a file, as its page says it, or an empty text."""
    if not file.sha256:
        return "The page of its index does not say its SHA-256."
    if not file.provenance_url:
        return "Its provenance is on a host that this index may not ask."
    return ""
