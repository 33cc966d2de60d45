"""The upstream indexes of an index as one: which names they have, what is shown, and why."""

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
    deciding_pages,
)
from wheelyard.upstream.pages import FoundPage, PageKey
from wheelyard.upstream.policy.policy import PageView, Policy, PolicyState
from wheelyard.upstream.request_log import RequestLog
from wheelyard.upstream.settings import UpstreamConfig
from wheelyard.upstream.upstream_client import UpstreamClients
from wheelyard.upstream.upstream_files import UpstreamFiles

PageSource: TypeAlias = UpstreamChain | HiddenPages
"""Where the page of a name is looked up."""
ListedFile = TypeVar("ListedFile", UpstreamFile, OtherFormat)
OTHER_BYTES: Final = (
    "An upstream index that comes first has listed it with another digest, and lists it no more."
)
FORMAT: Final = "format"
"""The code for a file in a format that is not shown."""
VIEW_BYTES: Final = 16 * 1024**2
"""Estimated bytes of memory for what is shown of pages."""
FILE_BYTES: Final = 64
"""Estimated bytes that the view of a page has for each file of the page."""
PAGE_BYTES: Final = 1000
"""Estimated bytes of a view without its files."""


class _LookedUpPage(Struct, frozen=True):
    """The page of a public name as a client would find it, and what the client gets."""

    page: FoundPage | None
    answer: NameAnswer
    """What clients get."""
    reasons: tuple[FileReason, ...] = ()
    """Why clients do not get the page."""


