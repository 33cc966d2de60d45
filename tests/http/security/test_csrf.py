"""CSRF: requests that pages of other sites make a browser send with its stored password."""

import reprlib
from collections.abc import Iterator

import pytest

from tests.distributions import Distribution, make_wheel
from tests.http.forms import BOUNDARY
from tests.http.in_process import InProcessResponse, InProcessServer
from tests.http.packages import KIND, form
from tests.http.protocol.test_http2 import curl
from tests.http.servers import RunningServer, running_server
from wheelyard.http.forms import is_cross_site
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

PACKAGE: Distribution = make_wheel("browser")
ADDRESS = "127.0.0.1:8080"
UNYANK = "/api/v1/projects/browser/unyank"


def sent_with(headers: dict[str, str]) -> list[tuple[str, str]]:
    """Return headers as a browser sends them to this address."""
    return [(name, value.format(address=ADDRESS)) for name, value in headers.items()]


def changes(app: InProcessServer, *sent: tuple[str, str]) -> list[InProcessResponse]:
    """Upload at four addresses, unyank and delete a token; return what is answered."""
    body, login, token = form(PACKAGE, BOUNDARY), app.bearer(), app.bearer("browser")
    uploads = [
        app.send(path, body, login, *sent, kind=KIND, host=ADDRESS)
        for path in ("/legacy/", "/", "/simple/", "/acme/")
    ]
    change = app.send(UNYANK, b'{"version": "1.0"}', login, *sent, host=ADDRESS)
    url = f"/api/v1/tokens/{token[1][11:21]}"
    gone = app.get(url, token, *sent, method="DELETE", host=ADDRESS)
    return [*uploads, change, gone]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://{address}"},
        {"Origin": "HTTP://{address}"},
    ],
    ids=reprlib.repr,
)
def test_this_site_changes_what_it_may(
    stocked_app: InProcessServer, headers: dict[str, str]
) -> None:
    """A program, or a page of this site, uploads, unyanks and deletes with a password."""
    answers = changes(stocked_app, *sent_with(headers))

    assert [answer.status for answer in answers] == [200, 200, 200, 200, 200, 204]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "Cross-Site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://{address}"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "ftp://{address}"},
        {"Origin": "http://{address}.evil.example"},
        {"Origin": "http://evil.example@{address}"},
    ],
    ids=reprlib.repr,
)
def test_other_sites_change_nothing(stocked_app: InProcessServer, headers: dict[str, str]) -> None:
    """A page of another site uploads, yanks and deletes nothing with a browser's password."""
    app, sent = stocked_app, sent_with(headers)

    for answer in changes(app, *sent):
        assert (answer.status, answer.json()["error"]) == (403, "cross_site")
    html = ("Accept", "text/html")
    shown = app.get(UNYANK, app.bearer(), html, *sent, method="POST", host=ADDRESS)
    assert "Nothing was changed." in shown.text
    assert "public_url" not in shown.text
    assert app.get("/simple/", *sent, host=ADDRESS).status == 200


@pytest.mark.integration
@pytest.mark.parametrize(
    ("origin", "status"), [("http://{address}", "2 404"), ("https://evil.example", "2 403")]
)
def test_origin_is_checked_over_http2(server: RunningServer, origin: str, status: str) -> None:
    """Over HTTP/2, too, a page of the index is told from a page of another site."""
    sent = ("-X", "POST", "-H", f"Origin: {origin.format(address=server.address)}")
    json = ("-H", "Content-Type: application/json", "-d", '{"version": "1.0"}')
    address = f"http://{server.token}@{server.address}/api/v1/projects/absent/yank"

    assert curl(*sent, *json, address).endswith(status)


NAMED = "rebound.example:8080"
PUBLIC = ServerSettings(public_url="https://packages.example.com", trusted_proxies=1)
BROWSER = {b"host": NAMED.encode(), b"origin": f"http://{NAMED}".encode()}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("rebound.example:{port}", 403),
        ("localhost.rebound.example:{port}", 403),
        ("127.0.0.1.rebound.example:{port}", 403),
        ("localhost:{port}", 200),
        ("LOCALHOST.:{port}", 200),
        ("packages.localhost:{port}", 200),
        ("127.0.0.1:{port}", 200),
        ("[::1]:{port}", 200),
        ("192.0.2.7", 200),
    ],
)
def test_rebound_name_cannot_publish(open_to_all: RunningServer, host: str, status: int) -> None:
    """A page whose name was made to lead to this machine cannot publish here, and a program can."""
    name = host.format(port=open_to_all.address.partition(":")[2])
    files = {"content": (PACKAGE.filename, PACKAGE.body)}

    def upload(**headers: str) -> int:
        sent = {"Host": name, **headers}
        return open_to_all.client.post("/legacy/", files=files, headers=sent).status_code

    assert upload(Origin=f"http://{name}") == status
    assert upload(**{"Sec-Fetch-Site": "same-origin"}) == status
    assert upload() == 200
    read = open_to_all.get("/simple/", Host=name, Origin=f"http://{name}")
    assert read.status_code == 200


@pytest.mark.parametrize(
    ("settings", "foreign"),
    [
        (Settings(), True),
        (Settings(server=ServerSettings(host="192.0.2.1")), False),
        (Settings(server=ServerSettings(trusted_proxies=1)), False),
        (Settings(server=ServerSettings(public_url="https://packages.example.com")), False),
        (Settings(server=PUBLIC, access=AccessSettings(anonymous_uploads=True)), True),
        (Settings(access=AccessSettings(trusted_hosts=("rebound.example",))), False),
    ],
)
def test_named_server_takes_browsers_by_name(settings: Settings, *, foreign: bool) -> None:
    """Where a setting says by which name people come, or through what, browsers may use names."""
    assert is_cross_site(BROWSER, settings) is foreign


@pytest.mark.parametrize(
    ("host", "foreign"),
    [
        *((host, False) for host in ("localhost", "LOCALHOST.", "packages.localhost")),
        *((host, False) for host in ("127.0.0.1", "[::1]", "192.0.2.7")),
        *((host, True) for host in ("rebound.example", "localhost.rebound.example", "127.0.0.1.x")),
    ],
)
def test_local_server_takes_browsers_by_address(host: str, *, foreign: bool) -> None:
    """A browser may use a server of its machine by localhost or an address, by no other name."""
    name = f"{host}:8080"
    headers = {b"host": name.encode(), b"origin": f"http://{name}".encode()}

    assert is_cross_site(headers, Settings()) is foreign


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server for this machine alone, to which anybody on it may publish."""
    config = "[access]\nanonymous_uploads = true\n"
    with running_server(tmp_path_factory.mktemp("open"), config=config) as server:
        yield server
