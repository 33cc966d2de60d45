"""The examination of an index from a client's machine: settings, network, credential, server."""

import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from shutil import which
from typing import Final, NamedTuple
from urllib.parse import quote

from msgspec import Struct, structs
from msgspec.json import decode

from wheelyard.concurrency.runtime import Runtime
from wheelyard.doctor.installed_clients import (
    PIP_EXTRA,
    ClientIndex,
    ConfiguredClients,
    Machine,
)
from wheelyard.errors import DOCUMENTATION, Invalid
from wheelyard.http_client.client import Network, Requester, RequestRules, ca_file_fault
from wheelyard.http_client.credential_stores import ask_keyring, read_netrc
from wheelyard.http_client.hosts import AddressPolicy, FetchError, every_address
from wheelyard.http_client.urls import DEFAULT_PORTS, BadUrl, Url, UserPassword, proxy_for
from wheelyard.model.decoding import counted
from wheelyard.model.index_name import is_dated_view
from wheelyard.sources.candidate import is_distribution_name
from wheelyard.sources.simple_page import VERSION_TAG, HtmlPage, read_page
from wheelyard.sources.web_index import project_at

WAIT_SECONDS: Final = 5.0
"""How long a connection, a part of a response, and a question to the keyring may take."""
BODY_LIMIT_BYTES: Final = 64 * 1024**2
MAX_LINKS: Final = 1_000_000
MESSAGE_LENGTH: Final = 160
"""Characters of a response that a finding quotes at most."""
MIN_SECRET_LENGTH: Final = 4
"""A shorter word is no secret, and may be a part of any text."""
TOKENS_PAGE: Final = f"{DOCUMENTATION}/credentials.md"
NETWORK_ADVICE: Final = (
    (
        "certificate",
        f"Let the clients trust its authority: {DOCUMENTATION}/tls.md#an-own-authority",
    ),
    ("TLS", "Check the port, and whether the URL should begin with http://."),
    ("name", "Check the spelling, the network or VPN, and /etc/resolv.conf."),
    ("proxy", "Correct the variable with the proxy, or name the host in no_proxy."),
    ("no HTTP", "Check the port, and whether the URL should begin with https://."),
)
"""What to do about a failed connection, by a word of the reason. The first word counts."""
OTHER_NETWORK_ADVICE: Final = (
    "Is the server running, and does a firewall or VPN let this machine through?"
)
NO_INDEX: Final = "No index with a URL of http or https is set here for pip or uv"
ASK_OPERATOR: Final = "Try again; then ask the operator of the server, whose log says more."
RIGHTS_ADVICE: Final = "Only wheelyard tells them; the page shows whether reading works."
PAGE_ADVICE: Final = {
    401: f"Use a credential, or another one: {TOKENS_PAGE}.",
    403: "Ask the operator for a grant, or use another token.",
    404: "Check the spelling, and what you may read; the URL of an index ends with /simple/.",
}
BROWSER_ADVICE: Final = (
    "Open it in a browser: it may be a log-in page of this network, and no index."
)
HEADERS: Final = {
    "User-Agent": "wheelyard-doctor",
    "Accept": "application/vnd.pypi.simple.v1+json, application/json, text/html;q=0.5",
    "Accept-Encoding": "identity",
}
_TOKEN: Final = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_-]{16,}")
"""A part of a path that may be a secret, as some services have it in their index URLs."""

_INDEX_TITLE: Final = re.compile(rb"<title>[^<]*\b(?:simple|index)\b", re.IGNORECASE)
"""The title of an index without projects, as most programs write it."""