class Explainer(Struct, frozen=True):
    """
    Explains what an index with upstream indexes answers.

    The upstream indexes may be asked, as a client would ask them.
    """

    upstream: "UpstreamIndex"

    def explain(
        self, name: NormalizedName, version: Version | None = None, *, may_read: bool
    ) -> Explanation:
        """
        Return what clients get for a name, or for one version of it.

        `may_read` is whether the caller may read the name if it is private, and so learn that it
        is. If an upstream index does not say whether it has the name, that is a part of the result.
        What is fetched is stored, and the first use of an exception from the cooldown is written.
        Metadata and provenance are looked at only for one version, or while offline.

        Raises Unavailable if the store does not answer. Raises Unavailable if metadata or
        provenance cannot be had now, which is a part of the result while offline. Raises Invalid
        (code `bad_setting`) if the database of advisories is refused, and none was accepted before.
        """
        page_sources = self.upstream.page_sources_of(name)
        if may_read and page_sources == (self.upstream.hidden_pages,):
            reason = self._why_private(name)
            return Explanation(name=name, answer=NameAnswer.PRIVATE, reasons=(reason,))
        explained_pages = [
            self._explain_page(page_source, name, version) for page_source in page_sources
        ]
        if len(explained_pages) == 1:
            return explained_pages[0].explanation
        return _merged_explanation(explained_pages)

    def _explain_page(
        self, page_source: PageSource, name: NormalizedName, version: Version | None
    ) -> "_ExplainedPage":
        """Return what clients get of a name from one source of its page."""
        policy = self.upstream.policy
        looked_up = self._look_up(page_source, name, "" if version is None else str(version))
        listing: UpstreamListing | None = None
        if looked_up.page is not None:
            listing = self.upstream.serve(looked_up.page)
        decisions = policy.decisions_of(name).all
        explanation = Explanation(
            name=name,
            answer=looked_up.answer,
            reasons=looked_up.reasons,
            # not everybody may know who has asked for the package
            decisions=tuple(replace(decision, asked_by=()) for decision in decisions),
        )
        page: UpstreamPage | None = None
        if looked_up.page is not None and listing is not None:
            page = listing.origin.page
            explanation = replace(
                explanation,
                upstream=page.upstream,
                fetched_at=page.fetched_at,
                age=looked_up.page.age,
                # a name that is refused is not asked for, so its page is never late
                is_stale=looked_up.page.is_stale and looked_up.answer is not NameAnswer.REFUSED,
                status=page.status,
                alternate_locations=page.alternate_locations,
                refused_hosts=page.refused_hosts,
                unused_links=page.unused_links,
                unused_link_count=page.unused_link_count,
                files=tuple(self._explain_files(listing, version, looked_up.reasons)),
            )
        if policy.osv is not None:
            explanation = replace(explanation, warnings=policy.osv.warnings)
        if page is None:
            page = page_source.read_gone(name)
        return _ExplainedPage(explanation, page)

    def _look_up(
        self, page_source: PageSource, name: NormalizedName, version: str
    ) -> _LookedUpPage:
        """Look up the page of a name as a client would."""
        refusal = self.upstream.policy.refusal_of_name(name, version=version)
        if refusal is not None:
            page = page_source.read_any_age(name)
            return _LookedUpPage(page, NameAnswer.REFUSED, (refusal,))
        try:
            page = page_source.ask_if_due(name)
        except Unavailable as fault:
            reason = FileReason(fault.code, fault.message, fault.advice)
            page = page_source.read_any_age(name)
            return _LookedUpPage(page, NameAnswer.UNAVAILABLE, (reason,))
        if page is not None:
            return _LookedUpPage(page, NameAnswer.UPSTREAM)
        contest = page_source.why_contested(name)
        if contest:
            reason = FileReason("owner_change", contest, Advice(Remedy.FORGET_OWNER, name))
        else:
            text = "No upstream index has it. Check the spelling, or publish it here."
            reason = FileReason("unknown", text)
        return _LookedUpPage(None, NameAnswer.UNKNOWN, (reason,))

    def _why_private(self, name: NormalizedName) -> FileReason:
        """Return why a name is private, for a caller who may know that it is."""
        cause = "has been published or reserved here; the list of private names says more"
        if self.upstream.names.matches_pattern(name):
            cause = "matches a pattern of the settings: upstream.private, access.private_names"
        elif self.upstream.names.is_reserved(name):
            cause = "is in a namespace"
        text = f"{name} is private, because it {cause}. No upstream index is ever asked for it."
        return FileReason("private", text)

    def _explain_files(
        self,
        listing: "UpstreamListing",
        version: Version | None,
        reasons_of_name: tuple[FileReason, ...],
    ) -> Iterator[ExplainedFile]:
        """
        Yield the files of a page, or of one version on it, each with why clients do not get it.

        First come the files that the page lists, then files that have changed or are gone, and last
        files in formats that are not shown.
        """
        page = listing.origin.page
        yield from self._explain_listed_files(listing, version, reasons_of_name)
        for file in _files_of_version(page.changed, version):
            text = (
                f"The upstream's digest of {file.filename} has changed, which no honest index "
                "does. Find out why before you use either."
            )
            yield _explained_file(file, (FileReason("digest_changed", text),))
        for file in _files_of_version(page.removed, version):
            text = f"The upstream no longer lists {file.filename}. Use another version."
            yield _explained_file(file, (FileReason("removed", text),))
        for distribution in _files_of_version(page.other_formats, version):
            filename = distribution.filename
            text = f"{filename} is left out: wheelyard takes {ACCEPTED_FORMATS}."
            reason = FileReason(FORMAT, text)
            yield ExplainedFile(filename, distribution.version, shown=False, reasons=(reason,))

    def _explain_listed_files(
        self,
        listing: "UpstreamListing",
        version: Version | None,
        reasons_of_name: tuple[FileReason, ...],
    ) -> Iterator[ExplainedFile]:
        """Yield the files that a page lists, each with why clients do not get it."""
        page = listing.origin.page
        hidden = self.upstream.policy.reasons(page, self.upstream.runtime.now())
        available_filenames = {file.filename for file in listing.files}
        for file in _files_of_version(page.files, version):
            is_available = file.filename in available_filenames
            reasons = hidden.get(file.filename, ())
            # this may fetch core metadata and provenance, so not for each of hundreds of files
            is_looked_at = version is not None or not is_available
            if is_looked_at and not reasons and not reasons_of_name:
                reasons = self._reasons_not_sent(page, file)
            reasons = _joined_reasons(reasons_of_name, reasons)
            if not reasons and not is_available:
                text = (
                    f"upstream.offline is set, and the store lacks {file.filename}. Install it "
                    "once through this store where there is a connection."
                )
                reasons = (FileReason("offline", text),)
            yield _explained_file(file, reasons)

    def _reasons_not_sent(self, page: UpstreamPage, file: UpstreamFile) -> tuple[FileReason, ...]:
        """
        Return why a file that is not hidden is not sent, or nothing if it is sent.

        While offline, metadata or provenance may be missing, which is the reason then.
        """
        try:
            refusal = self.upstream.policy.refusal_of_file(page, file)
        except Unavailable as fault:
            if not self.upstream.config.offline or fault.code not in UPSTREAM_CODES:
                raise
            return (FileReason("offline", fault.message, fault.advice),)
        if refusal is None:
            return ()
        return (refusal,)


