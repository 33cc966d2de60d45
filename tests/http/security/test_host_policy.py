"""Requests refused before routing: unknown hosts, and credentials over plain HTTP."""

import json
import reprlib
from collections.abc import Iterator

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.http.raw_client import http2_connection
from tests.http.servers import RunningServer, running_server
from wheelyard.errors import Forbidden, Invalid
from wheelyard.http.forms import HostPolicy
from wheelyard.http.request_authentication import SessionCookie
from wheelyard.http.requests import UNKNOWN_ADDRESS, client_address
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

HOSTS = '[access]\ntrusted_hosts = ["Packages.example.com", "[::1]:8080", "127.0.0.1"]\n'

FORWARDING = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via", b"cf-connecting-ip")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that answers to a few names only."""
    with running_server(tmp_path_factory.mktemp("named"), config=HOSTS) as server:
        yield server


@pytest.fixture(scope="module")
def named_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An application that answers to a few names only."""
    access = AccessSettings(trusted_hosts=("Packages.example.com", "[::1]:8080", "127.0.0.1"))
    with in_process(tmp_path_factory.mktemp("named"), Settings(access=access)) as app:
        yield app


@pytest.fixture(scope="module")
def proxied_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An application behind one proxy, which takes credentials over HTTPS only."""
    settings = Settings(
        server=ServerSettings(trusted_proxies=1), access=AccessSettings(require_https=True)
    )
    with in_process(tmp_path_factory.mktemp("proxied"), settings) as app:
        app.publish(make_wheel("demo"))
        yield app


@pytest.mark.parametrize(
    "host", ["packages.example.com", "PACKAGES.example.com:8443", "[::1]:8080"]
)
@pytest.mark.parametrize("path", ["/simple/", "/"])
def test_trusted_hosts_are_answered(named_app: InProcessServer, path: str, host: str) -> None:
    """The names of the settings are answered, with any port unless one is said."""
    assert named_app.get(path, host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "[::1]:8081",
        "[::1]",
        "evil.example.com",
        "packages.example.com.evil.com",
        "evil.com:packages.example.com",
        "packages.example.com@evil.com",
    ],
)
@pytest.mark.parametrize("path", ["/simple/", "/"])
def test_other_hosts_are_refused(named_app: InProcessServer, path: str, host: str) -> None:
    """A name that the settings lack is refused, and not repeated."""
    answer = named_app.get(path, host=host)

    assert (answer.status, answer.json()["error"]) == (421, "unknown_host")
    assert host not in answer.text


@pytest.mark.parametrize(
    "path", ["/nowhere/at/all", "/metrics", "/_/oidc/audience", "/%zz", "/../"]
)
def test_unknown_host_learns_no_path(named_app: InProcessServer, path: str) -> None:
    """Under another name no path tells whether there is something, or whether it is a path."""
    assert named_app.get(path, host="evil.example.com").status == 421


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probe_may_use_any_host(named_app: InProcessServer, path: str) -> None:
    """Probes may use the address instead of an allowed host name."""
    assert named_app.get(path, host="10.0.0.7:8080").status == 200


OURS, EVIL = "packages.example.com", "evil.example.com"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("names", "answer"),
    [
        ([(":authority", OURS)], True),
        ([("host", OURS)], True),
        ([(":authority", OURS), ("host", OURS)], True),
        ([(":authority", EVIL)], "unknown_host"),
        ([("host", EVIL)], "unknown_host"),
        ([(":authority", OURS), ("host", EVIL)], "unknown_host"),
        # Granian hands only Host on where there are both, so nothing can tell that they differ
        ([(":authority", EVIL), ("host", OURS)], True),
        ([(":authority", OURS), ("host", OURS), ("host", EVIL)], "bad_request"),
        ([(":authority", OURS), ("host", OURS), ("host", OURS)], "bad_request"),
        ([("host", OURS), ("host", EVIL)], "bad_request"),
        ([], "unknown_host"),
    ],
)
def test_host_header_counts_over_http2(
    named: RunningServer, names: list[tuple[str, str]], answer: object
) -> None:
    """Of `:authority` and Host, Host is the name that counts, and it may be there only once."""
    head = [(":method", "GET"), (":scheme", "http"), (":path", "/simple/")]
    with http2_connection(named) as connection:
        accept = ("accept", "application/vnd.pypi.simple.v1+json")
        body = json.loads(connection.answer(connection.begin(*head, *names, accept)))
    assert body.get("error", "projects" in body) == answer


