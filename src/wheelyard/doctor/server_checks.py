"""Checks by requests: server, clock, credential, rights, project page, file and publishing."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from msgspec import Struct, structs
from msgspec.json import decode
from packaging.utils import canonicalize_name

from wheelyard.doctor.connection import Answer, Connections
from wheelyard.doctor.credentials import FoundCredential
from wheelyard.doctor.findings import CheckOutcome, Finding, Machine, failed, ok, shown, warning
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import BadUrl, Url
from wheelyard.model.access import Pattern, matches_any
from wheelyard.model.text import counted
from wheelyard.sources.candidate_filter import is_distribution_name
from wheelyard.sources.web.html_links import read_links
from wheelyard.sources.web.index_pages import MAX_LINKS, project_at

OK: Final = HTTPStatus.OK
NOT_FOUND: Final = HTTPStatus.NOT_FOUND
ACCEPT: Final = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
MAX_CLOCK_DIFFERENCE: Final = timedelta(minutes=2)
PAGE_LIMIT_BYTES: Final = 64 * 1024**2
FILE_LIMIT_BYTES: Final = 8 * 1024**2
"""The largest file whose digest is checked."""
RANGE_BYTES: Final = 10
MESSAGE_LENGTH: Final = 160
TRY_AGAIN: Final = "Try again; then ask the operator of the server, whose log says more."
NO_INDEX: Final = "Open it in a browser: it may be a log-in page of this network, and no index."
_SOURCES: Final = {
    "private": ", all of this index",
    "upstream": ", of an upstream index of this one",
    "upstream-stale": ", of an upstream index that does not answer this one now",
}
"""What the header X-Wheelyard-Source says about a page, in words."""
TOKENS_PAGE: Final = "docs/credentials.md"
NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class _Rights(Struct):
    can: list[str] = []
    projects: list[str] = []


class _Project(Struct):
    name: str


class _File(Struct):
    url: str
    hashes: dict[str, str] = {}
    size: int | None = None


class _Body(Struct):
    """What is read of any response in JSON: an error, `whoami`, or a page of the index."""

    message: str = ""
    detail: str = ""
    principal: str = "?"
    rights: list[_Rights] | None = None
    projects: list[_Project] | None = None
    files: list[_File] | None = None


def _decoded(answer: Answer) -> _Body:
    """Return the JSON of a response; without values if it is none."""
    try:
        return decode(answer.body, type=_Body)
    except (ValueError, RecursionError):
        return _Body()


class ListedFile(Struct, frozen=True):
    """A file of a project's page."""

    url: Url
    size: int
    """Its bytes; 0 if that is not known, as in HTML."""
    sha256: str