class CheckOutcome(StrEnum):
    """What a check has found."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(Struct, frozen=True):
    """The result of one check."""

    check: str
    outcome: CheckOutcome
    text: str
    """What was found. It may quote foreign text, and has no secret."""
    advice: str = ""
    """What to do next, or an empty text if nothing is wrong."""


class ClientCredential(NamedTuple):
    """A user and a password, and where they are from."""

    login: UserPassword
    source: str


class _Rights(Struct):
    """What `whoami` says of one scope: actions, and the projects that they hold for."""

    can: list[str] = []
    projects: list[str] = []


class _Body(Struct):
    """What is read of any response in JSON: an error, `whoami`, or a page of the index."""

    message: str = ""
    principal: str = "?"
    rights: list[_Rights] | None = None
    meta: dict[str, object] | None = None
    projects: list[object] | None = None
    files: list[object] | None = None


class _Answer(Struct, frozen=True):
    """A response at the end of all redirects, with its body in memory."""

    url: Url
    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> _Body:
        """The body as JSON, or a `_Body` with default values if the body is no such JSON."""
        try:
            return decode(self.body, type=_Body)
        except (ValueError, RecursionError):
            return _Body()

    @property
    def summary(self) -> str:
        """The status, and the message of an error response or the beginning of its body."""
        message = self.json.message.partition(". ")[0][:MESSAGE_LENGTH]
        if not message:
            # on one line, whatever line ends a page of another program has
            beginning = self.body[:MESSAGE_LENGTH].decode(errors="replace")
            message = " ".join(beginning.split())
        return f"status {self.status}, {message or 'no message'}"


class _ExaminedServer(RequestRules):
    """Sends a credential to the examined server alone, and notes where each request goes."""

    def __init__(self, url: Url) -> None:
        self._url = url
        self.requested_url = url
        """The URL of the latest request, which after a redirect may be that of another server."""
        self.login: UserPassword | None = None
        """The credential for the next request, or None for an anonymous one."""

    def authorization(self, url: Url) -> str | None:
        """Return the Authorization header for a URL of the server, or None for any other URL."""
        self.requested_url = url
        # a redirect may lead to any host, whose operator must not get the credential
        if self.login is None or url.origin != self._url.origin:
            return None
        return self.login.authorization


@dataclass(slots=True)
class Examination:
    """An examination of the index at a URL."""

    clients: ConfiguredClients
    url: Url
    """The index URL, which may have a credential."""
    source: str
    """The file or variable that has the URL, or the command line."""
    project: str
    """The project to look at, normalized, or an empty text for the list of projects."""
    runtime: Runtime
    secrets: set[str] = field(default_factory=set, repr=False)
    """What was sent as a credential. No finding may quote it."""
    _rules: _ExaminedServer = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._rules = _ExaminedServer(self.url)

    def run(self) -> Iterator[Finding]:
        """
        Yield all findings, and ask the server and the keyring for them.

        The credential that clients would take is sent to the server of the URL, and to no other. A
        failed check leaves out the checks that depend on it. An error of the network is a finding.
        """
        for finding in self._findings():
            text = finding.text
            # a response may have quoted a secret; the longest first, as it may contain another one
            for secret in sorted(self.secrets, key=len, reverse=True):
                text = text.replace(secret, "***")
            # no finding leaves this function with a secret in it
            yield structs.replace(finding, text=text)

    def _findings(self) -> Iterator[Finding]:
        """Yield the findings of all checks, in which a response may have quoted a secret."""
        yield from self._client_findings()
        authorities = "this machine's list"
        authorities_file = None
        if self.url.is_secure:
            file, source = self.clients.authorities()
            if file:
                authorities = f"{file} ({source})"
                authorities_file = str(Path(file).expanduser())
        try:
            tls = ssl.create_default_context(cafile=authorities_file)
        except OSError as error:
            text = f"the list of authorities {authorities} cannot be read: {ca_file_fault(error)}"
            yield _failed("network", text, "Correct the setting, or take it away.")
            return
        yield from self._connection_findings(tls, authorities)

    def _client_findings(self) -> Iterator[Finding]:
        """Say which indexes the clients ask, and which settings say so."""
        for problem in self.clients.problems:
            yield _warning("settings", problem, "Correct it: the client stops, or ignores it.")
        if not self.clients.indexes:
            text = "neither pip nor uv has an index, so that they ask the public one"
            yield _warning("settings", text, "wheelyard print-settings pip prints what to add.")
        for index in self.clients.indexes:
            yield self._index_finding(index)

    def _index_finding(self, index: ClientIndex) -> Finding:
        """Say which index a client asks, and whether that is on the examined server."""
        if index.is_folder:
            text = f"asks a folder of this machine ({index.source})"
        else:
            url = without_secrets(index.url) if index.url else "what is no URL"
            credential = ", with a credential" if index.login else ""
            text = f"asks {url}{credential} ({index.source})"
            if not self._is_on_server(index):
                advice = f"That is not {self.url.authority}. Correct that file or variable."
                return _warning(index.client, text, advice)
        if index.client == PIP_EXTRA:
            advice = (
                "pip takes the highest version of all indexes: "
                f"{DOCUMENTATION}/private-and-public.md"
            )
            return _warning(index.client, text, advice)
        return Finding(index.client, CheckOutcome.OK, text)

    def _is_on_server(self, index: ClientIndex) -> bool:
        """Return whether an index of a client is on the examined server."""
        return index.url is not None and index.url.origin == self.url.origin

    def _connection_findings(self, tls: ssl.SSLContext, authorities: str) -> Iterator[Finding]:
        """
        Ask the server, and yield the findings about the network and about its answers.

        `authorities` is the list of authorities that verifies its certificate, in words.
        """
        server = self.url.authority
        try:
            proxy = proxy_for(self.url)
            if proxy:
                server += f" through the proxy {proxy.authority}"
            with closing(Requester(self.runtime, _network(tls), self._rules)) as client:
                # first and without a credential: any server answers, also one that is none of ours
                health = self._get(client, replace(self.url, path="/health", query=""))
                yield self._network_finding(health, server, authorities)
                yield from self._server_findings(client)
        except FetchError as fault:
            requested_url = self._rules.requested_url
            if requested_url.origin != self.url.origin:
                server += f" leads to {without_secrets(requested_url)}"
            yield _failed("network", f"{server}: {fault.why}", _network_advice(fault.why))

    def _network_finding(self, health: _Answer, server: str, authorities: str) -> Finding:
        """
        Say whether the server answers, and whether clients take its connection as it is.

        `server` and `authorities` are the examined server and its list of authorities, in words.
        """
        if health.url.origin != self.url.origin:
            text = f"{server} leads to {without_secrets(health.url)}"
            return _warning("network", text, "Give that URL, unless it is a log-in page.")
        if health.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _warning("network", f"{server} answers with {health.summary}", ASK_OPERATOR)
        is_this_machine = self.url.host in ("localhost", "127.0.0.1", "[::1]")
        if not self.url.is_secure and not is_this_machine:
            text = f"{server} answers without TLS: pip refuses it, and others can read tokens"
            advice = f"Ask the operator for an https:// URL: {DOCUMENTATION}/tls.md"
            return _warning("network", text, advice)
        text = f"{server} answers"
        if self.url.is_secure:
            text += f"; its certificate is verified by {authorities}"
        return Finding("network", CheckOutcome.OK, text)

    def _server_findings(self, client: Requester) -> Iterator[Finding]:
        """Yield the findings about what the server answers to the credential of the clients."""
        credentials = list(self._credentials())
        yield _credential_finding(credentials)
        # clients take the first one, and a wrong one hides those after it
        credential = credentials[0] if credentials else None
        yield self._rights_finding(client, credential)
        yield self._page_finding(client, credential)

    def _credentials(self) -> Iterator[ClientCredential]:
        """Yield the credentials for the server in pip's order: URL, settings, netrc, keyring."""
        if self.url.login:
            yield ClientCredential(self.url.login, f"the URL of {self.source}")
        for index in self.clients.indexes:
            has_other_login = index.login != self.url.login
            if self._is_on_server(index) and index.login and has_other_login:
                yield ClientCredential(index.login, index.source)
        machine = self.clients.machine
        path = Path(machine.environ.get("NETRC") or machine.home / ".netrc")
        # pip looks into netrc and the keyring only if no URL has a credential
        login = read_netrc(path).get(self.url.host.strip("[]"))
        if login:
            yield ClientCredential(login, str(path))
        program = which("keyring", path=machine.environ.get("PATH"))
        if program:
            # a keyring that is locked or broken has nothing for pip, either
            with suppress(OSError):
                login = ask_keyring(program, self.url, machine.environ, WAIT_SECONDS)
                if login:
                    yield ClientCredential(login, f"the keyring ({program})")

    def _rights_finding(self, client: Requester, credential: ClientCredential | None) -> Finding:
        """Ask a wheelyard what a credential may do."""
        root = self.url.path.partition("/simple/")[0].rstrip("/")
        answer = self._get(client, replace(self.url, path=f"{root}/api/v1/whoami"), credential)
        source = credential.source if credential else "no credential"
        rights = answer.json.rights
        if answer.status == HTTPStatus.UNAUTHORIZED and credential:
            advice = f"It is wrong, expired or revoked: make a new one ({TOKENS_PAGE})."
            return _failed("rights", f"{source} is refused: {answer.summary}", advice)
        # any other server, such as one of another index, answers without rights
        if rights is None:
            return _warning("rights", f"not known: {answer.summary}", RIGHTS_ADVICE)
        scopes = [f"{','.join(scope.can)} {', '.join(scope.projects)}" for scope in rights]
        rights_text = "; ".join(scopes) or "do nothing"
        text = f"{source}: {answer.json.principal} may {rights_text}"
        may_read = any("read" in scope.can for scope in rights)
        if may_read:
            return Finding("rights", CheckOutcome.OK, text)
        advice = "Ask the operator for a grant, or make another token."
        return _failed("rights", f"{text}, and not read", advice)

    def _page_finding(self, client: Requester, credential: ClientCredential | None) -> Finding:
        """Ask for the page of the project, or for the list of projects."""
        url = self.url.as_folder()
        noun = "project"
        if self.project:
            url = url.child_folder(self.project)
            noun = "file"
        answer = self._get(client, url, credential)
        if answer.status != HTTPStatus.OK:
            advice = PAGE_ADVICE.get(answer.status, ASK_OPERATOR)
            return _failed("page", f"{without_secrets(url)}: {answer.summary}", advice)
        page = without_secrets(answer.url)
        entry_count = self._count_entries(answer)

        # such as a page to log in
        if entry_count is None:
            text = f"{page} is no page of an index: {answer.summary}"
            return _failed("page", text, BROWSER_ADVICE)
        text = f"{page} lists {counted(entry_count, noun)}"
        has_no_file = self.project != "" and entry_count == 0
        if answer.url.origin != url.origin or has_no_file:
            return _failed("page", text, BROWSER_ADVICE)
        if entry_count == 0 and answer.json.meta is None:
            advice = "If there should be some, this may be no index: open it in a browser."
            return _warning("page", text, advice)
        return Finding("page", CheckOutcome.OK, text)

    def _count_entries(self, answer: _Answer) -> int | None:
        """Return how many projects or files a page of an index lists, or None for another page."""
        document = answer.json
        entries = document.files if self.project else document.projects

        # a page in JSON (PEP 691)
        if document.meta is not None and entries is not None:
            return len(entries)

        # any bytes are letters of latin-1, so that a page in another encoding can be read, too
        page = read_page(answer.body.decode("latin-1"), answer.content_type, MAX_LINKS)
        entry_count = self._count_links(page, answer.url)
        if entry_count > 0:
            return entry_count

        # an index without projects has no link, and is known by its head
        has_version = any(name == VERSION_TAG for name, _ in page.meta)
        if has_version or _INDEX_TITLE.search(answer.body):
            return 0
        return None

    def _count_links(self, page: HtmlPage, page_url: Url) -> int:
        """Return how many links of a page in HTML lead to a file, or to a project of the list."""
        base_url = page_url
        if page.base:
            try:
                base_url = page_url.resolved(page.base)
            except BadUrl:
                return 0
        entry_count = 0
        for link in page.links:
            # a link that is no URL counts for nothing, and the links after it are read
            with suppress(BadUrl):
                url = base_url.resolved(link.href)
                is_entry = is_distribution_name(url.filename)
                # some indexes list the files of all projects on one page
                if not is_entry and not self.project:
                    is_entry = bool(project_at(base_url, url))
                if is_entry:
                    entry_count += 1
        return entry_count

    def _get(
        self, client: Requester, url: Url, credential: ClientCredential | None = None
    ) -> _Answer:
        """
        Send GET, follow redirects, and return the response.

        Raises FetchError if there is no response.
        """
        self._rules.login = credential.login if credential else None
        if credential:
            # noted before it is sent, so that no finding about the answer can quote it
            self._note_secrets(credential.login)
        with (
            client.deadline(2 * WAIT_SECONDS),
            closing(client.follow("GET", url, HEADERS)) as response,
        ):
            # of an endless body the beginning is enough to say what it is
            body = bytes(response.body(BODY_LIMIT_BYTES, is_cut=True))
        content_type = response.headers.get("content-type", "")
        return _Answer(response.url, response.status, content_type, body)

    def _note_secrets(self, login: UserPassword) -> None:
        """Add the secret of a credential to `secrets`, in each form in which it may be repeated."""
        # without a password, the user name is a token
        secret = login.password or login.username
        in_url = quote(secret, safe="")
        in_header = login.authorization.partition(" ")[2]
        for word in (secret, in_url, in_header):
            if len(word) >= MIN_SECRET_LENGTH:
                self.secrets.add(word)


