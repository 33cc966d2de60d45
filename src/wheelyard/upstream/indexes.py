"""The upstream indexes as one: which names they have, what is shown, and why not the rest."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from datetime import datetime
from itertools import count
from typing import Final, NamedTuple, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.catalog.private_names import PrivateNames
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import UPSTREAM_CODES, Forbidden, NotFound, Unavailable
from wheelyard.model.access import Caller, NamePatterns
from wheelyard.model.distribution_filename import ACCEPTED_FORMATS, strip_trailing_zeros
from wheelyard.model.index_definition import UpstreamLayers
from wheelyard.model.public_packages import (
    ABSENT_CODES,
    Decision,
    ExplainedFile,
    Explanation,
    FileReason,
    NameAnswer,
    RefreshedPage,
    UnusedLink,
)
from wheelyard.model.rule_reasons import Code
from wheelyard.remedies import Advice, Remedy
from wheelyard.rendering.listing import HiddenFiles, Listing, Origin, hidden_files
from wheelyard.rendering.project_facts import latest_release, releases_of
from wheelyard.upstream.chain import UpstreamChain
from wheelyard.upstream.file_cache import as_stored
from wheelyard.upstream.hidden_pages import HiddenPages
from wheelyard.upstream.observation import Observation
from wheelyard.upstream.page import (
    OtherFormat,
    UpstreamFile,
    UpstreamPage,
    places_of_files,
)
from wheelyard.upstream.pages import FoundPage, PageKey
from wheelyard.upstream.policy.policy import PageView, Policy, PolicyState
from wheelyard.upstream.request_log import RequestLog
from wheelyard.upstream.settings import UpstreamConfig
from wheelyard.upstream.upstream_client import UpstreamClients
from wheelyard.upstream.upstream_files import UpstreamFiles

PagesOfName: TypeAlias = UpstreamChain | HiddenPages
ListedFile = TypeVar("ListedFile", UpstreamFile, OtherFormat)
OTHER_BYTES: Final = (
    "An upstream index that comes first has listed it with another digest, and lists it no more."
)
FORMAT: Final = "format"
"""The code for a file in a format that is not shown."""
VIEW_BYTES: Final = 16 * 1024**2
"""Estimated bytes of memory for what is shown of pages."""
FILE_BYTES: Final = 64
"""Estimated bytes of a file that its view adds to the page itself."""
PAGE_BYTES: Final = 1000
"""Estimated bytes of a view without its files."""


class _Look(Struct, frozen=True):
    """What a look for the page of a public name has brought."""

    page: FoundPage | None
    answer: NameAnswer
    """What clients get."""
    reasons: tuple[FileReason, ...] = ()
    """Why they do not get the page."""


class Explainer(Struct, frozen=True):
    """
    Explains what an index with upstream indexes answers.

    It may ask them, as a client would.
    """

    upstream: "UpstreamIndex"

    def explain(
        self, name: NormalizedName, version: Version | None = None, *, may_read: bool
    ) -> Explanation:
        """
        Return what clients get for a name, or for one version of it.

        `may_read` is whether the caller may read it if it is private, and so learn that it is. That
        an upstream index does not say whether it has the name is a part of the result. What is
        fetched is stored, and the first use of an exception from the cooldown is written. Metadata
        and provenance are looked at only for one version, or while offline.

        Raises Unavailable if the store does not answer. Raises Unavailable if metadata or
        provenance cannot be had now, which is a part of the result while offline. Raises Invalid
        (code `bad_setting`) if no database of advisories can be used.
        """
        places = self.upstream.places_of(name)
        if may_read and places == (self.upstream.hidden_pages,):
            return Explanation(name=name, answer=NameAnswer.PRIVATE, reasons=(self._private(name),))
        explained = [self._of_place(pages, name, version) for pages in places]
        if len(explained) == 1:
            return explained[0].explanation
        return _merged_explanation(explained)

    def _of_place(
        self, pages: PagesOfName, name: NormalizedName, version: Version | None
    ) -> "_Explained":
        """Return what clients get of a name from where it is looked up."""
        policy = self.upstream.policy
        look = self._look(pages, name, "" if version is None else str(version))
        listing: UpstreamListing | None = None
        if look.page is not None:
            listing = self.upstream.serve(look.page)
        decisions = policy.decisions_of(name).all
        explanation = Explanation(
            name=name,
            answer=look.answer,
            reasons=look.reasons,
            # who asked for it is no matter of everybody
            decisions=tuple(replace(decision, asked_by=()) for decision in decisions),
        )
        page: UpstreamPage | None = None
        if look.page is not None and listing is not None:
            page = listing.origin.page
            explanation = replace(
                explanation,
                upstream=page.upstream,
                fetched_at=page.fetched_at,
                age=look.page.age,
                # a name that is refused is not asked for, so its page is never late
                is_stale=look.page.is_stale and look.answer is not NameAnswer.REFUSED,
                status=page.status,
                alternate_locations=page.alternate_locations,
                refused_hosts=page.refused_hosts,
                unused_links=page.unused_links,
                unused_link_count=page.unused_link_count,
                files=tuple(self._files(listing, version, look.reasons)),
            )
        if policy.osv is not None:
            explanation = replace(explanation, warnings=policy.osv.warnings)
        return _Explained(explanation, page or pages.read_gone(name))

    def _look(self, pages: PagesOfName, name: NormalizedName, version: str) -> _Look:
        """Look for the page of a name where a client would get it from."""
        refusal = self.upstream.policy.refuses_name(name, version=version)
        if refusal is not None:
            return _Look(pages.read_any_age(name), NameAnswer.REFUSED, (refusal,))
        try:
            page = pages.ask_if_due(name)
        except Unavailable as fault:
            why = FileReason(fault.code, fault.message, fault.advice)
            return _Look(pages.read_any_age(name), NameAnswer.UNAVAILABLE, (why,))
        if page is not None:
            return _Look(page, NameAnswer.UPSTREAM)
        contest = pages.why_contested(name)
        if contest:
            reason = FileReason("owner_change", contest, Advice(Remedy.FORGET_OWNER, name))
        else:
            text = "No upstream index has it. Check the spelling, or publish it here."
            reason = FileReason("unknown", text)
        return _Look(None, NameAnswer.UNKNOWN, (reason,))

    def _refusal(self, page: UpstreamPage, file: UpstreamFile) -> tuple[FileReason, ...]:
        """
        Return why a file that is not hidden is not sent.

        While offline, that may not be known, which is the reason then.
        """
        try:
            refused = self.upstream.policy.refuses_file(page, file)
        except Unavailable as fault:
            if not self.upstream.config.offline or fault.code not in UPSTREAM_CODES:
                raise
            return (FileReason("offline", fault.message, fault.advice),)
        if refused is None:
            return ()
        return (refused,)

    def _private(self, name: NormalizedName) -> FileReason:
        """Return why a name is private, for somebody who may know that it is."""
        what = "has been published or reserved here; the list of private names says more"
        if self.upstream.names.matches_pattern(name):
            what = "matches a pattern of the settings: upstream.private, access.private_names"
        elif self.upstream.names.is_reserved(name):
            what = "is in a namespace"
        text = f"{name} is private, because it {what}. No upstream index is ever asked for it."
        return FileReason("private", text)

    def _files(
        self,
        listing: "UpstreamListing",
        version: Version | None,
        reasons_of_name: tuple[FileReason, ...],
    ) -> Iterator[ExplainedFile]:
        """
        Yield the files of a page, or of one version on it, each with why clients do not get it.

        First come those that it lists, then those that have changed or are gone, and last those in
        formats that are not shown.
        """
        page = listing.origin.page
        hidden = self.upstream.policy.reasons(page, self.upstream.runtime.now())
        available = {file.filename for file in listing.files}
        for file in _of_version(page.files, version):
            is_available = file.filename in available
            reasons = hidden.get(file.filename, ())
            # this may fetch core metadata and provenance, so not for each of hundreds of files
            if not reasons and not reasons_of_name and (version is not None or not is_available):
                reasons = self._refusal(page, file)
            reasons = _joined_reasons(reasons_of_name, reasons)
            if not reasons and not is_available:
                text = (
                    f"upstream.offline is set, and the store lacks {file.filename}. Install it "
                    "once through this store where there is a connection."
                )
                reasons = (FileReason("offline", text),)
            yield _explained_file(file, reasons)
        for file in _of_version(page.changed, version):
            text = (
                f"The upstream's digest of {file.filename} has changed, which no honest index "
                "does. Find out why before you use either."
            )
            yield _explained_file(file, (FileReason("digest_changed", text),))
        for file in _of_version(page.removed, version):
            text = f"The upstream no longer lists {file.filename}. Use another version."
            yield _explained_file(file, (FileReason("removed", text),))
        for distribution in _of_version(page.other_formats, version):
            filename = distribution.filename
            text = f"{filename} is left out: wheelyard takes {ACCEPTED_FORMATS}."
            reason = FileReason(FORMAT, text)
            yield ExplainedFile(filename, distribution.version, shown=False, reasons=(reason,))


class _Explained(NamedTuple):
    """What clients get of a name from one place, and its page, also one that is gone."""

    explanation: Explanation
    page: UpstreamPage | None


def _merged_explanation(explained: Sequence[_Explained]) -> Explanation:
    """Return what clients get of a name whose files come from several upstream indexes."""
    explanations = [of_place.explanation for of_place in explained]
    silent = list[Explanation]()
    with_page = list[Explanation]()
    for explanation in explanations:
        if explanation.answer is NameAnswer.UNAVAILABLE:
            silent.append(explanation)
        if explanation.fetched_at is not None:
            with_page.append(explanation)
    if silent:
        base = silent[0]
    elif with_page:
        base = with_page[0]
    else:
        base = explanations[0]
    files = _merged_files(explained)
    if silent:  # clients get nothing rather than a part
        why = silent[0].reasons
        files = [replace(file, shown=False, reasons=file.reasons or why) for file in files]
    confirmed_at = list[datetime]()
    locations = list[str]()
    refused_hosts = list[str]()
    unused_links = list[UnusedLink]()
    for explanation in with_page:
        if explanation.fetched_at is not None:
            confirmed_at.append(explanation.fetched_at)
        locations += explanation.alternate_locations
        refused_hosts += explanation.refused_hosts
        unused_links += explanation.unused_links
    return replace(
        base,
        upstream=" ".join(explanation.upstream for explanation in with_page),
        # the whole is as old as its oldest page
        fetched_at=min(confirmed_at, default=None),
        age=max((explanation.age for explanation in with_page), default=0.0),
        is_stale=any(explanation.is_stale for explanation in with_page),
        alternate_locations=tuple(locations),
        refused_hosts=tuple(refused_hosts),
        unused_links=tuple(unused_links),
        unused_link_count=sum(explanation.unused_link_count for explanation in with_page),
        files=tuple(files),
    )


def _merged_files(explained: Sequence[_Explained]) -> list[ExplainedFile]:
    """Return the files of several pages, each as the page explains it that decides about it."""
    pages = list[UpstreamPage]()
    files_of_pages = list[tuple[ExplainedFile, ...]]()
    for explanation, page in explained:
        if page is not None:
            pages.append(page)
            files_of_pages.append(explanation.files)
    places = places_of_files(pages)
    files = dict[str, ExplainedFile]()
    for number, page in enumerate(pages):
        for file in files_of_pages[number]:
            place = places.get(file.filename)
            if place is None and file.filename in page.by_filename:
                # listed, and decided by no page: an earlier index has had it with other bytes
                why = FileReason("digest_changed", OTHER_BYTES)
                files.setdefault(file.filename, replace(file, shown=False, reasons=(why,)))
            elif place in {None, number}:
                files.setdefault(file.filename, file)
    return [files[filename] for filename in sorted(files)]


def _of_version(files: Iterable[ListedFile], version: Version | None) -> Iterator[ListedFile]:
    """Yield the files of a version, or all without one."""
    key = None if version is None else strip_trailing_zeros(str(version))
    for file in files:
        if key is None or strip_trailing_zeros(file.version) == key:
            yield file


def _joined_reasons(
    of_name: tuple[FileReason, ...], of_file: tuple[FileReason, ...]
) -> tuple[FileReason, ...]:
    """Return why a name and a file of it are not shown, each code once, those of the name first."""
    codes = {reason.code for reason in of_file}
    reasons = [reason for reason in of_name if reason.code not in codes]
    reasons += of_file
    # a block of the file comes first, as it says who knows more, and why
    if Code.BLOCKED in codes:
        reasons.sort(key=lambda reason: reason.code != Code.BLOCKED)
    return tuple(reasons)


def _explained_file(file: UpstreamFile, reasons: tuple[FileReason, ...]) -> ExplainedFile:
    return ExplainedFile(
        file.filename,
        file.version,
        shown=not reasons,
        reasons=reasons,
        uploaded_at=file.uploaded_at,
        sha256=file.sha256,
    )


class UpstreamOrigin(Origin, frozen=True, kw_only=True):
    """The origin of a project of an upstream index."""

    page: UpstreamPage
    """With all files."""
    view: PageView
    """Which of them the policy shows, and why not the others."""
    policy: Policy
    gone_before: tuple[UpstreamPage, ...] = ()
    """What earlier indexes had of a merged name, which they have no more."""
    refused_for: FileReason | None = None
    """Why nothing of the project is shown, for programs."""

    def hidden(self) -> Sequence[HiddenFiles]:
        """Return what is not shown, the newest version first, files with one reason together."""
        files = self.page.by_filename
        reasons = self.view.hidden.items()
        return hidden_files((files[filename].version, reason) for filename, reason in reasons)

    def decisions(self) -> Sequence[Decision]:
        """
        Return the decisions in force about the project.

        It may read the store. Raises Unavailable if that does not say.
        """
        return self.policy.decisions_of(self.page.name).all


class UpstreamListing(Listing, frozen=True, kw_only=True):
    """What clients may see of a page of an upstream index."""

    files: tuple[UpstreamFile, ...]
    variants: tuple[UpstreamFile, ...] = ()
    """The documents about wheels with a label, also of releases of which none is shown."""
    empty_versions: tuple[str, ...]
    origin: UpstreamOrigin

    @property
    def hidden(self) -> Mapping[str, FileReason]:
        """Why files of the page are not shown, by filename."""
        return self.origin.view.hidden

    @property
    def changes_at(self) -> datetime | None:
        """When time alone may show other files, or None if it never does."""
        return self.origin.view.changes_at

    def listing_of(self, filename: str) -> "UpstreamListing":
        """Return the listing of the one page that there is, which is this one, for any filename."""
        del filename
        return self

    @property
    def looks(self) -> tuple[object, ...]:
        """What clients can see of it."""
        return (
            self.origin.label,
            self.status,
            self.reason,
            self.files,
            self.empty_versions,
            self.variants,
            self.origin.view.hidden,
        )


def _in_order(
    name: NormalizedName, listings: Sequence[tuple[PagesOfName, UpstreamListing | None]]
) -> tuple[UpstreamListing, ...]:
    """Return the listings of places in their order, each with what is gone of those before it."""
    if len(listings) == 1:
        return tuple(listing for _, listing in listings if listing is not None)
    ordered = list[UpstreamListing]()
    gone = list[UpstreamPage]()
    for place, listing in listings:
        if listing is None:
            # what an index has had once is not taken from one behind it with other bytes
            gone_page = place.read_gone(name)
            if gone_page is not None:
                gone.append(gone_page)
        elif gone:
            origin = replace(listing.origin, gone_before=tuple(gone))
            ordered.append(replace(listing, origin=origin))
        else:
            ordered.append(listing)
    return tuple(ordered)


class _Chain(Struct, frozen=True):
    """What follows from which upstream indexes an index has, and in which order."""

    clients: UpstreamClients
    pages: UpstreamChain
    hidden_pages: HiddenPages
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamIndex:
    """
    The upstream indexes of an index as one.

    Threads may share it. All indexes share what is not about names and order.
    """

    config: UpstreamConfig
    names: PrivateNames
    clients: UpstreamClients
    """Those of the indexes, in the order in which they are asked."""
    pages: UpstreamChain
    hidden_pages: HiddenPages
    """Those of private names, for who may not read them."""
    files: UpstreamFiles
    policy: Policy
    observation: Observation
    requests: RequestLog
    runtime: Runtime
    is_local: bool = True
    """Whether its files are in a folder of this machine."""
    merge: tuple[NamePatterns, ...] = ()
    """Names whose files may come from several of them."""
    _listings: LruCache[PageKey, UpstreamListing] = field(
        default_factory=lambda: LruCache(VIEW_BYTES), repr=False
    )
    """What was shown last of each page, whose version stays as long as clients see the same."""
    _chains: dict[tuple[str, ...], "_Chain"] = field(default_factory=dict, repr=False)
    """Those that were asked for: another definition of an index must not forget what they know."""
    _versions: "count[int]" = field(default_factory=count, repr=False)
    """Of listings: numbers that no other one of this process has."""

    def with_names(self, names: PrivateNames) -> "UpstreamIndex":
        """Return the same upstream indexes behind an index that has other private names."""
        return replace_fields(self, names=names)

    def of_layers(self, layers: UpstreamLayers) -> "UpstreamIndex":
        """Return the same for an index that has only some of them, or in another order."""
        if layers.are_all:
            return replace_fields(self, merge=layers.merge)
        chain = self._chains.get(layers.parts)
        if chain is None:
            # of two threads that make one, both get that of the first
            chain = self._chains.setdefault(layers.parts, self._chain(layers))
        return replace_fields(
            self,
            merge=layers.merge,
            clients=chain.clients,
            pages=chain.pages,
            hidden_pages=chain.hidden_pages,
            policy=chain.policy,
        )

    def _chain(self, layers: UpstreamLayers) -> "_Chain":
        """Return what follows from some of the upstream indexes, or from another order of them."""
        clients = self.clients.of_labels(layers.labels)
        names = tuple(client.server.names for client in clients.in_order)
        return _Chain(
            clients,
            self.pages.of_layers(clients, layers.parts),
            HiddenPages(self.config, clients, self.runtime),
            self.policy.of_names(names),
        )

    def pages_of(self, name: NormalizedName) -> PagesOfName:
        """
        Return where a name is looked up for who may not know whether it is private.

        Raises Unavailable if the store does not say whether it is.
        """
        # memory may say yes, and never no: another process may have claimed the name just now
        is_private = self.names.is_private_in_memory(name) or self.names.is_private(name)
        return self.hidden_pages if is_private else self.pages

    def places_of(self, name: NormalizedName) -> tuple[PagesOfName, ...]:
        """
        Return all places where a name is looked up, in order: one, unless the name is merged.

        Raises Unavailable if the store does not say whether the name is private.
        """
        pages = self.pages_of(name)
        if pages is self.hidden_pages:
            return (pages,)
        return self._public_places(name)

    def _public_places(self, name: NormalizedName) -> tuple[UpstreamChain, ...]:
        """Return all places where a name is looked up that is not private, in order."""
        if any(patterns.match(name) for patterns in self.merge):
            return self.pages.each(name)
        return (self.pages,)

    def refused(
        self, name: NormalizedName, state: PolicyState, caller: Caller | None = None
    ) -> UpstreamListing | None:
        """
        Return the empty listing of a name that no upstream index may be asked for, else None.

        A refusal is counted. `state` is what `policy.state` has just returned. `caller` is the one
        whose installer wants the project, if it does. That is noted, unless the name is denied.

        Raises NotFound, with the code of the rule, for a name that is answered as one that nobody
        has. Raises Unavailable if the store does not answer.
        """
        refusal = self.policy.refuses_name(name, state)
        if refusal is None:
            return None
        self.observation.blocked(refusal.code)
        # what is denied, the operator has decided for good
        if caller is not None and refusal.code != Code.DENIED:
            self.requests.note(name, "", refusal, caller)
        if refusal.code in ABSENT_CODES:
            raise NotFound(refusal.text, code=refusal.code, advice=refusal.advice)
        # a page without files: after a 404, uv would go on to its next index
        page = UpstreamPage(name=name, upstream="", fetched_at=self.runtime.now())
        view = PageView((), {}, None, self.policy.generation or "")
        return self._listing(page, view, "upstream-refused", refusal)

    def serve(self, current: FoundPage, state: PolicyState | None = None) -> UpstreamListing:
        """
        Return what clients may see of a page now.

        The first use of an exception from the cooldown is written. Without `state`, decisions,
        advisories and notes are read. Raises Unavailable if the store does not answer. Raises
        Invalid (code `bad_setting`) if no database of advisories can be used.
        """
        page = self.files.with_digests(current.page)
        view = self.policy.view(page, self.runtime.now(), state)
        key = PageKey(page.upstream, page.name)
        listing = self._listings.get(key)
        # the same objects: the view is made again when something that decides has changed
        is_same = listing and listing.origin.page is page and listing.origin.view is view
        # while offline the store says which files there are, and may have more by now
        if listing is None or not is_same or self.config.offline:
            listing = self._new(page, view, listing)
            self._listings.put(key, listing, PAGE_BYTES + FILE_BYTES * len(page.files))
        # these change without a new version: what is made of the listing does not have them
        origin = replace(listing.origin, is_stale=current.is_stale, age=current.age)
        return replace(listing, origin=origin)

    def serve_each(
        self,
        name: NormalizedName,
        looked_up: Sequence[tuple[PagesOfName, FoundPage | None]],
        state: PolicyState | None = None,
    ) -> tuple[UpstreamListing, ...]:
        """
        Return what clients may see now of a name from each place that has a page.

        Each page comes with the place where it was looked up, or None if that has none. It is
        served as by `serve`. Raises Unavailable if the store does not answer. Raises Invalid (code
        `bad_setting`) if no database of advisories can be used.
        """
        listings = list[tuple[PagesOfName, UpstreamListing | None]]()
        for place, page in looked_up:
            listing: UpstreamListing | None = None
            if page is not None:
                listing = self.serve(page, state)
            listings.append((place, listing))
        return _in_order(name, listings)

    def note_hidden(self, listings: Sequence[UpstreamListing], caller: Caller) -> None:
        """
        Note that an installer wants a project, if the policy hides each file of it.

        Noted is the newest release that the first listing with hidden files hides.
        """
        hiding = [listing for listing in listings if listing.hidden]
        if not hiding or any(listing.origin.view.shown for listing in listings):
            return
        listing = hiding[0]
        page = listing.origin.page
        hidden = listing.origin.view.hidden
        # the newest release among the hidden files is what an installer would have chosen
        files = tuple(page.by_filename[filename] for filename in hidden)
        newest = latest_release(releases_of(replace(listing, files=files)))
        if newest is not None:
            reason = hidden[newest.files[0].filename]
            self.note_file(page, newest.metadata_file, reason, caller)

    def note_file(
        self, page: UpstreamPage, file: UpstreamFile, reason: FileReason, caller: Caller
    ) -> None:
        """Note that a caller wants a file of a page, which is hidden for a reason."""
        self.requests.note(page.name, file.version, reason, caller, reason.changes_at)

    def hidden_codes(self, name: NormalizedName, version: str) -> tuple[str, ...]:
        """
        Return the codes of all rules that hide files of a version whose page is in the store.

        There are none without a version. Metadata and provenance may be fetched, and if they cannot
        be had now, codes that need them are missing. The first use of an exception from the
        cooldown is written, and so is a licence that hides a file. Raises Unavailable if the store
        does not answer. Raises Invalid (code `bad_setting`) if no database of advisories can be
        used.
        """
        if not version:
            return ()
        pages = [place.read_stored(name) for place in self.places_of(name)]
        codes = list[str]()
        for page in pages:
            if page is not None:
                codes += self._hidden_codes(page, version)
        return tuple(dict.fromkeys(codes))

    def _hidden_codes(self, stored: UpstreamPage, version: str) -> list[str]:
        """Return the codes of all rules that hide files of a version on a page, perhaps twice."""
        page = self.files.with_digests(stored)
        key = strip_trailing_zeros(version)
        files = [file for file in page.files if strip_trailing_zeros(file.version) == key]
        by_filename = self.policy.reasons(page, self.runtime.now())
        reasons = list[FileReason]()
        for file in files:
            reasons += by_filename.get(file.filename, ())
        with suppress(Unavailable):  # whoever approves it is told then
            for file in files:
                refusal = self.policy.refuses_by_sidecars(page, file)
                if refusal is not None:
                    reasons.append(refusal)
        return [str(reason.code) for reason in reasons]

    def read_stored(self, name: NormalizedName) -> tuple[UpstreamListing, ...]:
        """
        Return what clients may see now of the pages of the store: one, unless the name is merged.

        There is none if the store has none. Their versions are empty. It asks nobody for a page,
        and does not look whether the name is private. The first use of an exception from the
        cooldown is written. Raises Unavailable if the store does not answer. Raises Invalid (code
        `bad_setting`) if no database of advisories can be used.
        """
        places = self._public_places(name)
        return _in_order(name, [(place, self._read_stored_in(place, name)) for place in places])

    def _read_stored_in(self, place: UpstreamChain, name: NormalizedName) -> UpstreamListing | None:
        """Return what clients may see of the page that the store has of one place."""
        stored = place.read_stored(name)
        if stored is None:
            return None
        page = self.files.with_digests(stored)
        return self._listing(page, self.policy.view(page, self.runtime.now()), "")

    def refresh(self, name: NormalizedName, *, may_read: bool) -> RefreshedPage:
        """
        Ask the upstream indexes for a page now, store it, and return what has come.

        If no index has it, the result has no files, and no upstream. Provenances that did not hold
        are looked at again from now on. `may_read` is whether the caller may read the name if it is
        private.

        Raises Forbidden if it is and they may, or, with the code of the rule, if the policy does
        not let anybody ask for it. Raises Unavailable (a code of `UPSTREAM_CODES`) if an index does
        not answer, refuses the name, or sends what cannot be used. Raises Unavailable if the store
        does not answer.
        """
        places = self.places_of(name)

        # who may not read it gets what is said of an unknown name, by the hidden pages
        if may_read and places == (self.hidden_pages,):
            raise Forbidden(f"{name} is a private name: no upstream index is ever asked for it.")
        refusal = self.policy.refuses_name(name)
        if refusal is not None:
            raise Forbidden(refusal.text, code=refusal.code, advice=refusal.advice)

        # before any is asked: an answer takes the place of the stored page
        filenames_before = set[str]()
        for place in places:
            stored = place.read_stored(name)
            if stored is not None:
                filenames_before.update(stored.by_filename)
        renewed = list[UpstreamPage]()
        for place in places:
            answer = place.ask_now(name)
            if answer is not None:
                renewed.append(answer.page)
        filenames = dict[str, None]()  # each once, in the order of the pages
        for page in renewed:
            # the index may have corrected a provenance that did not hold
            self.policy.sidecar_facts.provenances.forget(page.files)
            filenames.update(dict.fromkeys(page.by_filename))
        return RefreshedPage(
            name=name,
            upstream=" and ".join(self.config.label_of(page.upstream) for page in renewed),
            files=len(filenames),
            new=tuple(filename for filename in filenames if filename not in filenames_before),
            removed=tuple(sorted(filenames_before.difference(filenames))),
        )

    def explain(
        self, name: NormalizedName, version: Version | None, *, may_read: bool
    ) -> Explanation:
        """
        Return what clients get for a name or one version of it, and why.

        It may ask the upstream indexes. `may_read` is whether the caller may read the name if it is
        private. What is fetched is stored, and the first use of an exception from the cooldown is
        written.

        Raises Unavailable if the store does not answer. Raises Unavailable if metadata or
        provenance cannot be had now, which is a part of the result while offline. Raises Invalid
        (code `bad_setting`) if no database of advisories can be used.
        """
        return Explainer(self).explain(name, version, may_read=may_read)

    def close(self) -> None:
        """End what is being fetched, store what was fetched, and close all connections."""
        self.requests.close()
        # in this order: fetches use the connections, and pages may be from the last answers
        self.files.close()
        self.pages.flush()
        self.clients.close()

    def _new(
        self, page: UpstreamPage, view: PageView, before: UpstreamListing | None
    ) -> UpstreamListing:
        """Return a listing, with the version of the one before it if clients see the same."""
        if before is not None:
            listing = self._listing(page, view, before.version)
            # the version stays, and so does what is made of the listing beside it
            if listing.looks == before.looks:
                return listing
        else:
            listing = self._listing(page, view, "")
        return replace(listing, version=f"upstream-{next(self._versions)}")

    def _listing(
        self, page: UpstreamPage, view: PageView, version: str, reason: FileReason | None = None
    ) -> UpstreamListing:
        """Return the listing of a page. `reason` is why no upstream index may be asked for it."""
        return UpstreamListing(
            name=page.name,
            status=page.status,
            reason=page.reason,
            files=self._available(page, view.shown),
            variants=self._available_variants(page),
            empty_versions=view.empty_versions,
            version=version,
            origin=UpstreamOrigin(
                label=self.config.label_of(page.upstream),
                is_upstream=True,
                confirmed_at=page.fetched_at,
                refusal=reason.text if reason else "",
                generation=view.generation,
                page=page,
                view=view,
                policy=self.policy,
                refused_for=reason,
            ),
        )

    def _available(
        self, page: UpstreamPage, shown: tuple[UpstreamFile, ...]
    ) -> tuple[UpstreamFile, ...]:
        """
        Return files of a page, or while nothing is fetched, those that clients can download.

        A resolver that chose another one could not have it.
        """
        if not self.config.offline:
            return shown
        sizes = self.files.cache(page.upstream).sizes(page.name)
        available = list[UpstreamFile]()
        for file in shown:
            stored = as_stored(page.name, file, sizes)
            if stored is not None and self._may_download(page, stored):
                available.append(stored)
        return tuple(available)

    def _available_variants(self, page: UpstreamPage) -> tuple[UpstreamFile, ...]:
        """Return the documents about wheels with a label that clients can download."""
        if not self.config.offline or not page.variants:
            return page.variants
        sizes = self.files.cache(page.upstream).sizes(page.name)
        stored = (as_stored(page.name, document, sizes) for document in page.variants)
        return tuple(filter(None, stored))

    def _may_download(self, page: UpstreamPage, file: UpstreamFile) -> bool:
        """Return whether the policy lets clients download a file that the store has."""
        if not self.policy.asks_sidecars:
            return True
        try:
            return self.policy.refuses_file(page, page.by_filename[file.filename]) is None
        except Unavailable as fault:
            if fault.code not in UPSTREAM_CODES:
                raise
            return False  # its licence, or who has signed it, is not known
