"""The client of a server's API: credentials stay with the server, and each error is a sentence."""

import json
import random
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import integers, sampled_from
from msgspec import structs

from tests.in_process_network import InProcessNetwork, NetworkOrPorts
from tests.refused import refused
from tests.sources.web.fake_server import CannedResponse, FakeServer, running_fake_server
from wheelyard.api.project_operations import ProjectsQuery, list_projects
from wheelyard.api.remote_api import RemoteApi
from wheelyard.api.retention_operations import RetentionQuery, preview_retention
from wheelyard.api_client import (
    HIDDEN,
    ApiConnection,
    SecretFilter,
    ServerCredential,
    open_connection,
    open_form,
    parse_server,
)
from wheelyard.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
    WheelyardError,
)
from wheelyard.http_client.urls import Url, UserPassword, parse_url, proxy_for
from wheelyard.model.distribution_filename import parse_name
from wheelyard.operations.journal_reader import BEGINNING
from wheelyard.remedies import Advice, Remedy
from wheelyard.wiring.stores import system_runtime

SECRET = "Bearer a-secret-of-somebody"
PROJECTS = "/api/v1/projects"
TOKENS = "/api/v1/tokens"
DEMO = parse_name("demo")
GOOD = CannedResponse(b'{"projects": [{"name": "demo"}]}')
HTML = CannedResponse(b"<html>Log in</html>", headers={"Content-Type": "text/html"})

Opened = Callable[..., RemoteApi]


def names_at(index: RemoteApi) -> list[str]:
    """Return the names of the projects that a server lists."""
    return [project.name for project in index.call(list_projects, ProjectsQuery()).projects]


def refusal(status: int, error: str, message: str = "So it is.", **headers: str) -> CannedResponse:
    """Return an error as a server writes it."""
    body = f'{{"message": "{message}", "code": "{status} x", "title": "x", "error": "{error}"}}'
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return CannedResponse(body.encode(), status=status, headers=named)


