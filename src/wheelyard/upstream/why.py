"""Why a public package, a version or a file is shown or not: an answer for operators and users."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.errors import UPSTREAM_CODES, Unavailable
from wheelyard.model.distribution_filename import ACCEPTED_FORMATS, strip_trailing_zeros
from wheelyard.model.public_packages import ExplainedFile, Explanation, FileReason, NameAnswer
from wheelyard.upstream.page import OtherFormat, UpstreamFile, UpstreamPage
from wheelyard.upstream.pages import FoundPage

if TYPE_CHECKING:
    from wheelyard.upstream.index import UpstreamIndex, UpstreamListing

FORMAT: Final = "format"
"""The code for a file in a format that is not shown."""


_Looked = tuple[FoundPage | None, NameAnswer, tuple[FileReason, ...]]


class Explainer(Struct, frozen=True):
    """Explains what an index with upstream indexes answers; it may ask them, as a client would."""

    upstream: "UpstreamIndex"

    def explain(self, name: NormalizedName, version: Version | None = None) -> Explanation:
        """
        Return what clients get for a name, or for one version of it.

        Raise Unavailable if the store does not say whether the name is private.
        """
        policy = self.upstream.policy
        if self.upstream.names.is_private(name):
            return Explanation(name=name, answer=NameAnswer.PRIVATE, reasons=(self._private(name),))
        found, answer, why = self._look(name)
        listing = self.upstream.serve(found) if found else None
        page = listing.origin.page if listing else None
        return Explanation(
            name=name,
            answer=answer,
            reasons=why,
            upstream=page.upstream if page else "",
            fetched_at=page.fetched_at if page else None,
            age=found.age if found else 0.0,
            is_stale=found.is_stale if found and answer is not NameAnswer.REFUSED else False,
            status=page.status if page else "",
            alternate_locations=page.alternate_locations if page else (),
            refused_hosts=page.refused_hosts if page else (),
            decisions=policy.decisions_of(name).all,
            files=tuple(self._files(listing, version, why)) if listing else (),
            warnings=policy.osv.warnings if policy.osv else (),
        )

    def _look(self, name: NormalizedName) -> _Looked:
        """Return the page of a name that is not private, what clients get, and why not the page."""
        pages = self.upstream.pages
        refusal = self.upstream.policy.refuses_name(name)
        if refusal is not None:
            return pages.cached(name), NameAnswer.REFUSED, (refusal,)
        try:
            found = pages.get(name)
        except Unavailable as fault:
            why = FileReason(fault.code, fault.message)
            return pages.cached(name), NameAnswer.UNAVAILABLE, (why,)
        if found is None and (text := pages.contested(name)):
            return None, NameAnswer.UNKNOWN, (FileReason("owner_change", text),)
        if found is None:
            text = "No upstream index has it. Check the spelling, or publish it here."
            return None, NameAnswer.UNKNOWN, (FileReason("unknown", text),)
        return found, NameAnswer.UPSTREAM, ()

    def _refusal(self, page: UpstreamPage, file: UpstreamFile) -> tuple[FileReason, ...]:
        """Return why a file that is not hidden is not sent; while offline, perhaps not known."""
        try:
            refused = self.upstream.policy.refuses_file(page, file)
        except Unavailable as fault:
            if not self.upstream.config.offline or fault.code not in UPSTREAM_CODES:
                raise
            return (FileReason("offline", fault.message),)
        return () if refused is None else (refused,)

    def _private(self, name: NormalizedName) -> FileReason:
        what = "has been published or reserved here; 'wheelyard names list' says more"
        if self.upstream.names.patterns.match(name):
            what = "matches a pattern of the settings: upstream.private, access.private_names"
        text = f"{name} is private, because it {what}. No upstream index is ever asked for it."
        return FileReason("private", text)

    def _files(
        self, listing: "UpstreamListing", version: Version | None, of_name: tuple[FileReason, ...]
    ) -> Iterator[ExplainedFile]:
        upstream, page = self.upstream, listing.origin.page
        known = upstream.policy.reasons(page, upstream.runtime.now())
        shown = {each.filename for each in listing.files}
        for file in (each for each in page.files if _is_of(each, version)):
            own: tuple[FileReason, ...] = known.get(file.filename, ())
            if not own and not of_name and (version is not None or file.filename not in shown):
                own = self._refusal(page, file)  # it looks at the licence, too
            codes = {each.code for each in own}
            why = (*(e for e in of_name if e.code not in codes), *own)
            if not why and file.filename not in shown:
                text = f"upstream.offline is set, and the store lacks {file.filename}."
                why = (FileReason("offline", f"{text} Prefetch it where there is a connection."),)
            yield _explained(file, why)
        for file in (each for each in page.changed if _is_of(each, version)):
            text = (
                f"The upstream's digest of {file.filename} has changed, which no honest index "
                "does. Find out why before you use either."
            )
            yield _explained(file, (FileReason("digest_changed", text),))
        for file in (each for each in page.removed if _is_of(each, version)):
            text = f"The upstream no longer lists {file.filename}. Use another version."
            yield _explained(file, (FileReason("removed", text),))
        for other in (each for each in page.other_formats if _is_of(each, version)):
            text = f"{other.filename} is left out: wheelyard takes {ACCEPTED_FORMATS}."
            reason = FileReason(FORMAT, text)
            yield ExplainedFile(other.filename, other.version, shown=False, reasons=(reason,))


def _is_of(file: UpstreamFile | OtherFormat, version: Version | None) -> bool:
    wanted = None if version is None else strip_trailing_zeros(str(version))
    return wanted is None or strip_trailing_zeros(file.version) == wanted


def _explained(file: UpstreamFile, why: tuple[FileReason, ...]) -> ExplainedFile:
    at, digest = file.uploaded_at, file.sha256
    return ExplainedFile(file.filename, file.version, not why, why, at, digest)
