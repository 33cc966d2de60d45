"""Check whether wheels with a label fit the other wheels of their release (PEP 825)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wheelyard.catalog.files import Files
from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.project import File, Project

if TYPE_CHECKING:
    from wheelyard.model.wheel_variants import VariantDocument


class VariantCheck:
    """
    Counts wheels with a label into the releases of a project, one after another.

    With a wheel that does not fit, the release would have no common document, and clients could
    install none of its wheels with a label. A commit makes this check, which reads only objects
    that never change.

    Args:
        files: Has the `variant.json` of each stored wheel.
        project: The project without the new wheels.
    """

    def __init__(self, files: Files, project: Project) -> None:
        self._files = files
        self._project = project
        self._documents: dict[str, VariantDocument] = {}
        """
        The joined documents of all wheels of a release.

        The keys are versions without trailing zeros.
        """

    def add_stored(self, file: File) -> None:
        """
        Count in a file that is stored already. A file without a label always fits.

        Raises Invalid (code `variant_conflict`) if a wheel does not fit the others of its release,
        and Unavailable if the store has lost a `variant.json`, or does not answer.
        """
        if file.variant:
            self.add(file, self._files.variant(self._project.name, file))

    def add(self, file: File, document: "VariantDocument") -> None:
        """
        Count in a wheel with its `variant.json`.

        Raises Invalid (code `variant_conflict`) if its document does not fit those of the other
        wheels of its release. The wheel is not counted in then. Raises Unavailable if the store has
        lost the document of another wheel, or does not answer.
        """
        # imported here, as most processes see no wheel with a label
        from wheelyard.model.wheel_variants import join_variants, require_short  # noqa: PLC0415

        release = strip_trailing_zeros(file.version)
        if release not in self._documents:
            # the listed wheels, once for each release: later wheels are joined to these
            for wheel in self._project.variants.get(release, ()):
                listed_document = self._files.variant(self._project.name, wheel)
                earlier = self._documents.get(release, listed_document)
                self._documents[release] = join_variants(earlier, listed_document)
        earlier = self._documents.get(release, document)
        joined = join_variants(earlier, document)
        # the page of the release links to this document, and clients refuse a long one
        require_short(joined)
        self._documents[release] = joined


def require_fit(check: VariantCheck, files: Iterable[File]) -> None:
    """
    Count in files that come back, or from another index, and are stored already.

    Raises Invalid (code `variant_conflict`), with the name of the file, if one does not fit the
    other wheels of its release. Raises Unavailable if the store has lost a `variant.json`, or does
    not answer.
    """
    for file in files:
        try:
            check.add_stored(file)
        except Invalid as refusal:
            message = f"{quoted(file.filename)} cannot be listed here. {refusal.message}"
            raise Invalid(message, code=refusal.code) from refusal
