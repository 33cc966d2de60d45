"""Checks by requests: server, clock, credential, rights, project page, file and publishing."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final

from packaging.utils import canonicalize_name

from wheelyard.doctor.connection import Answer, Connections, RequestFailed
from wheelyard.doctor.credentials import CredentialSearch, FoundCredential
from wheelyard.doctor.findings import CheckOutcome, Finding, Machine, failed, ok, shown, warning
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import BadUrl, Url
from wheelyard.model.access import Pattern, matches_any
from wheelyard.model.text import counted
from wheelyard.sources.candidate_filter import is_distribution_name
from wheelyard.sources.web.html_links import read_links
from wheelyard.sources.web.index_pages import project_at

OK: Final = HTTPStatus.OK
PARTIAL: Final = HTTPStatus.PARTIAL_CONTENT
NOT_MODIFIED: Final = HTTPStatus.NOT_MODIFIED
NOT_FOUND: Final = HTTPStatus.NOT_FOUND
JSON_PAGE: Final = "application/vnd.pypi.simple.v1+json"
ACCEPT: Final = f"{JSON_PAGE}, text/html;q=0.5"
MAX_CLOCK_DIFFERENCE: Final = timedelta(minutes=2)
FILE_LIMIT_BYTES: Final = 8 * 1024**2
"""The largest file whose digest is checked."""
MAX_DIGITS: Final = 20
RANGE_BYTES: Final = 10
MESSAGE_LENGTH: Final = 160
TRY_AGAIN: Final = "Try again; then ask the operator of the server, whose log says more."
NO_INDEX: Final = "Open it in a browser: it may be a log-in page of this network, and no index."
TOKENS_PAGE: Final = "docs/credentials.md"
NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
MAX_LINKS: Final = 100_000


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of a project's page."""

    url: Url
    size: int | None
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
    search: CredentialSearch
    project: str
    """The project to look at, normalized; empty for the first visible one."""
    api: Url | None = None
    """The URL of `whoami`, if the server is a wheelyard."""
    credential: FoundCredential | None = field(default=None, repr=False)
    scopes: list[Mapping[str, Any]] = field(default_factory=list)
    """The rights of the credential: `can` and `projects` of each."""

    def run(self) -> Iterator[Finding]:
        """Yield the findings; stop where later checks make no sense."""
        try:
            anonymous = self._identify()
        except RequestFailed as fault:
            advice = TRY_AGAIN if self.index.is_secure else f"{TRY_AGAIN} Or write https://."
            yield failed("server", f"{self.index.authority}: {fault}", advice)
            return
        yield self._server(anonymous)
        yield from self._clock(anonymous)
        for finding in self._credentials():
            yield finding
            if finding.outcome is CheckOutcome.FAILED:
                return
        try:
            yield from self._index()
        except RequestFailed as fault:
            yield failed("index", str(fault), TRY_AGAIN)

    def _identify(self) -> Answer:
        """Look for a wheelyard in each folder above the index; return the response of `whoami`."""
        folder, found = self.index.path.rstrip("/"), None
        while True:
            folder = folder.rpartition("/")[0]
            url = replace(self.index, path=f"{folder}/api/v1/whoami")
            answer = self._get(url, "application/json")
            challenge = answer.headers.get("www-authenticate", "")
            # a private server asks for a credential at any path: the last one is the right one
            if "rights" in _object(answer) or 'realm="wheelyard"' in challenge:
                self.api, found = url, answer
            if not folder:
                return found or answer

    def _get(self, url: Url, accept: str, **more: str) -> Answer:
        login = None
        if self.credential is not None and url.origin == self.index.origin:
            login = self.credential.login
        headers = {"Accept": accept} | {key.replace("_", "-"): text for key, text in more.items()}
        return self.connections.request(url, headers, login)

    def _server(self, answer: Answer) -> Finding:
        if self.api:
            return ok("server", f"wheelyard answers at {self.index.authority}")
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            text = f"it answers with status {answer.status}"
            return failed("server", text, TRY_AGAIN)
        software = answer.headers.get("server", "")
        named = f" ({software})" if software else ""
        text = f"not a wheelyard{named}, so that rights are not known"
        return ok("server", text)

    def _clock(self, answer: Answer) -> Iterator[Finding]:
        try:
            there = parsedate_to_datetime(answer.headers.get("date", ""))
            difference = abs(self.machine.now() - there)
        except (TypeError, ValueError):
            return
        seconds = round(difference.total_seconds())
        if difference > MAX_CLOCK_DIFFERENCE:
            text = f"this machine's and the server's differ by {seconds} s"
            advice = "Set this machine's clock (timedatectl): certificates and tokens have times."
            yield warning("clock", text, advice)
        else:
            yield ok("clock", f"differs by {seconds} s from the server's")

    def _credentials(self) -> Iterator[Finding]:
        if not self.search.found:
            for note in self.search.notes:
                advice = "Correct it, if it should have a credential for this server."
                yield warning("credential", note, advice)
            yield ok("credential", "there is none for this server; requests are anonymous")
            return
        self.credential, *others = self.search.found
        login = self.credential.login
        # a user without a password may be a token
        user = f"user {login.username}" if login.password else "without a password"
        also = f"; asked later, so not used: {', '.join(each.source for each in others)}"
        yield ok("credential", f"{self.credential.source}, {user}{also if others else ''}")
        if self.api:
            yield self._rights()

    def _rights(self) -> Finding:
        assert self.credential is not None  # noqa: S101 - by the callers
        assert self.api is not None  # noqa: S101 - ditto
        source = self.credential.source
        try:
            answer = self._get(self.api, "application/json")
        except RequestFailed as fault:
            return failed("rights", str(fault), TRY_AGAIN)
        if answer.status != OK:
            text = f"the server refuses the credential of {source} (status {answer.status})"
            advice = f"It is wrong, expired or revoked: make a new one ({TOKENS_PAGE})."
            return failed("rights", f"{text}: {_message(answer)}", advice)
        found = _object(answer)
        self.scopes = [each for each in _list(found, "rights") if isinstance(each, dict)]
        rights = dict[str, dict[object, None]]()  # by projects, as several grants may name them
        for each in self.scopes:
            projects = ", ".join(map(str, _list(each, "projects")))
            rights.setdefault(projects, {}).update(dict.fromkeys(_list(each, "can")))
        shown_rights = [f"{', '.join(map(str, can))} {each}" for each, can in rights.items()]
        text = f"{found.get('principal', '?')} may {'; '.join(shown_rights) or 'do nothing'}"
        if not rights:
            return failed("rights", text, "Ask the operator for a grant, or make another token.")
        return ok("rights", text)

    def publishing(self) -> Finding:
        """Say whether the credential, one for publishing, may upload."""
        found = self._rights()
        if found.outcome is CheckOutcome.FAILED:
            return replace(found, check="publish")
        assert self.credential is not None  # noqa: S101 - by the caller
        text = f"{self.credential.source}: {found.text}"
        if any(_may_upload(each, self.project) for each in self.scopes):
            return ok("publish", text)
        of_project = f" to {self.project}" if self.project else ""
        advice = "Make a token with --can read,upload for that project, and put it there."
        return failed("publish", f"{text}, and not upload{of_project}", advice)

    def _index(self) -> Iterator[Finding]:
        answer = self._get(self.index, ACCEPT)
        if answer.status == NOT_FOUND and self.api is None and self.given.path != self.index.path:
            self.index = self.given  # some indexes are not at /simple/
            answer = self._get(self.index, ACCEPT)
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
            yield warning("project", text, advice if self.api else f"{advice} {NO_INDEX}")

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
            advice[NOT_FOUND] = "Check the name; or this credential may not read it (see rights)."
        return failed(check, text, advice.get(answer.status, TRY_AGAIN))

    def _project(self, name: str) -> Iterator[Finding]:
        page = self._get(self.index.as_folder().child_folder(name), ACCEPT)
        if fault := self._page_fault("project", page, name):
            yield fault
            return
        files = _files(page)
        if not files:
            text = f"{shown(page.url)} lists no files"
            result = failed if self.project or self.api is None else warning
            yield result("project", text, f"{NO_INDEX} Or all files of {name} were deleted.")
            return
        yield ok("project", f"{name} has {counted(len(files), 'file')}")
        yield self._conditional(page)
        yield from self._file(min(files, key=lambda each: (not each.sha256, each.size or 0)))

    def _conditional(self, page: Answer) -> Finding:
        etag = page.headers.get("etag")
        if etag is None:
            return ok("caching", "the page has no ETag, so that it is sent each time")
        again = self._get(page.url, ACCEPT, If_None_Match=etag)
        if again.status == NOT_MODIFIED:
            return ok("caching", "an unchanged page is not sent again")
        text = f"a request with If-None-Match is {again.status}, and not 304"
        return warning("caching", text, "A proxy may change pages; installs are slower only.")

    def _file(self, file: ListedFile) -> Iterator[Finding]:
        name = file.url.filename
        part = self._get(file.url, "*/*", Range=f"bytes=0-{RANGE_BYTES - 1}")
        if part.status == PARTIAL and len(part.body) <= RANGE_BYTES:
            yield ok("range", f"{len(part.body)} bytes of {name} came alone")
        elif fault := self._page_fault("file", part, name):
            yield fault
            return
        else:
            text = f"a request for {RANGE_BYTES} bytes of {name} got {len(part.body)}"
            yield warning("range", text, "A proxy may ignore ranges; large wheels are slower only.")
        total = part.headers.get("content-range", "").rpartition("/")[2]
        if (
            total.isdecimal() and len(total) < MAX_DIGITS and int(total) > FILE_LIMIT_BYTES
        ):  # HTML has no sizes
            yield ok("file", f"{name} is too large to be read here")
            return
        whole = self._get(file.url, "*/*")
        if fault := self._page_fault("file", whole, name):
            yield fault
        elif not file.sha256:
            yield ok("file", f"{name} can be read; its page has no SHA-256 of it")
        elif sha256(whole.body).hexdigest() != file.sha256:
            text = f"{name} has not the SHA-256 of its page"
            advice = (
                "A proxy changes files, or the store is damaged: wheelyard check on the server."
            )
            yield failed("file", text, advice)
        else:
            yield ok("file", f"{name} has the SHA-256 of its page")