@pytest.mark.integration
def test_two_authorities_are_refused(named: RunningServer) -> None:
    """A request with two `:authority`, or an empty one, is no request."""
    head = [(":method", "GET"), (":scheme", "http"), (":path", "/simple/")]
    for names in ([OURS, OURS], [OURS, EVIL], [""]):
        with http2_connection(named) as connection:
            authorities = [(":authority", name) for name in names]
            stream = connection.begin(*head, *authorities, ("host", OURS))
            assert connection.answer(stream) == b""


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"X_Forwarded_Proto": "https"}, 200, "demo-1.0"),
        ({"X_Forwarded_Proto": "HTTPS"}, 200, "demo-1.0"),
        ({"X_Forwarded_Proto": "http"}, 403, "https_required"),
        ({"X_Forwarded_Proto": "https, http"}, 403, "https_required"),
        ({"X_Forwarded_Proto": "http, https"}, 200, "demo-1.0"),
        ({"X_Forwarded_For": "192.0.2.1"}, 403, "https_required"),
        ({}, 403, "https_required"),
    ],
    ids=reprlib.repr,
)
def test_credential_over_plain_http_is_refused(
    proxied_app: InProcessServer, headers: dict[str, str], status: int, words: str
) -> None:
    """A credential that the proxy did not get over HTTPS, or does not say so of, is refused."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    login = proxied_app.bearer()
    assert proxied_app.get("/simple/").status == 200  # there is nothing to be read on the way
    for _ in range(2):  # the second of them is in memory
        answer = proxied_app.get("/simple/demo/", login, *named)

        assert (answer.status, words in answer.text) == (status, True)


@pytest.mark.parametrize(
    ("peer", "header", "refused"),
    [
        ("192.0.2.1", b"accept", True),
        ("192.0.2.1", b"x-forwarded-proto", True),
        ("127.0.0.1", b"accept", False),
        ("::1", b"accept", False),
        ("", b"accept", True),
        ("::1", b"x-forwarded-proto", True),
        *(("127.0.0.1", each, True) for each in FORWARDING),
    ],
)
def test_untrusted_proxy_is_no_https(peer: str, header: bytes, *, refused: bool) -> None:
    """Where no proxy is trusted, who comes through one is no more from here than over HTTPS."""
    settings = Settings(access=AccessSettings(require_https=True))
    headers = {b"authorization": b"Bearer x", header: b"https"}

    assert _is_refused(settings, headers, peer=peer) is refused


SIGNED_IN = Settings(
    server=ServerSettings(public_url="https://index"),
    access=AccessSettings(require_https=True, cookie_login=True),
)
COOKIE = SessionCookie.of(SIGNED_IN)
SESSION = COOKIE.name.encode() if COOKIE else b""


@pytest.mark.parametrize(
    ("path", "headers", "refused"),
    [
        (b"/-/sign-in/", {}, True),
        (b"/", {b"cookie": b"a=b; " + SESSION + b"=x.y"}, True),
        (b"/", {b"cookie": SESSION.removeprefix(b"__Host-") + b"=x.y"}, False),
        (b"/", {}, False),
    ],
)
def test_session_over_plain_http_is_refused(
    path: bytes, headers: dict[bytes, bytes], *, refused: bool
) -> None:
    """Nobody is asked for a password over plain HTTP, and no session is taken."""
    assert _is_refused(SIGNED_IN, headers, path=path) is refused


PREFIXED = Settings(
    server=ServerSettings(path_prefix="/team", public_url="https://index/team"),
    access=AccessSettings(require_https=True, cookie_login=True),
)


@pytest.mark.parametrize(
    "path",
    [
        b"/%2d/sign-in/",
        b"//-/sign-in/",
        b"/-//sign%2Din/acme/callback",
        b"/-/sign-in//",
        b"/_/oidc/mint-token",
        b"/%5f/oidc/github/mint-token",
        b"/_/oidc/burn-token",
    ],
)
def test_credential_in_a_body_is_refused_at_any_spelling(path: bytes) -> None:
    """Passwords and ID tokens need HTTPS, however their path is written."""
    assert _is_refused(SIGNED_IN, {}, path=path)
    assert _is_refused(PREFIXED, {}, path=b"/team" + path)
    assert _is_refused(PREFIXED, {}, path=b"//%74eam" + path)


@pytest.mark.parametrize("path", [b"/-/sign-in-help/", b"/%zz", b"/../-/sign-in/", b"/-/docs/"])
def test_path_that_takes_no_credential_is_answered(path: bytes) -> None:
    """What is no place for a credential, or no path, is left to the routes."""
    assert not _is_refused(SIGNED_IN, {}, path=path)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "refused"),
    [(0, b"http", False), (1, b"http", True), (1, b"https", False)],
)
def test_own_tls_takes_credentials(proxies: int, forwarded: bytes, *, refused: bool) -> None:
    """A server that speaks TLS takes credentials, unless a proxy says that they came without."""
    server, access = ServerSettings(trusted_proxies=proxies), AccessSettings(require_https=True)
    settings = Settings(server=server, access=access)
    headers = {b"authorization": b"Bearer x", b"x-forwarded-proto": forwarded}

    assert _is_refused(settings, headers, scheme="https") is refused


@pytest.fixture
def policy() -> HostPolicy:
    """The policy of a server that answers one host at one port, and one at any."""
    trusted_hosts = ("packages.example.com:8443", "[::1]")
    policy = HostPolicy.of(Settings(access=AccessSettings(trusted_hosts=trusted_hosts)))
    assert policy is not None
    return policy


@pytest.mark.parametrize("host", [b"packages.example.com:8443", b"[::1]:80", b"[::1]"])
def test_a_trusted_host_is_answered(policy: HostPolicy, host: bytes) -> None:
    """A trusted host with a port is answered at that port, and one without at any port."""
    policy.check({"raw_path": b"/simple/"}, {b"host": host})


@pytest.mark.parametrize("host", [b"packages.example.com", b"packages.example.com:8444"])
def test_a_trusted_host_is_refused_at_another_port(policy: HostPolicy, host: bytes) -> None:
    """A trusted host with a port is answered at no other port."""
    with pytest.raises(Invalid, match="another host name"):
        policy.check({"raw_path": b"/simple/"}, {b"host": host})


def _is_refused(
    settings: Settings,
    headers: dict[bytes, bytes],
    *,
    path: bytes = b"/simple/",
    scheme: str = "http",
    peer: str = "192.0.2.1",
) -> bool:
    """Return whether the policy of these settings refuses the credential of a request."""
    policy = HostPolicy.of(settings)
    assert policy is not None
    try:
        policy.check({"raw_path": path, "scheme": scheme, "client": (peer, 1)}, headers)
    except Forbidden:
        return True
    return False


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:50123", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("198.51.100.9, 192.0.2.1:50123", "192.0.2.1"),
        ("unknown", UNKNOWN_ADDRESS),
        ("192.0.2.1:http", UNKNOWN_ADDRESS),
        ("[192.0.2.1", UNKNOWN_ADDRESS),
        ("", "127.0.0.1"),
    ],
)
def test_forwarded_address_may_have_a_port(forwarded: str, address: str) -> None:
    """The address of a client is read where its proxy writes the port behind it, too."""
    scope = {"client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}

    assert client_address(scope, 1) == address


def test_no_setting_means_no_policy() -> None:
    """Without a setting about hosts or HTTPS, no request is looked at for them."""
    assert HostPolicy.of(Settings(server=ServerSettings(trusted_proxies=2))) is None