def examination(
    url_text: str | None, project: str, machine: Machine, runtime: Runtime
) -> Examination:
    """
    Return the examination of the index at a URL, or without a URL of the first that pip or uv asks.

    `url_text` may be the root of an index, its URL for uploads, a URL in its Simple API, or the
    page of a project. Folders that the clients ask are passed over. `project` is normalized, or
    empty for the list of projects. The settings of the clients are read, and nothing is sent yet.
    Raises Invalid (code `bad_setting`) if there is no such URL, or it is none of http or https.
    """
    clients = ConfiguredClients(machine)
    if url_text is not None:
        index = ClientIndex("", url_text, "the command line")
    else:
        index = _configured_index(clients)
    url = index.url
    if url is None:
        why = f"The URL of {index.source} cannot be used"
        raise Invalid(f"{why}. Give one that begins with https://.", code="bad_setting")
    if url_text is not None:
        url = _simple_api_url(url)
    return Examination(clients, url, index.source, project, runtime)


def _simple_api_url(url: Url) -> Url:
    """Return the URL of the Simple API of the index that any URL of a server belongs to."""
    # people copy any URL of a server: of its root, of an upload, or of the page of a project
    root = url.as_folder().path
    for folder in ("/simple/", "/project/", "/legacy/"):
        root, separator, _ = root.partition(folder)
        if separator:
            break
    return replace(url, path=f"{root.rstrip('/')}/simple/", query="", fragment="")