class _ExplainedPage(NamedTuple):
    """What clients get of a name from one source of its page, and the page."""

    explanation: Explanation
    page: UpstreamPage | None
    """The page, also one that is gone, or None if there never was one."""


def _merged_explanation(explained_pages: Sequence[_ExplainedPage]) -> Explanation:
    """Return what clients get of a name whose files come from several upstream indexes."""
    explanations = [explained_page.explanation for explained_page in explained_pages]
    unavailable = list[Explanation]()
    with_page = list[Explanation]()
    for explanation in explanations:
        if explanation.answer is NameAnswer.UNAVAILABLE:
            unavailable.append(explanation)
        if explanation.fetched_at is not None:
            with_page.append(explanation)
    files = _merged_files(explained_pages)
    if unavailable:
        first = unavailable[0]
        # clients get nothing rather than a part
        files = [
            replace(file, shown=False, reasons=file.reasons or first.reasons) for file in files
        ]
    elif with_page:
        first = with_page[0]
    else:
        first = explanations[0]
    return _with_facts_of_pages(replace(first, files=tuple(files)), with_page)


def _with_facts_of_pages(merged: Explanation, with_page: Sequence[Explanation]) -> Explanation:
    """Return an explanation with what the explanations that have a page say of their pages."""
    fetched_at = list[datetime]()
    locations = list[str]()
    refused_hosts = list[str]()
    unused_links = list[UnusedLink]()
    for explanation in with_page:
        if explanation.fetched_at is not None:
            fetched_at.append(explanation.fetched_at)
        locations += explanation.alternate_locations
        refused_hosts += explanation.refused_hosts
        unused_links += explanation.unused_links
    return replace(
        merged,
        upstream=" ".join(explanation.upstream for explanation in with_page),
        # the whole is as old as its oldest page
        fetched_at=min(fetched_at, default=None),
        age=max((explanation.age for explanation in with_page), default=0.0),
        is_stale=any(explanation.is_stale for explanation in with_page),
        alternate_locations=tuple(locations),
        refused_hosts=tuple(refused_hosts),
        unused_links=tuple(unused_links),
        unused_link_count=sum(explanation.unused_link_count for explanation in with_page),
    )


def _merged_files(explained_pages: Sequence[_ExplainedPage]) -> list[ExplainedFile]:
    """Return the files of several pages, each as explained for the page that decides about it."""
    pages = list[UpstreamPage]()
    files_of_pages = list[tuple[ExplainedFile, ...]]()
    for explanation, page in explained_pages:
        if page is not None:
            pages.append(page)
            files_of_pages.append(explanation.files)
    deciding_page = deciding_pages(pages)
    merged_files = dict[str, ExplainedFile]()
    for number, page in enumerate(pages):
        for file in files_of_pages[number]:
            deciding_number = deciding_page.get(file.filename)
            if deciding_number is None and file.filename in page.by_filename:
                # listed, and decided by no page: an earlier index has had it with other bytes
                reason = FileReason("digest_changed", OTHER_BYTES)
                hidden_file = replace(file, shown=False, reasons=(reason,))
                merged_files.setdefault(file.filename, hidden_file)
            elif deciding_number in {None, number}:
                merged_files.setdefault(file.filename, file)
    return [merged_files[filename] for filename in sorted(merged_files)]