def _object(answer: Answer) -> Mapping[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _message(answer: Answer) -> str:
    """Return the message of an error response, or the beginning of its body."""
    found = _object(answer)
    text = found.get("message") or found.get("detail")
    if isinstance(text, str):
        return text.partition(". ")[0][:MESSAGE_LENGTH]
    body = answer.body[:MESSAGE_LENGTH].decode(errors="replace")
    return " ".join(body.split()) or "no message"


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    value = found.get(name)
    return value if isinstance(value, list) else []


def _may_upload(scope: Mapping[str, Any], project: str) -> bool:
    """Return whether a scope allows uploads, to a project if one is named."""
    patterns = [Pattern(each) for each in _list(scope, "projects") if isinstance(each, str)]
    is_for = not project or matches_any(patterns, project)
    return "upload" in _list(scope, "can") and is_for


def _names(answer: Answer) -> list[str]:
    """Return the names of an index's projects, normalized."""
    found = _object(answer)
    if "projects" in found:
        names = [each.get("name") for each in _list(found, "projects") if isinstance(each, dict)]
        return [canonicalize_name(each) for each in names if isinstance(each, str)]
    base, links = _links(answer)
    return [canonicalize_name(name) for url in links if (name := project_at(base, url))]


def _files(answer: Answer) -> list[ListedFile]:
    """Return the files of a project's page that have usable URLs."""
    page, found = _object(answer), list[ListedFile]()
    if "files" in page:
        for each in filter(lambda entry: isinstance(entry, dict), _list(page, "files")):
            hashes = each.get("hashes")
            digest = hashes.get("sha256") if isinstance(hashes, dict) else ""
            with suppress(BadUrl):
                url, size = answer.url.resolved(str(each.get("url"))), each.get("size")
                found.append(ListedFile(url, size if isinstance(size, int) else None, str(digest)))
    else:
        for url in _links(answer)[1]:
            found.append(ListedFile(url, None, url.fragment.removeprefix("sha256=")))
    return [
        replace(each, sha256=each.sha256 if DIGEST.fullmatch(each.sha256) else "")
        for each in found
        if is_distribution_name(each.url.filename)
    ]


def _links(answer: Answer) -> tuple[Url, list[Url]]:
    """Return the base of the links of an HTML page, and the links; raise RequestFailed."""
    kind, found = answer.headers.get("content-type", ""), list[Url]()
    try:
        base, links = read_links(answer.body, kind, MAX_LINKS)
        start = answer.url.resolved(base) if base else answer.url
    except (FetchError, BadUrl) as error:
        raise RequestFailed(f"{shown(answer.url)}: {error}") from None
    for each in links:
        with suppress(BadUrl):
            found.append(start.resolved(each.href))
    return start, found