def _configured_index(clients: ConfiguredClients) -> ClientIndex:
    """Return the first index on a server that pip or uv asks. Raises Invalid if there is none."""
    for index in clients.indexes:
        if not index.is_folder:
            return index
    why = f"{NO_INDEX}."
    for problem in clients.problems:
        why += f" {problem}."
    raise Invalid(f"{why} Give the URL of yours: wheelyard doctor URL.", code="bad_setting")


def without_secrets(url: Url) -> str:
    """Return a URL for messages, without what may be secret: user, password, query, long words."""
    words = []
    for word in url.path.split("/"):
        # the day of a view has letters and digits, too, and is no secret
        is_secret = _TOKEN.fullmatch(word) and not is_dated_view(word)
        words.append("***" if is_secret else word)
    return replace(url, path="/".join(words)).redacted


def _network(tls: ssl.SSLContext) -> Network:
    """Return how to connect: to any address and by any proxy, as this is the person's machine."""
    anywhere = AddressPolicy(is_allowed=every_address)
    return Network(
        policies=dict.fromkeys(DEFAULT_PORTS, anywhere),
        tls=lambda: tls,
        uses_proxies=True,
        connect=WAIT_SECONDS,
        idle=WAIT_SECONDS,
    )


def _network_advice(why: str) -> str:
    """Return what to do about a failed connection, by the reason."""
    for word, advice in NETWORK_ADVICE:
        if word in why:
            return advice
    return OTHER_NETWORK_ADVICE


def _credential_finding(credentials: Sequence[ClientCredential]) -> Finding:
    """Say which credential the clients take, and which they do not use. No text has a secret."""
    text = "there is none for this server; requests are anonymous"
    if credentials:
        credential = credentials[0]
        # without a password, the user name is a token
        user = "without a password"
        if credential.login.password:
            user = f"user {credential.login.username}"
        text = f"{credential.source}, {user}"
    if len(credentials) > 1:
        unused_sources = ", ".join(unused.source for unused in credentials[1:])
        text += f"; not used: {unused_sources}"
    return Finding("credential", CheckOutcome.OK, text)


def _warning(check: str, text: str, advice: str) -> Finding:
    return Finding(check, CheckOutcome.WARNING, text, advice)


def _failed(check: str, text: str, advice: str) -> Finding:
    return Finding(check, CheckOutcome.FAILED, text, advice)