@pytest.fixture
def server(network: NetworkOrPorts) -> Iterator[FakeServer]:
    """Run a server."""
    with running_fake_server(network) as running:
        yield running


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that a client made."""
    return []


@pytest.fixture
def opened(pauses: list[float]) -> Iterator[Opened]:
    """Open the index of a server, with a credential; no pause takes time."""
    runtime = structs.replace(system_runtime(), pause=pauses.append, random=random.Random(1))
    with ExitStack() as connections:

        def open_at(url: str, secret: str = SECRET) -> RemoteApi:
            credential = ServerCredential(secret, "WHEELYARD_TOKEN") if secret else None
            index = RemoteApi(ApiConnection(parse_server(url), credential, runtime))
            connections.callback(index.connection.close)
            return index

        yield open_at


@pytest.mark.parametrize("path", ["", "/", "/simple/", "/simple", "/legacy/", "/below/simple/"])
def test_client_urls_lead_to_the_server(server: FakeServer, opened: Opened, path: str) -> None:
    """The URLs that installers and publishing clients have lead to the same server."""
    server.serve(PROJECTS, GOOD)
    server.serve(f"/below{PROJECTS}", GOOD)

    assert names_at(opened(f"{server.url}{path}")) == ["demo"]

    (request,) = server.seen
    assert request.headers["authorization"] == SECRET


@pytest.mark.parametrize(("index", "query"), [("", "index=&"), (None, "")])
def test_an_empty_text_is_sent_that_says_something(
    server: FakeServer, opened: Opened, index: str | None, query: str
) -> None:
    """An empty index is sent as main, and no index is not sent at all."""
    server.serve("/api/v1/retention", refusal(404, "not_found"))

    with pytest.raises(NotFound):
        opened(server.url).call(preview_retention, RetentionQuery(index))

    (request,) = server.seen
    assert request.path.partition("api/v1/")[2] == f"retention?{query}kept=False"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        *(("ftp://host/", "root URL"), ("host", "root URL"), ("https://", "root URL")),
        *(("https://me:secret@host/", "credential"), ("https://host/?token=secret", "credential")),
        ("http://packages.acme.dev/", "unencrypted"),
        ("http://127.0.0.1.acme.dev/", "unencrypted"),
    ],
)
def test_unsafe_url_is_refused(opened: Opened, url: str, words: str) -> None:
    """A URL that has a secret, or would send one in plain text, is refused and not repeated."""
    with pytest.raises(Invalid, match=words) as refused:
        opened(url)

    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    ("passwords", "sent"),
    [
        ({"/": "of-all", "/dev/": "of-dev"}, "of-dev"),
        ({"/dev/": "of-dev"}, "of-dev"),
        ({"/": "of-all"}, "of-all"),
        ({"/prod/": "of-prod"}, None),
    ],
    ids=["both", "index", "server", "another index"],
)
def test_a_login_for_an_index_comes_before_one_for_the_server(
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    passwords: dict[str, str],
    sent: str | None,
) -> None:
    """An index gets the login that the keyring has for it, else the one for its server."""

    def ask_keyring(_program: str, url: Url, *_: object) -> UserPassword | None:
        password = passwords.get(url.path)
        return UserPassword("ana", password) if password else None

    monkeypatch.setattr("wheelyard.api_client.keyring_path", lambda _: "keyring")
    monkeypatch.setattr("wheelyard.api_client.ask_keyring", ask_keyring)
    server.serve(f"/dev{PROJECTS}", GOOD)
    connection = open_connection(server.url, {"NETRC": "/nowhere"}, system_runtime(), "dev")

    names_at(RemoteApi(connection))

    connection.close()
    expected = UserPassword("ana", sent).authorization if sent else None
    assert server.logins(f"/dev{PROJECTS}") == [expected]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_gets_the_credential(
    server: FakeServer, opened: Opened, status: int, network: NetworkOrPorts
) -> None:
    """A redirect, such as to a page for signing in, is named and not followed."""
    with running_fake_server(network) as other:
        location = {"Location": f"{other.url}/login?secret=1"}
        server.serve(PROJECTS, CannedResponse(status=status, headers=location))

        with pytest.raises(Invalid, match="redirects to") as refused:
            names_at(opened(server.url))

        assert f"{other.url}/login" in refused.value.message
        assert "secret" not in refused.value.message
        assert other.seen == []


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (HTML, Invalid, "does not answer as a wheelyard server"),
        (replace(HTML, status=404), Invalid, "A static site cannot be asked: ask the store"),
        (CannedResponse(b'{"projects": [1]}'), Invalid, "does not answer as a wheelyard server"),
        (CannedResponse(b"\xff"), Invalid, "does not answer as a wheelyard server"),
        (refusal(200, "no_such_page"), Invalid, "does not answer as a wheelyard server"),
        (replace(HTML, status=500), Unavailable, "status 500"),
        (refusal(401, "unauthenticated"), Unauthenticated, "credential of WHEELYARD_TOKEN"),
        (refusal(401, "token_revoked", "Revoked."), Unauthenticated, "WHEELYARD_TOKEN. Revoked."),
        (refusal(403, "forbidden"), Forbidden, "So it is."),
        (refusal(404, "not_found", "\\u001b[2J"), NotFound, r"\\x1b\[2J"),
        (refusal(409, "conflict"), Conflict, "So it is."),
        (refusal(429, "rate_limited", Retry_After="60"), Unavailable, "So it is."),
        (refusal(507, "storage_full"), Unavailable, "So it is."),
        (refusal(503, "upstream_unavailable", Retry_After="30"), Unavailable, "So it is."),
        (refusal(412, "precondition_failed"), Invalid, "So it is."),
    ],
)
def test_refusal_becomes_one_sentence(
    server: FakeServer,
    opened: Opened,
    pauses: list[float],
    answer: CannedResponse,
    kind: type[WheelyardError],
    words: str,
) -> None:
    """Whatever a server, or something before it, refuses is an error of one kind, at once."""
    server.serve(PROJECTS, answer)

    with pytest.raises(kind, match=words) as refused:
        names_at(opened(server.url))

    assert (len(server.seen), pauses) == (1, [])
    assert SECRET not in refused.value.message


def test_a_refused_token_leads_to_a_command_for_that_server(
    server: FakeServer, opened: Opened
) -> None:
    """Against a refused token, the advice is a command of this machine, not of the answer."""
    body = {
        "message": "Revoked. 'wheelyard token create NAME' makes one.",
        "error": "token_revoked",
        "fact": "Revoked.",
        "advice": {"remedy": "create_token"},
    }
    server.serve(PROJECTS, CannedResponse(json.dumps(body).encode(), status=401))

    with pytest.raises(Unauthenticated, match=r"WHEELYARD_TOKEN\. Revoked\.$") as refused:
        names_at(opened(server.url))

    assert refused.value.advice == Advice(Remedy.CREATE_TOKEN)


def test_missing_credential_is_explained(server: FakeServer, opened: Opened) -> None:
    """Who has no credential is told where one is looked for."""
    server.serve(PROJECTS, refusal(401, "unauthenticated"))

    with pytest.raises(Unauthenticated, match=r"WHEELYARD_TOKEN, .* keyring or ~/\.netrc"):
        names_at(opened(server.url, ""))


def test_busy_server_is_asked_again(
    server: FakeServer, opened: Opened, pauses: list[float]
) -> None:
    """A server that is busy, or breaks off, is asked again after a pause, three times in all."""
    busy = refusal(503, "overloaded", "Try again.", Retry_After="5")
    server.serve(PROJECTS, busy, replace(GOOD, breaks_at=3), GOOD)
    assert names_at(opened(server.url)) == ["demo"]
    assert pauses[0] == 5
    server.serve(PROJECTS, busy)

    with pytest.raises(Unavailable, match="Try again"):
        names_at(opened(server.url))

    assert len(server.asked(PROJECTS)) == 6


def test_a_server_without_its_upstream_is_asked_once(
    server: FakeServer, opened: Opened, pauses: list[float]
) -> None:
    """A server whose upstream index is down is not asked again, and its error is shown."""
    server.serve(PROJECTS, refusal(503, "upstream_unavailable", "Later."))

    with refused(Unavailable, "upstream_unavailable", match="Later"):
        names_at(opened(server.url))

    assert pauses == []


def test_unreachable_server_is_named(
    opened: Opened, pauses: list[float], network: InProcessNetwork
) -> None:
    """A server that does not run is reported with its URL."""
    url = f"http://127.0.0.1:{network.free_port()}/"

    with pytest.raises(Unavailable, match=f"No answer from {url}: it cannot be reached"):
        names_at(opened(url))

    assert len(pauses) == 2


def test_silent_server_is_waited_for_once(
    opened: Opened,
    pauses: list[float],
    network: InProcessNetwork,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that takes connections and never answers is waited for once, not three times."""
    monkeypatch.setattr("wheelyard.api_client.ANSWER_START_SECONDS", 0.1)
    port = network.free_port()
    with ExitStack() as connections:
        network.listen(port, connections.enter_context)

        with pytest.raises(Unavailable, match="it does not answer in time"):
            names_at(opened(f"http://127.0.0.1:{port}/"))

    assert pauses == []