def _files_of_version(files: Iterable[ListedFile], version: Version | None) -> Iterator[ListedFile]:
    """Yield the files of a version, or all files if `version` is None."""
    key = None if version is None else strip_trailing_zeros(str(version))
    for file in files:
        if key is None or strip_trailing_zeros(file.version) == key:
            yield file


def _joined_reasons(
    of_name: tuple[FileReason, ...], of_file: tuple[FileReason, ...]
) -> tuple[FileReason, ...]:
    """Return why a name and a file of it are not shown: each code once, those of the name first."""
    codes_of_file = {reason.code for reason in of_file}
    reasons = [reason for reason in of_name if reason.code not in codes_of_file]
    reasons += of_file
    # a block of the file comes first, as it says who knows more, and why
    if Code.BLOCKED in codes_of_file:
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
    """The page, with all files."""
    view: PageView
    """Which files the policy shows, and why it does not show the others."""
    policy: Policy
    gone_before: tuple[UpstreamPage, ...] = ()
    """The pages of a merged name that indexes before this one had, and have no more."""
    refused_for: FileReason | None = None
    """Why nothing of the project is shown, for programs."""

    def hidden(self) -> Sequence[HiddenFiles]:
        """Return what is not shown, the newest version first, files with one reason together."""
        files = self.page.by_filename
        hidden_versions = list[tuple[str, FileReason]]()
        for filename, reason in self.view.hidden.items():
            hidden_versions.append((files[filename].version, reason))
        return hidden_files(hidden_versions)

    def decisions(self) -> Sequence[Decision]:
        """
        Return the decisions in force about the project.

        The store may be read. Raises Unavailable if the store does not say.
        """
        return self.policy.decisions_of(self.page.name).all


class UpstreamListing(Listing, frozen=True, kw_only=True):
    """What clients may see of a page of an upstream index."""

    files: tuple[UpstreamFile, ...]
    variants: tuple[UpstreamFile, ...] = ()
    """The documents about wheels with a label, also of releases whose wheels are all hidden."""
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
        """Return this listing for any filename, as it has the one page that there is."""
        del filename
        return self

    @property
    def visible_parts(self) -> tuple[object, ...]:
        """What clients can see of the listing."""
        return (
            self.origin.label,
            self.status,
            self.reason,
            self.files,
            self.empty_versions,
            self.variants,
            self.origin.view.hidden,
        )


def _with_gone_pages(
    name: NormalizedName, sources: Sequence[tuple[PageSource, UpstreamListing | None]]
) -> tuple[UpstreamListing, ...]:
    """
    Return the listings of a name, each with the gone pages of the sources before it.

    `sources` are the sources of its page in their order, each with its listing, if it has one.
    """
    if len(sources) == 1:
        return tuple(listing for _, listing in sources if listing is not None)
    listings = list[UpstreamListing]()
    gone_pages = list[UpstreamPage]()
    for page_source, listing in sources:
        if listing is None:
            # what an index has had once is not taken from one behind it with other bytes
            gone_page = page_source.read_gone(name)
            if gone_page is not None:
                gone_pages.append(gone_page)
        elif gone_pages:
            origin = replace(listing.origin, gone_before=tuple(gone_pages))
            listings.append(replace(listing, origin=origin))
        else:
            listings.append(listing)
    return tuple(listings)