@dataclass(slots=True)
class ServerCheck:
    """The examined server, and what earlier checks have found out about it."""

    index: Url
    """The index URL, without a credential."""
    given: Url
    """The URL that it was made of."""
    connections: Connections
    machine: Machine
    project: str
    """The project to look at, normalized; empty for the first visible one."""
    api: Url | None = None
    """The URL of `whoami`, if the server is a wheelyard."""
    credential: FoundCredential | None = field(default=None, repr=False)
    scopes: list[_Rights] = field(default_factory=list)
    """The rights of the credential."""

    def run(self, found: list[FoundCredential], notes: list[str]) -> Iterator[Finding]:
        """
        Yield the findings; stop where later checks make no sense.

        `found` has the credentials for the server, the used one first, and `notes` sentences about
        places that have none.
        """
        try:
            anonymous = self._identify()
        except FetchError as fault:
            advice = TRY_AGAIN if self.index.is_secure else f"{TRY_AGAIN} Or write https://."
            yield failed("server", f"{self.index.authority}: {fault.why}", advice)
            return
        yield self._server(anonymous)
        yield from self._clock(anonymous)
        for finding in self._credentials(found, notes):
            yield finding
            if finding.outcome is CheckOutcome.FAILED:
                return
        try:
            yield from self._index()
        except FetchError as fault:
            yield failed("index", fault.why, TRY_AGAIN)

    def _identify(self) -> Answer:
        """Look for a wheelyard in each folder above the index; return the response of `whoami`."""
        folder, found = self.index.path.rstrip("/"), None
        while True:
            folder = folder.rpartition("/")[0]
            url = replace(self.index, path=f"{folder}/api/v1/whoami")
            answer = self._get(url, "application/json")
            challenge = answer.headers.get("www-authenticate", "")
            # a private server asks for a credential at any path: the last one is the right one
            if _decoded(answer).rights is not None or 'realm="wheelyard"' in challenge:
                self.api, found = url, answer
            if not folder:
                return found or answer

    def _get(
        self, url: Url, accept: str = ACCEPT, limit: int = PAGE_LIMIT_BYTES, **more: str
    ) -> Answer:
        is_here = url.origin == self.index.origin
        login = self.credential.login if self.credential and is_here else None
        headers = {"Accept": accept} | {key.replace("_", "-"): text for key, text in more.items()}
        return self.connections.request(url, headers, login, limit)

    def _server(self, answer: Answer) -> Finding:
        if self.api:
            return ok("server", f"wheelyard answers at {self.index.authority}")
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return failed("server", f"it answers with status {answer.status}", TRY_AGAIN)
        software = answer.headers.get("server", "")
        named = f" ({software})" if software else ""
        return ok("server", f"not a wheelyard{named}, so that rights are not known")

    def _clock(self, answer: Answer) -> Iterator[Finding]:
        with suppress(TypeError, ValueError):  # it sends no date
            there = parsedate_to_datetime(answer.headers.get("date", ""))
            here = self.machine.runtime.now()
            difference = abs(here - there)
            text = f"differs by {difference.total_seconds():.0f} s from the server's"
            if difference > MAX_CLOCK_DIFFERENCE:
                times = f": {here:%Y-%m-%d %H:%M} UTC here, {there:%Y-%m-%d %H:%M} UTC there"
                advice = (
                    "See which one is right. Set this machine's clock (timedatectl) if it is "
                    "this one, else tell the server's operator: certificates and tokens expire."
                )
                yield warning("clock", text + times, advice)
            else:
                yield ok("clock", text)

    def _credentials(self, found: list[FoundCredential], notes: list[str]) -> Iterator[Finding]:
        if not found:
            for note in notes:
                advice = "Correct it, if it should have a credential for this server."
                yield warning("credential", note, advice)
            yield ok("credential", "there is none for this server; requests are anonymous")
            return
        self.credential, *others = found
        login = self.credential.login
        # a user without a password may be a token
        user = f"user {login.username}" if login.password else "without a password"
        also = f"; asked later, so not used: {', '.join(each.source for each in others)}"
        yield ok("credential", f"{self.credential.source}, {user}{also if others else ''}")
        if self.api:
            yield self._rights(self.api, self.credential.source)

    def _rights(self, api: Url, source: str) -> Finding:
        try:
            answer = self._get(api, "application/json")
        except FetchError as fault:
            return failed("rights", fault.why, TRY_AGAIN)
        if answer.status != OK:
            text = f"the server refuses the credential of {source} (status {answer.status})"
            advice = f"It is wrong, expired or revoked: make a new one ({TOKENS_PAGE})."
            return failed("rights", f"{text}: {_message(answer)}", advice)
        found = _decoded(answer)
        self.scopes = found.rights or []
        rights = dict[str, dict[str, None]]()  # by projects, as several grants may name them
        for each in self.scopes:
            rights.setdefault(", ".join(each.projects), {}).update(dict.fromkeys(each.can))
        shown_rights = [f"{', '.join(can)} {each}" for each, can in rights.items()]
        text = f"{found.principal} may {'; '.join(shown_rights) or 'do nothing'}"
        if not rights:
            return failed("rights", text, "Ask the operator for a grant, or make another token.")
        return ok("rights", text)

    def publishing(self, api: Url, credential: FoundCredential) -> Finding:
        """Say whether a credential for publishing may upload."""
        self.credential = credential
        found = self._rights(api, credential.source)
        if found.outcome is CheckOutcome.FAILED:
            return structs.replace(found, check="publish")
        text = f"{credential.source}: {found.text}"
        patterns = [
            Pattern(name) for each in self.scopes if "upload" in each.can for name in each.projects
        ]
        if patterns and (not self.project or matches_any(patterns, self.project)):
            return ok("publish", text)
        of_project = f" to {self.project}" if self.project else ""
        advice = "Make a token with --can read,upload for that project, and put it there."
        return failed("publish", f"{text}, and not upload{of_project}", advice)

    def _index(self) -> Iterator[Finding]:
        answer = self._get(self.index)
        if answer.status == NOT_FOUND and self.api is None and self.given.path != self.index.path:
            self.index = self.given  # some indexes are not at /simple/
            answer = self._get(self.index)
        names = list[str]()
        if fault := self._page_fault("index", answer, "this index"):
            yield fault
            if answer.status != NOT_FOUND:  # some indexes have no list of projects
                return
        else:
            names = _names(answer)
            if answer.url.origin != self.index.origin:
                text = f"{shown(self.index)} leads to {shown(answer.url)}"
                yield warning("index", text, NO_INDEX)
            yield ok("index", f"lists {counted(len(names), 'project')}")
        name = self.project or next(filter(NAME.fullmatch, names), "")
        if name:
            yield from self._project(name)
        elif not fault:
            text = "there is no project that this credential may read"
            advice = "Name one with --project, or ask for the right to read."
            if self.api:
                yield warning("project", text, advice)
            else:
                yield failed("project", text, f"{advice} {NO_INDEX}")

    def _page_fault(self, check: str, answer: Answer, what: str) -> Finding | None:
        """Return the finding for an error response; None if the page is there."""
        if answer.status == OK:
            return None
        text = f"{what}: status {answer.status}, {_message(answer)}"
        advice = {
            401: f"Use {'another' if self.credential else 'a'} credential: {TOKENS_PAGE}.",
            403: "Ask the operator for a grant, or use another token.",
            NOT_FOUND: "Check the spelling; the URL of an index ends with /simple/.",
        }
        if check == "project":
            advice[NOT_FOUND] = "Check the name, and whether this credential may read it."
        return failed(check, text, advice.get(answer.status, TRY_AGAIN))

    def _project(self, name: str) -> Iterator[Finding]:
        page = self._get(self.index.as_folder().child_folder(name))
        if fault := self._page_fault("project", page, name):
            yield fault
            return
        files = _files(page)
        if not files:
            text = f"{shown(page.url)} lists no files"
            result = failed if self.project or self.api is None else warning
            yield result("project", text, f"{NO_INDEX} Or all files of {name} were deleted.")
            return
        source = _SOURCES.get(page.headers.get("x-wheelyard-source", ""), "")
        yield ok("project", f"{name} has {counted(len(files), 'file')}{source}")
        yield self._conditional(page)
        yield from self._file(min(files, key=lambda each: (not each.sha256, each.size)))

    def _conditional(self, page: Answer) -> Finding:
        etag = page.headers.get("etag")
        if etag is None:
            return ok("caching", "the page has no ETag, so that it is sent each time")
        status = self._get(page.url, If_None_Match=etag).status
        if status == HTTPStatus.NOT_MODIFIED:
            return ok("caching", "an unchanged page is not sent again")
        text = f"a request with If-None-Match is {status}, and not 304"
        return warning("caching", text, "A proxy may change pages; installs are slower only.")

    def _file(self, file: ListedFile) -> Iterator[Finding]:
        name = file.url.filename
        wanted = f"bytes=0-{RANGE_BYTES - 1}"
        part = self._get(file.url, "*/*", RANGE_BYTES + 1, Range=wanted)
        if part.status == HTTPStatus.PARTIAL_CONTENT and len(part.body) <= RANGE_BYTES:
            yield ok("range", f"{len(part.body)} bytes of {name} came alone")
        elif fault := self._page_fault("file", part, name):
            yield fault
            return
        else:
            text = f"a request for {RANGE_BYTES} bytes of {name} got status {part.status}, and all"
            yield warning("range", text, "A proxy may ignore ranges; large wheels are slower only.")
        # a large one is not read further, whose size is known in JSON only
        whole = (
            part if file.size > FILE_LIMIT_BYTES else self._get(file.url, "*/*", FILE_LIMIT_BYTES)
        )
        if whole is part or len(whole.body) == FILE_LIMIT_BYTES:
            yield ok("file", f"{name} is too large to be read here")
        elif fault := self._page_fault("file", whole, name):
            yield fault
        elif not file.sha256:
            yield ok("file", f"{name} can be read; its page has no SHA-256 of it")
        elif sha256(whole.body).hexdigest() != file.sha256:
            advice = "A proxy changes files, or the store is damaged: run 'wheelyard check' there."
            yield failed("file", f"{name} has not the SHA-256 of its page", advice)
        else:
            yield ok("file", f"{name} has the SHA-256 of its page")


