"""The upstream indexes as one: which names they have, what is shown, and why not the rest."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from datetime import datetime
from itertools import count
from typing import Final, NamedTuple, TypeAlias

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
)
from wheelyard.model.rule_reasons import Code
from wheelyard.remedies import Advice, Remedy
from wheelyard.rendering.listing import HiddenFiles, Listing, Origin, hidden_files
from wheelyard.rendering.project_facts import latest_release, releases_of
from wheelyard.upstream.chain import UpstreamChain
from wheelyard.upstream.client import UpstreamClients
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
from wheelyard.upstream.requests import RequestLog
from wheelyard.upstream.settings import UpstreamConfig
from wheelyard.upstream.upstream_files import UpstreamFiles

PagesOfName: TypeAlias = UpstreamChain | HiddenPages
OTHER_BYTES: Final = (
    "An upstream index that comes first has listed it with another digest, and lists it no more."
)
FORMAT: Final = "format"
"""The code for a file in a format that is not shown."""


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

        `may_read` is whether the caller may read it if it is private, and so learn that it is.
        That an upstream index does not say whether it has the name is a part of the result. Raises
        as `Policy.refuses_file`, and Unavailable if the store does not say whether the name is
        private.
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
        cached, why, is_refused = look.page, look.reasons, look.answer is NameAnswer.REFUSED
        listing = self.upstream.serve(cached) if cached else None
        page = listing.origin.page if listing else None
        explanation = Explanation(
            name=name,
            answer=look.answer,
            reasons=why,
            upstream=page.upstream if page else "",
            fetched_at=page.fetched_at if page else None,
            age=cached.age if cached else 0.0,
            is_stale=cached.is_stale if cached and not is_refused else False,
            status=page.status if page else "",
            alternate_locations=page.alternate_locations if page else (),
            refused_hosts=page.refused_hosts if page else (),
            unused_links=page.unused_links if page else (),
            unused_link_count=page.unused_link_count if page else 0,
            # who asked for it is no matter of everybody
            decisions=tuple(
                replace(decision, asked_by=()) for decision in policy.decisions_of(name).all
            ),
            files=tuple(self._files(listing, version, why)) if listing else (),
            warnings=policy.osv.warnings if policy.osv else (),
        )
        return _Explained(explanation, page or pages.gone(name))

    def _look(self, pages: PagesOfName, name: NormalizedName, version: str) -> _Look:
        """Look for the page of a name, as for a client."""
        refusal = self.upstream.policy.refuses_name(name, version=version)
        if refusal is not None:
            return _Look(pages.cached(name), NameAnswer.REFUSED, (refusal,))
        try:
            page = pages.get(name)
        except Unavailable as fault:
            why = FileReason(fault.code, fault.message, fault.advice)
            return _Look(pages.cached(name), NameAnswer.UNAVAILABLE, (why,))
        if page is None and (text := pages.why_contested(name)):
            reason = FileReason("owner_change", text, Advice(Remedy.FORGET_OWNER, name))
            return _Look(None, NameAnswer.UNKNOWN, (reason,))
        if page is None:
            text = "No upstream index has it. Check the spelling, or publish it here."
            return _Look(None, NameAnswer.UNKNOWN, (FileReason("unknown", text),))
        return _Look(page, NameAnswer.UPSTREAM)

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
        return () if refused is None else (refused,)

    def _private(self, name: NormalizedName) -> FileReason:
        what = "has been published or reserved here; the list of private names says more"
        if self.upstream.names.matches_pattern(name):
            what = "matches a pattern of the settings: upstream.private, access.private_names"
        elif self.upstream.names.is_reserved(name):
            what = "is in a namespace"
        text = f"{name} is private, because it {what}. No upstream index is ever asked for it."
        return FileReason("private", text)

    def _files(
        self, listing: "UpstreamListing", version: Version | None, of_name: tuple[FileReason, ...]
    ) -> Iterator[ExplainedFile]:
        upstream, page = self.upstream, listing.origin.page
        hidden = upstream.policy.reasons(page, upstream.runtime.now())
        shown = {file.filename for file in listing.files}
        for file in (file for file in page.files if _is_of(file, version)):
            own: tuple[FileReason, ...] = hidden.get(file.filename, ())
            if not own and not of_name and (version is not None or file.filename not in shown):
                own = self._refusal(page, file)  # it looks at the licence and the signatures, too
            codes = {reason.code for reason in own}
            why = (*(reason for reason in of_name if reason.code not in codes), *own)
            if Code.BLOCKED in codes:  # it says who knows more, and why
                why = tuple(sorted(why, key=lambda reason: reason.code != Code.BLOCKED))
            if not why and file.filename not in shown:
                text = (
                    f"upstream.offline is set, and the store lacks {file.filename}. Install it "
                    "once through this store where there is a connection."
                )
                why = (FileReason("offline", text),)
            yield _explained_file(file, why)
        for file in (file for file in page.changed if _is_of(file, version)):
            text = (
                f"The upstream's digest of {file.filename} has changed, which no honest index "
                "does. Find out why before you use either."
            )
            yield _explained_file(file, (FileReason("digest_changed", text),))
        for file in (file for file in page.removed if _is_of(file, version)):
            text = f"The upstream no longer lists {file.filename}. Use another version."
            yield _explained_file(file, (FileReason("removed", text),))
        for other in (file for file in page.other_formats if _is_of(file, version)):
            text = f"{other.filename} is left out: wheelyard takes {ACCEPTED_FORMATS}."
            reason = FileReason(FORMAT, text)
            yield ExplainedFile(other.filename, other.version, shown=False, reasons=(reason,))


class _Explained(NamedTuple):
    """What clients get of a name from one place, and its page, also one that is gone."""

    explanation: Explanation
    page: UpstreamPage | None


def _merged_explanation(parts: Sequence[_Explained]) -> Explanation:
    """Return what clients get of a name whose files come from several upstream indexes."""
    explanations = [part.explanation for part in parts]
    first = explanations[0]
    silent = [one for one in explanations if one.answer is NameAnswer.UNAVAILABLE]
    with_page = [one for one in explanations if one.fetched_at is not None]
    base = next(iter((*silent, *with_page, first)))
    files = _merged_files(parts)
    if silent:  # clients get nothing rather than a part
        why = silent[0].reasons
        files = [replace(file, shown=False, reasons=file.reasons or why) for file in files]
    return replace(
        base,
        upstream=" ".join(one.upstream for one in with_page),
        fetched_at=min((one.fetched_at for one in with_page if one.fetched_at), default=None),
        age=max((one.age for one in with_page), default=0.0),
        is_stale=any(one.is_stale for one in with_page),
        alternate_locations=tuple(place for one in with_page for place in one.alternate_locations),
        refused_hosts=tuple(host for one in with_page for host in one.refused_hosts),
        unused_links=tuple(link for one in with_page for link in one.unused_links),
        unused_link_count=sum(one.unused_link_count for one in with_page),
        files=tuple(files),
    )


def _merged_files(parts: Sequence[_Explained]) -> list[ExplainedFile]:
    """Return the files of several pages, each as the page explains it that decides about it."""
    explained = [(part.page, part.explanation.files) for part in parts if part.page is not None]
    places = places_of_files([page for page, _ in explained])
    files = dict[str, ExplainedFile]()
    for number, (page, of_page) in enumerate(explained):
        for file in of_page:
            place = places.get(file.filename)
            if place is None and file.filename in page.by_filename:
                why = FileReason("digest_changed", OTHER_BYTES)
                files.setdefault(file.filename, replace(file, shown=False, reasons=(why,)))
            elif place in {None, number}:
                files.setdefault(file.filename, file)
    return [files[filename] for filename in sorted(files)]


def _is_of(file: UpstreamFile | OtherFormat, version: Version | None) -> bool:
    wanted = None if version is None else strip_trailing_zeros(str(version))
    return wanted is None or strip_trailing_zeros(file.version) == wanted


def _explained_file(file: UpstreamFile, why: tuple[FileReason, ...]) -> ExplainedFile:
    at, digest = file.uploaded_at, file.sha256
    return ExplainedFile(file.filename, file.version, not why, why, at, digest)


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
        page = self.page.by_filename
        return hidden_files((page[name].version, why) for name, why in self.view.hidden.items())

    def decisions(self) -> Sequence[Decision]:
        """
        Return the decisions in force about the project.

        It may read the store. Raises Unavailable if that does not say.
        """
        return self.policy.decisions_of(self.page.name).all


VIEW_BYTES: Final = 16 * 1024**2
"""Estimated bytes of memory for what is shown of pages."""
FILE_BYTES, PAGE_BYTES = 64, 1000
"""Estimated bytes of a file, and of a page without them, that its view adds to the page itself."""


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

    def part_of(self, filename: str) -> "UpstreamListing":
        """Return what has a file that is listed."""
        del filename
        return self

    @property
    def looks(self) -> tuple[object, ...]:
        """What clients can see of it."""
        shown = self.origin.label, self.status, self.reason, self.files, self.empty_versions
        return *shown, self.variants, self.origin.view.hidden


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
            gone += filter(None, [place.gone(name)])
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
    _shown: LruCache[PageKey, UpstreamListing] = field(
        default_factory=lambda: LruCache(VIEW_BYTES), repr=False
    )
    _chains: dict[tuple[str, ...], "_Chain"] = field(default_factory=dict, repr=False)
    """Those that were asked for: another definition of an index must not forget what they know."""
    _versions: "count[int]" = field(default_factory=count, repr=False)

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
        is_private = self.names.is_private_in_memory(name) or self.names.is_private(name)
        return self.hidden_pages if is_private else self.pages

    def places_of(self, name: NormalizedName) -> tuple[PagesOfName, ...]:
        """
        Return all places where a name is looked up, in order: one, unless the name is merged.

        Raises as `pages_of`.
        """
        pages = self.pages_of(name)
        if pages is self.hidden_pages:
            return (pages,)
        return self._public_places(name)

    def _public_places(self, name: NormalizedName) -> tuple[UpstreamChain, ...]:
        if any(patterns.match(name) for patterns in self.merge):
            return self.pages.each(name)
        return (self.pages,)

    def refused(
        self, name: NormalizedName, state: PolicyState, asker: Caller | None = None
    ) -> UpstreamListing | None:
        """
        Return the empty listing of a name that no upstream index may be asked for, else None.

        `state` is what `policy.state` has just returned. `asker` is the caller whose installer
        wants the project, if it does. Raises NotFound for a name that is
        answered as one that nobody has. Raises Unavailable if the store does not say.
        """
        refusal = self.policy.refuses_name(name, state)
        if refusal is None:
            return None
        self.observation.blocked(refusal.code)
        # what is denied, the operator has decided for good
        if asker is not None and refusal.code != Code.DENIED:
            self.requests.note(name, "", refusal, asker)
        if refusal.code in ABSENT_CODES:
            raise NotFound(refusal.text, code=refusal.code, advice=refusal.advice)
        # a page without files: after a 404, uv would go on to its next index
        page = UpstreamPage(name=name, upstream="", fetched_at=self.runtime.now())
        view = PageView((), {}, None, self.policy.generation or "")
        return self._listing(page, view, "upstream-refused", refusal)

    def serve(self, current: FoundPage, state: PolicyState | None = None) -> UpstreamListing:
        """
        Return what clients may see of a page now.

        Without `state`, what decides is read. Raises as `Policy.view`.
        """
        page = self.files.with_digests(current.page)
        view = self.policy.view(page, self.runtime.now(), state)
        key = PageKey(page.upstream, page.name)
        shown = self._shown.get(key)
        # the same objects: the view is made again when something that decides has changed
        is_same = shown and shown.origin.page is page and shown.origin.view is view
        if shown is None or not is_same or self.config.offline:  # the store may have more by now
            shown = self._new(page, view, shown)
            self._shown.put(key, shown, PAGE_BYTES + FILE_BYTES * len(page.files))
        # these change without a new version: what is made of the listing does not have them
        origin = replace(shown.origin, is_stale=current.is_stale, age=current.age)
        return replace(shown, origin=origin)

    def serve_each(
        self,
        name: NormalizedName,
        looked_up: Sequence[tuple[PagesOfName, FoundPage | None]],
        state: PolicyState | None = None,
    ) -> tuple[UpstreamListing, ...]:
        """
        Return what clients may see now of a name from each place that has a page.

        Each page comes with the place where it was looked up. Raises as `Policy.view`.
        """
        listings = [
            (place, None if page is None else self.serve(page, state)) for place, page in looked_up
        ]
        return _in_order(name, listings)

    def note_hidden(self, listings: Sequence[UpstreamListing], asker: Caller) -> None:
        """Note that an installer wants a project, if the policy hides each file of it."""
        hiding = [listing for listing in listings if listing.hidden]
        if not hiding or any(listing.origin.view.shown for listing in listings):
            return
        listing = hiding[0]
        view, page = listing.origin.view, listing.origin.page
        # what an installer would have chosen
        hidden = [page.by_filename[filename] for filename in view.hidden]
        newest = latest_release(releases_of(replace(listing, files=tuple(hidden))))
        if newest is not None:
            self.note_file(page, newest.metadata_file, view.hidden[newest.files[0].filename], asker)

    def note_file(
        self, page: UpstreamPage, file: UpstreamFile, reason: FileReason, asker: Caller
    ) -> None:
        """Note that somebody wants a file of a page, which is hidden for a reason."""
        self.requests.note(page.name, file.version, reason, asker, reason.changes_at)

    def hidden_codes(self, name: NormalizedName, version: str) -> tuple[str, ...]:
        """
        Return the codes of all rules that hide files of a version whose page is in the store.

        Metadata and provenance may be fetched. Raises as `Policy.view`.
        """
        pages = [place.stored(name) for place in self.places_of(name)] if version else []
        codes = (self._hidden_codes(page, version) for page in pages if page is not None)
        return tuple(dict.fromkeys(code for of_page in codes for code in of_page))

    def _hidden_codes(self, page: UpstreamPage, version: str) -> list[str]:
        page, key = self.files.with_digests(page), strip_trailing_zeros(version)
        by_filename = self.policy.reasons(page, self.runtime.now())
        files = [file for file in page.files if strip_trailing_zeros(file.version) == key]
        reasons = [reason for file in files for reason in by_filename.get(file.filename, ())]
        with suppress(Unavailable):  # whoever approves it is told then
            reasons += filter(None, (self.policy.refuses_by_sidecars(page, file) for file in files))
        return [str(reason.code) for reason in reasons]

    def stored(self, name: NormalizedName) -> tuple[UpstreamListing, ...]:
        """
        Return what clients may see now of the pages of the store: one, unless the name is merged.

        It asks nobody, counts nothing, and does not look whether the name is private. Raises as
        `Policy.view`.
        """
        places = self._public_places(name)
        return _in_order(name, [(place, self._stored_in(place, name)) for place in places])

    def _stored_in(self, place: UpstreamChain, name: NormalizedName) -> UpstreamListing | None:
        stored = place.stored(name)
        if stored is None:
            return None
        page = self.files.with_digests(stored)
        return self._listing(page, self.policy.view(page, self.runtime.now()), "")

    def refresh(self, name: NormalizedName, *, may_read: bool) -> RefreshedPage:
        """
        Ask the upstream indexes for a page now, and return what has come.

        `may_read` is whether the caller may read the name if it is private. Raises Forbidden if it
        is and they may, or if the policy does not let anybody ask for it. Raises Unavailable if the
        store or the upstream index does not answer, or the index with what cannot be used.
        """
        places = self.places_of(name)
        if may_read and places == (self.hidden_pages,):
            raise Forbidden(f"{name} is a private name: no upstream index is ever asked for it.")
        refusal = self.policy.refuses_name(name)
        if refusal is not None:
            raise Forbidden(refusal.text, code=refusal.code, advice=refusal.advice)
        before = [page for place in places if (page := place.stored(name)) is not None]
        earlier = {filename for page in before for filename in page.by_filename}
        renewed = [answer.page for place in places if (answer := place.refresh(name)) is not None]
        for page in renewed:
            self.policy.sidecar_facts.provenances.forget(page.files)
        labels = [self.config.label_of(page.upstream) for page in renewed]
        files = dict.fromkeys(filename for page in renewed for filename in page.by_filename)
        return RefreshedPage(
            name=name,
            upstream=" and ".join(labels),
            files=len(files),
            new=tuple(filename for filename in files if filename not in earlier),
            removed=tuple(sorted(earlier.difference(files))),
        )

    def explain(
        self, name: NormalizedName, version: Version | None, *, may_read: bool
    ) -> Explanation:
        """
        Return what clients get for a name or one version of it, and why.

        It may ask the upstream indexes. `may_read` is as in `Explainer.explain`. Raises as that.
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
        listing = self._listing(page, view, before.version if before else "")
        # the version stays, and so does what is made of the listing beside it
        if before is not None and listing.looks == before.looks:
            return listing
        return replace(listing, version=f"upstream-{next(self._versions)}")

    def _listing(
        self, page: UpstreamPage, view: PageView, version: str, reason: FileReason | None = None
    ) -> UpstreamListing:
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
        stored = self.files.cache(page.upstream).sizes(page.name)
        kept = (as_stored(page.name, file, stored) for file in shown)
        return tuple(file for file in kept if file and self._may_download(page, file))

    def _available_variants(self, page: UpstreamPage) -> tuple[UpstreamFile, ...]:
        """Return the documents about wheels with a label that clients can download."""
        if not self.config.offline or not page.variants:
            return page.variants
        stored = self.files.cache(page.upstream).sizes(page.name)
        kept = (as_stored(page.name, document, stored) for document in page.variants)
        return tuple(filter(None, kept))

    def _may_download(self, page: UpstreamPage, file: UpstreamFile) -> bool:
        if not self.policy.asks_sidecars:
            return True
        try:
            return self.policy.refuses_file(page, page.by_filename[file.filename]) is None
        except Unavailable as fault:
            if fault.code not in UPSTREAM_CODES:
                raise
            return False  # its licence, or who has signed it, is not known
