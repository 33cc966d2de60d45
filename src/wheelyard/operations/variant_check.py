"""Whether wheels with a label fit the others of their release (PEP 825)."""

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

    A wheel that does not fit would leave its release without a document, so that clients could
    install none of these wheels. It is asked in the commit, and reads only what never changes.

    Args:
        files: Has what is stored beside the listed wheels.
        project: The project without the new wheels.
    """

    def __init__(self, files: Files, project: Project) -> None:
        self._files = files
        self._project = project
        self._documents: dict[str, VariantDocument] = {}
        """What all wheels of a release say together, by version without trailing zeros."""

    def add_stored(self, file: File) -> None:
        """
        Count in a file that is stored already. One without a label always fits.

        Raises Invalid (code `variant_conflict`) if a wheel does not fit the others of its release,
        and Unavailable if the store has lost a `variant.json`, or does not answer.
        """
        if file.variant:
            self.add(file, self._files.variant(self._project.name, file))

    def add(self, file: File, document: "VariantDocument") -> None:
        """
        Count in a wheel with its `variant.json`.

        Raises Invalid (code `variant_conflict`) if that does not fit those of the other wheels,
        after which it is not counted in. Raises Unavailable if the store has lost one of them, or
        does not answer.
        """
        # without a wheel with a label, nothing loads it
        from wheelyard.model.wheel_variants import join_variants, require_short  # noqa: PLC0415

        release = strip_trailing_zeros(file.version)
        if release not in self._documents:
            # once for a release: what is counted in later is joined to what these say
            for wheel in self._project.variants.get(release, ()):
                listed = self._files.variant(self._project.name, wheel)
                joined = join_variants(self._documents.get(release, listed), listed)
                self._documents[release] = joined
        joined = join_variants(self._documents.get(release, document), document)
        # the page of the release has to link to a document that clients read
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