def _message(answer: Answer) -> str:
    """Return the message of an error response, or the beginning of its body."""
    found = _decoded(answer)
    if text := found.message or found.detail:
        return text.partition(". ")[0][:MESSAGE_LENGTH]
    return " ".join(answer.body[:MESSAGE_LENGTH].decode(errors="replace").split()) or "no message"


def _names(answer: Answer) -> list[str]:
    """Return the names of an index's projects, normalized."""
    found = _decoded(answer).projects
    if found is not None:
        return [canonicalize_name(each.name) for each in found]
    base, links = _links(answer)
    return [canonicalize_name(name) for url in links if (name := project_at(base, url))]


def _files(answer: Answer) -> list[ListedFile]:
    """Return the distributions of a project's page."""
    page, found = _decoded(answer).files, list[ListedFile]()
    for each in page or ():
        with suppress(BadUrl):
            url, digest = answer.url.resolved(each.url), each.hashes.get("sha256", "")
            found.append(ListedFile(url, each.size or 0, digest))
    if page is None:
        for url in _links(answer)[1]:
            digest = url.fragment.removeprefix("sha256=")
            found.append(ListedFile(url, 0, digest if DIGEST.fullmatch(digest) else ""))
    return [each for each in found if is_distribution_name(each.url.filename)]


def _links(answer: Answer) -> tuple[Url, list[Url]]:
    """Return the base of the links of an HTML page, and the links; raise FetchError."""
    kind, found = answer.headers.get("content-type", ""), list[Url]()
    base, links = read_links(answer.body, kind, MAX_LINKS)
    try:
        start = answer.url.resolved(base) if base else answer.url
    except BadUrl:
        raise FetchError("the base of its links is no URL") from None
    for each in links:
        with suppress(BadUrl):
            found.append(start.resolved(each.href))
    return start, found
