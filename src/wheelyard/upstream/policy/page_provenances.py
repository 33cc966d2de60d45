"""Whether the attestations of files of upstream pages hold, whose provenance has to be fetched."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import INVALID_ATTESTATIONS, Invalid, NotFound
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

if TYPE_CHECKING:
    from wheelyard.archive.attestation_verifier import AttestationVerifier

REMEMBERED: Final = 50_000
"""Files that are remembered because their attestations hold."""

ProvenanceReader = Callable[[UpstreamPage, UpstreamFile], bytes]
"""
Returns the provenance of a file, fetched if needed.

Raises NotFound if there is none. Raises Unavailable if it cannot be had now.
"""


class PageProvenances:
    """
    Verifies the attestations of files of pages. Threads may share it.

    Args:
        read_provenance: Returns the provenance of a file.
        build_verifiers: Returns one for each trusted root, of which one has to know the signatures.
            It is called once a rule asks.
    """

    def __init__(
        self,
        read_provenance: ProvenanceReader,
        build_verifiers: "Callable[[], Sequence[AttestationVerifier]]",
    ) -> None:
        self._read_provenance = read_provenance
        self._build_verifiers = build_verifiers
        self._held: LruCache[tuple[str, str], bool] = LruCache(REMEMBERED)

    @cached_property
    def _verifiers(self) -> "Sequence[AttestationVerifier]":
        return self._build_verifiers()

    def fault(self, page: UpstreamPage, file: UpstreamFile) -> str:
        """
        Return in a sentence why the attestations of a file do not hold, or an empty text.

        Raises Unavailable if its provenance cannot be had now.
        """
        key = file.filename, file.sha256
        if self._held.get(key):
            return ""
        fault = self._find_fault(page, file)
        if not fault:
            self._held.put(key, True, 1)  # noqa: FBT003 - the cached value
        return fault

    def _find_fault(self, page: UpstreamPage, file: UpstreamFile) -> str:
        if not file.sha256:
            return "The page of its index does not say its SHA-256."
        if not file.provenance_url:
            return "Its provenance is on a host that this index may not ask."
        try:
            body = self._read_provenance(page, file)
        except NotFound:
            return "Its index has no provenance of it."
        fault = ""
        for verifier in self._verifiers:
            try:
                verifier.verify_provenance(body, file.filename, file.sha256)
            except Invalid as error:  # also without the extra: what nobody can verify is not sent
                fault = error.message
                if error.code == INVALID_ATTESTATIONS:  # no other root can know better
                    return fault
            else:
                return ""
        return fault