class _ChainParts(Struct, frozen=True):
    """The parts of an `UpstreamIndex` that differ with its upstream indexes and their order."""

    clients: UpstreamClients
    pages: UpstreamChain
    hidden_pages: HiddenPages
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamIndex:
    """
    The upstream indexes of an index as one.

    Threads may share it. The indexes of a server share all parts that do not depend on names and
    order.
    """

    config: UpstreamConfig
    names: PrivateNames
    clients: UpstreamClients
    """The clients of the upstream indexes, in the order in which these are asked."""
    pages: UpstreamChain
    hidden_pages: HiddenPages
    """The pages of private names for callers who may not read them."""
    files: UpstreamFiles
    policy: Policy
    observation: Observation
    requests: RequestLog
    runtime: Runtime
    is_local: bool = True
    """Whether the stored files are in a folder of this machine."""
    merged_names: tuple[NamePatterns, ...] = ()
    """Names whose files may come from several upstream indexes."""
    _listings: LruCache[PageKey, UpstreamListing] = field(
        default_factory=lambda: LruCache(VIEW_BYTES), repr=False
    )
    """The last listing of each page, whose version stays as long as clients see the same."""
    _chains: dict[tuple[str, ...], "_ChainParts"] = field(default_factory=dict, repr=False)
    """The chains that were asked for: they keep what they know if an index is defined anew."""
    _version_numbers: "count[int]" = field(default_factory=count, repr=False)
    """Numbers for versions of listings, each of which this process uses once."""

    def with_names(self, names: PrivateNames) -> "UpstreamIndex":
        """Return the same upstream indexes behind an index that has other private names."""
        return replace_fields(self, names=names)

    def of_layers(self, layers: UpstreamLayers) -> "UpstreamIndex":
        """Return the upstream indexes of an index that has some of these, or another order."""
        if layers.are_all:
            return replace_fields(self, merged_names=layers.merge)
        chain = self._chains.get(layers.parts)
        if chain is None:
            # of two threads that build a chain, both get that of the first
            chain = self._chains.setdefault(layers.parts, self._build_chain(layers))
        return replace_fields(
            self,
            merged_names=layers.merge,
            clients=chain.clients,
            pages=chain.pages,
            hidden_pages=chain.hidden_pages,
            policy=chain.policy,
        )

    def _build_chain(self, layers: UpstreamLayers) -> "_ChainParts":
        """Return the parts of a chain of some of the upstream indexes, or of another order."""
        clients = self.clients.of_labels(layers.labels)
        names = tuple(client.server.names for client in clients.in_order)
        return _ChainParts(
            clients,
            self.pages.of_layers(clients, layers.parts),
            HiddenPages(self.config, clients, self.runtime),
            self.policy.of_names(names),
        )

    def page_sources_of(self, name: NormalizedName) -> tuple[PageSource, ...]:
        """
        Return all sources of the page of a name, in order: one source, unless the name is merged.

        Of a private name, it is the hidden pages. Raises Unavailable if the store does not say
        whether the name is private.
        """
        # memory may say yes, and never no: another process may have claimed the name just now
        is_private = self.names.is_private_in_memory(name) or self.names.is_private(name)
        if is_private:
            return (self.hidden_pages,)
        return self._public_sources_of(name)

    def _public_sources_of(self, name: NormalizedName) -> tuple[UpstreamChain, ...]:
        """Return all sources of the page of a name that is not private, in order."""
        if any(patterns.match(name) for patterns in self.merged_names):
            return self.pages.single_chains(name)
        return (self.pages,)

    def refused_listing(
        self, name: NormalizedName, state: PolicyState, caller: Caller | None = None
    ) -> UpstreamListing | None:
        """
        Return the empty listing of a name that no upstream index may be asked for.

        Return None for any other name. A refusal is counted. `state` is what `policy.state` has
        just returned. `caller` is the caller whose installer wants the project, or None if no
        installer does. That is noted, unless the name is denied.

        Raises NotFound, with the code of the rule, if the answer has to be that for a name which
        nobody has. Raises Unavailable if the store does not answer.
        """
        refusal = self.policy.refusal_of_name(name, state)
        if refusal is None:
            return None
        self.observation.blocked(refusal.code)
        # the operator has decided for good about what is denied
        if caller is not None and refusal.code != Code.DENIED:
            self.requests.note(name, "", refusal, caller)
        if refusal.code in ABSENT_CODES:
            raise NotFound(refusal.text, code=refusal.code, advice=refusal.advice)
        # a page without files: after a 404, uv would go on to its next index
        page = UpstreamPage(name=name, upstream="", fetched_at=self.runtime.now())
        view = PageView((), {}, None, self.policy.generation or "")
        return self._listing(page, view, "upstream-refused", refusal)

    def serve(self, found_page: FoundPage, state: PolicyState | None = None) -> UpstreamListing:
        """
        Return what clients may see of a page now.

        The first use of an exception from the cooldown is written. Without `state`, decisions,
        advisories and notes are read. Raises Unavailable if the store does not answer. Raises
        Invalid (code `bad_setting`) if the database of advisories is refused, and none was accepted
        before.
        """
        page = self.files.with_digests(found_page.page)
        view = self.policy.view(page, self.runtime.now(), state)
        key = PageKey(page.upstream, page.name)
        listing = self._listings.get(key)
        # the same objects: the view is made again when something that decides has changed
        is_same = listing and listing.origin.page is page and listing.origin.view is view
        # while offline the store says which files there are, and may have more by now
        if listing is None or not is_same or self.config.offline:
            listing = self._new_listing(page, view, listing)
            self._listings.put(key, listing, PAGE_BYTES + FILE_BYTES * len(page.files))
        # these two change without a new version, as nothing that is made of the listing has them
        origin = replace(listing.origin, is_stale=found_page.is_stale, age=found_page.age)
        return replace(listing, origin=origin)

    def serve_each(
        self,
        name: NormalizedName,
        looked_up: Sequence[tuple[PageSource, FoundPage | None]],
        state: PolicyState | None = None,
    ) -> tuple[UpstreamListing, ...]:
        """
        Return what clients may see now of a name from each source that has a page.

        `looked_up` has the sources in their order, each with its page, or None if it has none. A
        page is served as by `serve`. Raises Unavailable if the store does not answer. Raises
        Invalid (code `bad_setting`) if the database of advisories is refused, and none was accepted
        before.
        """
        sources = list[tuple[PageSource, UpstreamListing | None]]()
        for page_source, page in looked_up:
            listing: UpstreamListing | None = None
            if page is not None:
                listing = self.serve(page, state)
            sources.append((page_source, listing))
        return _with_gone_pages(name, sources)

    def note_hidden(self, listings: Sequence[UpstreamListing], caller: Caller) -> None:
        """
        Note that an installer wants a project, if the policy hides each file of it.

        Noted is the newest release that the first listing with hidden files hides.
        """
        hiding_listings = [listing for listing in listings if listing.hidden]
        is_anything_shown = any(listing.origin.view.shown for listing in listings)
        if not hiding_listings or is_anything_shown:
            return
        listing = hiding_listings[0]
        page = listing.origin.page
        hidden = listing.origin.view.hidden
        # the newest release among the hidden files is what an installer would have chosen
        files = tuple(page.by_filename[filename] for filename in hidden)
        listing_of_hidden = replace(listing, files=files)
        newest = latest_release(releases_of(listing_of_hidden))
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

        There are no codes if `version` is empty. Metadata and provenance may be fetched, and if
        they cannot be had now, codes that need them are missing. The first use of an exception from
        the cooldown is written, and so is a licence that hides a file. Raises Unavailable if the
        store does not answer. Raises Invalid (code `bad_setting`) if the database of advisories is
        refused, and none was accepted before.
        """
        if not version:
            return ()
        page_sources = self.page_sources_of(name)
        stored_pages = [page_source.read_stored(name) for page_source in page_sources]
        codes = list[str]()
        for page in stored_pages:
            if page is not None:
                codes += self._hidden_codes_on(page, version)
        return tuple(dict.fromkeys(codes))

    def _hidden_codes_on(self, stored_page: UpstreamPage, version: str) -> list[str]:
        """Return the codes of all rules that hide files of a version on a page, perhaps twice."""
        page = self.files.with_digests(stored_page)
        key = strip_trailing_zeros(version)
        files = [file for file in page.files if strip_trailing_zeros(file.version) == key]
        by_filename = self.policy.reasons(page, self.runtime.now())
        reasons = list[FileReason]()
        for file in files:
            reasons += by_filename.get(file.filename, ())
        with suppress(Unavailable):  # whoever approves the version is told about these rules then
            for file in files:
                refusal = self.policy.refusal_by_sidecars(page, file)
                if refusal is not None:
                    reasons.append(refusal)
        return [str(reason.code) for reason in reasons]

    def read_stored(self, name: NormalizedName) -> tuple[UpstreamListing, ...]:
        """
        Return what clients may see now of the pages of the store: one, unless the name is merged.

        There is no listing if the store has no page. The versions of listings are empty. No
        upstream index is asked, and whether the name is private does not matter. The first use of
        an exception from the cooldown is written. Raises Unavailable if the store does not answer.
        Raises Invalid (code `bad_setting`) if the database of advisories is refused, and none was
        accepted before.
        """
        sources = list[tuple[PageSource, UpstreamListing | None]]()
        for chain in self._public_sources_of(name):
            sources.append((chain, self._read_stored_of(chain, name)))
        return _with_gone_pages(name, sources)

    def _read_stored_of(self, chain: UpstreamChain, name: NormalizedName) -> UpstreamListing | None:
        """Return what clients may see of the page that the store has of a chain, or None."""
        stored_page = chain.read_stored(name)
        if stored_page is None:
            return None
        page = self.files.with_digests(stored_page)
        view = self.policy.view(page, self.runtime.now())
        return self._listing(page, view, "")

    def refresh(self, name: NormalizedName, *, may_read: bool) -> RefreshedPage:
        """
        Ask the upstream indexes for a page now, store it, and return what has come.

        If no index has the name, the result has no files, and no upstream. Provenances that did not
        hold are looked at again from now on. `may_read` is whether the caller may read the name if
        it is private.

        Raises Forbidden if the name is private and the caller may read it. Raises Forbidden, with
        the code of the rule, if the policy does not let anybody ask for the name. Raises
        Unavailable (a code of `UPSTREAM_CODES`) if an index does not answer, refuses the name, or
        sends what cannot be used. Raises Unavailable if the store does not answer.
        """
        page_sources = self.page_sources_of(name)

        # who may not read it gets the answer for an unknown name, by the hidden pages
        if may_read and page_sources == (self.hidden_pages,):
            raise Forbidden(f"{name} is a private name: no upstream index is ever asked for it.")
        refusal = self.policy.refusal_of_name(name)
        if refusal is not None:
            raise Forbidden(refusal.text, code=refusal.code, advice=refusal.advice)

        # before any index is asked: an answer takes the place of the stored page
        filenames_before = set[str]()
        for page_source in page_sources:
            stored_page = page_source.read_stored(name)
            if stored_page is not None:
                filenames_before.update(stored_page.by_filename)
        renewed_pages = list[UpstreamPage]()
        for page_source in page_sources:
            answer = page_source.ask_now(name)
            if answer is not None:
                renewed_pages.append(answer.page)
        filenames = dict[str, None]()  # each once, in the order of the pages
        for page in renewed_pages:
            # the index may have corrected a provenance that did not hold
            self.policy.sidecar_facts.provenances.forget(page.files)
            filenames.update(dict.fromkeys(page.by_filename))
        return RefreshedPage(
            name=name,
            upstream=" and ".join(self.config.label_of(page.upstream) for page in renewed_pages),
            files=len(filenames),
            new=tuple(filename for filename in filenames if filename not in filenames_before),
            removed=tuple(sorted(filenames_before.difference(filenames))),
        )

    def explain(
        self, name: NormalizedName, version: Version | None, *, may_read: bool
    ) -> Explanation:
        """
        Return what clients get for a name or one version of it, and why.

        The upstream indexes may be asked. `may_read` is whether the caller may read the name if it
        is private. What is fetched is stored, and the first use of an exception from the cooldown
        is written.

        Raises Unavailable if the store does not answer. Raises Unavailable if metadata or
        provenance cannot be had now, which is a part of the result while offline. Raises Invalid
        (code `bad_setting`) if the database of advisories is refused, and none was accepted before.
        """
        return Explainer(self).explain(name, version, may_read=may_read)

    def close(self) -> None:
        """End what is being fetched, store what was fetched, and close all connections."""
        self.requests.close()
        # in this order: fetches use the connections, and pages may be from the last answers
        self.files.close()
        self.pages.flush()
        self.clients.close()

    def _new_listing(
        self, page: UpstreamPage, view: PageView, last_listing: UpstreamListing | None
    ) -> UpstreamListing:
        """Return a listing, with the version of the last one if clients see the same."""
        if last_listing is not None:
            listing = self._listing(page, view, last_listing.version)
            # the version stays, and so does all that was made of the listing before
            if listing.visible_parts == last_listing.visible_parts:
                return listing
        else:
            listing = self._listing(page, view, "")
        return replace(listing, version=f"upstream-{next(self._version_numbers)}")

    def _listing(
        self, page: UpstreamPage, view: PageView, version: str, refusal: FileReason | None = None
    ) -> UpstreamListing:
        """Return the listing of a page. `refusal` is why no upstream index may be asked for it."""
        return UpstreamListing(
            name=page.name,
            status=page.status,
            reason=page.reason,
            files=self._available_files(page, view.shown),
            variants=self._available_variants(page),
            empty_versions=view.empty_versions,
            version=version,
            origin=UpstreamOrigin(
                label=self.config.label_of(page.upstream),
                is_upstream=True,
                confirmed_at=page.fetched_at,
                refusal=refusal.text if refusal else "",
                generation=view.generation,
                page=page,
                view=view,
                policy=self.policy,
                refused_for=refusal,
            ),
        )

    def _available_files(
        self, page: UpstreamPage, shown: tuple[UpstreamFile, ...]
    ) -> tuple[UpstreamFile, ...]:
        """
        Return the shown files of a page, or while offline, those that clients can download.

        A resolver that chose a file which the store lacks could not have it.
        """
        if not self.config.offline:
            return shown
        sizes = self.files.cache(page.upstream).sizes(page.name)
        available = list[UpstreamFile]()
        for file in shown:
            stored_file = as_stored(page.name, file, sizes)
            if stored_file is not None and self._may_download(page, stored_file):
                available.append(stored_file)
        return tuple(available)

    def _available_variants(self, page: UpstreamPage) -> tuple[UpstreamFile, ...]:
        """Return the documents about wheels with a label that clients can download."""
        if not self.config.offline or not page.variants:
            return page.variants
        sizes = self.files.cache(page.upstream).sizes(page.name)
        available = list[UpstreamFile]()
        for document in page.variants:
            stored_document = as_stored(page.name, document, sizes)
            if stored_document is not None:
                available.append(stored_document)
        return tuple(available)

    def _may_download(self, page: UpstreamPage, file: UpstreamFile) -> bool:
        """Return whether the policy lets clients download a file that the store has."""
        if not self.policy.asks_sidecars:
            return True
        try:
            refusal = self.policy.refusal_of_file(page, page.by_filename[file.filename])
        except Unavailable as fault:
            if fault.code not in UPSTREAM_CODES:
                raise
            return False  # its licence, or who has signed it, is not known
        return refusal is None