def test_the_journal_of_one_project_is_watched_alone(server: FakeServer, opened: Opened) -> None:
    """Who follows the journal of one project asks for no list, and is shown no other project."""
    assert opened(server.url).journals(DEMO).changed(BEGINNING) == ((DEMO,), [])
    assert server.seen == []


def test_proxy_of_the_environment_is_used(
    server: FakeServer, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the environment is used, unless NO_PROXY or this machine is asked for."""
    server.serve(PROJECTS, GOOD)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "direct.invalid")

    assert (
        names_at(opened(server.url)) == names_at(opened("http://packages.invalid", "")) == ["demo"]
    )

    assert [each.path for each in server.seen] == [
        PROJECTS,
        f"http://packages.invalid:80{PROJECTS}",
    ]
    assert proxy_for(parse_url("http://direct.invalid/")) is None
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    with pytest.raises(Unavailable, match="the proxy of the environment does not connect to it"):
        names_at(opened("https://packages.invalid", ""))
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(Unavailable, match="the proxy of the environment"):
        names_at(opened("http://packages.invalid", ""))


def test_tokens_of_a_journal_have_names_and_owners(server: FakeServer, opened: Opened) -> None:
    """Of tokens that the caller may see, names and owners are asked for once, and of no others."""
    listed: dict[str, object] = {
        "can": [],
        "projects": [],
        "state": "active",
        "created": "2026-01-01T00:00:00Z",
        "created-by": "local:bo",
        "expires": "2026-02-01T00:00:00Z",
        "last-used": None,
    }
    tokens = [
        {**listed, "id": "of-ana", "name": "laptop", "owner": "htpasswd:ana"},
        {**listed, "id": "of-none", "name": "ci", "owner": None},
    ]
    server.serve(TOKENS, CannedResponse(json.dumps({"tokens": tokens}).encode()))
    index = opened(server.url)

    def told(principal: str, api: RemoteApi = index) -> tuple[str, str]:
        return api.name_of(principal), api.owner_of(principal)

    assert told("htpasswd:ana") == ("", "")
    assert server.seen == []
    assert told("token:of-ana") == ("laptop", "htpasswd:ana")
    assert told("token:of-none") == ("ci", "")
    assert told("token:hidden") == ("", "")
    assert told("token:of-ana", opened(server.url, "")) == ("", "")
    assert [request.path for request in server.seen] == [TOKENS]


def page(*numbers: int, after: int) -> CannedResponse:
    """Return a page of a journal of five commits."""
    commits = [{"number": number, "id": "x", "previous": "", "events": []} for number in numbers]
    fields = {"name": "demo", "revision": 5, "commits": commits}
    if after < 5:
        fields["next"] = after
    return CannedResponse(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("wanted", "requests"), [(5, ["0", "3", "2"]), (2, ["0", "3"]), (3, ["0", "3", "2"])]
)
def test_commits_come_newest_first(
    server: FakeServer, opened: Opened, wanted: int, requests: list[str]
) -> None:
    """Commits come newest first, a lost one as None, and no page is read that nobody needs."""
    path = "/api/v1/projects/demo/journal"
    server.serve(path, page(1, 2, after=2), page(4, 5, after=5), page(4, after=4))
    commits = opened(server.url).journals(DEMO).commits(DEMO, 0)
    found = [next(commits) for _ in range(wanted)]

    assert [number for number, _ in found] == [5, 4, 3, 2, 1][:wanted]
    assert [number for number, commit in found if commit is None] == [3][: wanted - 2]
    assert [each.path.rpartition("=")[2] for each in server.seen] == requests


TOKEN = "wyd_yhuZQDsywf8mJ3kL5nP7qR9sT1uV3wX5yZ7aB9cD1eF3gH5j"
LOGIN = b64encode(b"ana:pass-phrase of ana").decode()
SPELLINGS = (
    TOKEN,
    f"Authorization: Bearer {TOKEN}",
    TOKEN.upper(),
    TOKEN.replace("_", "%5F"),
    "\x1b[1m".join(("", TOKEN[:20], TOKEN[20:])),
    " ".join(TOKEN),
)


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize("status", [400, 401, 404, 503])
def test_error_does_not_show_the_token(
    server: FakeServer, opened: Opened, text: str, status: int
) -> None:
    """No error of a server shows the token that it was sent, however it is spelt."""
    body = json.dumps({"message": text, "code": text, "title": text, "error": text})
    server.serve(PROJECTS, CannedResponse(body.encode(), status=status))

    with pytest.raises(WheelyardError) as caught:
        names_at(opened(server.url, f"Bearer {TOKEN}"))

    shown = f"{caught.value.message} {caught.value.code}"
    assert "yhuzqdsywf" not in re.sub("[^a-z0-9]|1m", "", shown.lower())
    assert shown.isprintable()


@pytest.mark.parametrize("target", [f"/{TOKEN}", f"https://{TOKEN}.example/", f"/?x={TOKEN}"])
def test_redirect_does_not_show_the_token(server: FakeServer, opened: Opened, target: str) -> None:
    """A refused redirect shows no part of an address that has the token."""
    server.serve(PROJECTS, CannedResponse(status=302, headers={"Location": target}))

    with pytest.raises(Invalid) as caught:
        names_at(opened(server.url, f"Bearer {TOKEN}"))

    assert "yhuzqdsywf" not in caught.value.message.lower()


@pytest.mark.parametrize("text", ["ana:pass-phrase of ana", "pass-phrase of ana", LOGIN])
def test_answer_does_not_show_the_password(server: FakeServer, opened: Opened, text: str) -> None:
    """A list of a server shows no password and no control character."""
    listed = {"projects": [{"name": name} for name in (text, "\x1b]0;x\x07", "demo")]}
    server.serve(PROJECTS, CannedResponse(json.dumps(listed).encode()))

    names = names_at(opened(server.url, f"Basic {LOGIN}"))

    assert names[1:] == ["\\x1b]0;x\\x07", "demo"]
    assert "phrase" not in names[0]
    assert text not in names[0]


def test_a_made_token_that_is_the_own_one() -> None:
    """A token that a server says to be new is hidden if it is the caller's own."""
    body = json.dumps({"id": TOKEN[4:14], "token": TOKEN, TOKEN: [1, None, 2.5]}).encode()

    shown = json.loads(SecretFilter(f"Bearer {TOKEN}").json(body))

    assert shown == {"id": TOKEN[4:14], "token": HIDDEN, HIDDEN: [1, None, 2.5]}


def listed_beside(ignored: bytes) -> CannedResponse:
    """Return an answer with a token as a name, and this as a field that is not looked at."""
    body = b'{"projects": [{"name": "%b"}], "ignored": %b}'
    return CannedResponse(body % (TOKEN.encode(), ignored))


@pytest.mark.parametrize("ignored", [b"[" * 10**5 + b"]" * 10**5, b"1e400", b'"\xff"'])
def test_token_beside_what_cannot_be_decoded(
    server: FakeServer, opened: Opened, ignored: bytes
) -> None:
    """An answer that cannot be searched for the token is refused as no server's."""
    server.serve(PROJECTS, listed_beside(ignored))

    with pytest.raises(Invalid, match="does not answer as a wheelyard server") as caught:
        names_at(opened(server.url, f"Bearer {TOKEN}"))

    assert caught.value.code == "no_index"


def test_token_beside_a_deeply_nested_field(server: FakeServer, opened: Opened) -> None:
    """A token in an answer with deep nesting is hidden, or the answer is refused."""
    server.serve(PROJECTS, listed_beside(b"[" * 500 + b"]" * 500))
    names = [HIDDEN]

    with suppress(Invalid):
        names = names_at(opened(server.url, f"Bearer {TOKEN}"))

    assert names == [HIDDEN]


def test_file_that_is_gone_before_it_is_sent(tmp_path: Path) -> None:
    """A file that is deleted, before or while it is read, is named as one that cannot be read."""
    wheel = tmp_path / "demo-1-py3-none-any.whl"
    wheel.write_bytes(b"PK")
    form = open_form(wheel, "boundary", lambda _: None)
    wheel.unlink()

    for read in (form.chunks, lambda: open_form(wheel, "boundary", lambda _: None).chunks()):
        with refused(Invalid, "invalid_filename", "cannot be read: No such file"):
            list(read())


@pytest.mark.parametrize("content", [b"P", b"PK\3\4PK"], ids=["shorter", "longer"])
def test_file_that_changes_before_it_is_sent(tmp_path: Path, content: bytes) -> None:
    """A file of another size than before is named, and no more is sent than was announced."""
    wheel, sent = tmp_path / "demo-1-py3-none-any.whl", list[bytes]()
    wheel.write_bytes(b"PK\3\4")
    form = open_form(wheel, "boundary", lambda _: None)
    wheel.write_bytes(content)

    with refused(Invalid, "digest_mismatch", "was changed while it was uploaded. Upload it again"):
        sent.extend(form.chunks())

    assert sum(map(len, sent)) <= len(form.head) + form.file_size


@given(start=integers(0, len(TOKEN) - 20), gap=sampled_from(["", " ", "-", "\x1b[0m"]))
def test_a_part_of_a_token(start: int, gap: str) -> None:
    """No 20 characters in a row of a token are shown; its id is, as it is no secret."""
    part = TOKEN[start : start + 20]
    told = SecretFilter(f"Bearer {TOKEN}")

    assert told.message(f"M{gap}{gap.join(part)} M") == HIDDEN
    assert (
        told.message(f"The token {TOKEN[4:14]} is yours.") == f"The token {TOKEN[4:14]} is yours."
    )


@pytest.mark.parametrize(
    ("password", "text", "shown"),
    [
        ("demo", "ana has sent demo.", HIDDEN),
        ("demo", "ana has sent DEMO.", "ana has sent DEMO."),
        ("abc", "ana has sent abc.", "ana has sent abc."),
    ],
)
def test_a_short_password_is_hidden_as_it_is_written(password: str, text: str, shown: str) -> None:
    """A message with a password of at least four characters is hidden, however short that is."""
    header = f"Basic {b64encode(f'ana:{password}'.encode()).decode()}"

    assert SecretFilter(header).message(text) == shown


def test_a_short_password(server: FakeServer, opened: Opened) -> None:
    """A password that may be a word is hidden in errors, and hides no project of that name."""
    header = f"Basic {b64encode(b'ana:demo').decode()}"
    server.serve(PROJECTS, GOOD)
    assert names_at(opened(server.url, header)) == [DEMO]

    server.serve(PROJECTS, refusal(403, "forbidden", "ana has sent demo."))
    with pytest.raises(Forbidden) as caught:
        names_at(opened(server.url, header))
    assert "demo" not in caught.value.message
