"""The HTTP client for other servers: addresses, redirects and credentials."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event

import pytest
from msgspec.structs import replace

from tests.in_process_network import NetworkOrPorts
from tests.sources.web.fake_server import CannedResponse, FakeServer, running_fake_server
from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.client import ANY_URL, Network, Requester, RequestRules
from wheelyard.http_client.hosts import AddressPolicy, FetchError
from wheelyard.http_client.urls import DEFAULT_PORTS, Url, parse_url
from wheelyard.wiring.stores import system_runtime

HERE = "127.0.0.1"
PACKED = {"Content-Encoding": "gzip"}


@pytest.fixture
def server(network: NetworkOrPorts) -> Iterator[FakeServer]:
    """Run a server."""
    with running_fake_server(network) as running:
        running.page("/a", "x")
        yield running


class Names:
    """A name server that tells of other addresses each time; the last ones for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.without_userinfo: list[str] = []

    def __call__(self, host: str, _: int) -> list[str]:
        """Return the addresses of a host."""
        self.without_userinfo.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def requester(
    policy: AddressPolicy,
    rules: RequestRules = ANY_URL,
    runtime: Runtime | None = None,
) -> Requester:
    """Return a requester that asks for http and https, without limits of its own."""
    network = Network(policies=dict.fromkeys(DEFAULT_PORTS, policy))
    return Requester(runtime or system_runtime(), network, rules)


@contextmanager
def reaching(reach: AddressPolicy) -> Iterator[Requester]:
    """Yield a client."""
    with closing(requester(reach)) as client:
        yield client


def got(client: Requester, url: str) -> tuple[int, bytes]:
    """Return what is at a URL."""
    with closing(client.send("GET", parse_url(url), {})) as answer:
        return answer.status, b"".join(answer.chunks())


def test_the_checked_address_is_called_by_its_name(server: FakeServer) -> None:
    """The connection goes to the address that was checked, and the host is called by its name."""
    names = Names([HERE], ["127.0.0.9"])
    with reaching(AddressPolicy(("index.example",), resolve=names)) as client:
        assert got(client, f"http://index.example:{server.port}/a") == (200, b"x")

    assert names.without_userinfo == ["index.example"]
    assert [each.headers["host"] for each in server.seen] == [f"index.example:{server.port}"]


def test_numbers_of_ipv6(server: FakeServer) -> None:
    """A server with an IPv6 number is called by the number in brackets, as in a URL."""
    with reaching(AddressPolicy(("[::1]",), resolve=Names([HERE]))) as client:
        got(client, f"http://[::1]:{server.port}/a")

    assert [each.headers["host"] for each in server.seen] == [f"[::1]:{server.port}"]


def test_https_of_a_server_without_tls(server: FakeServer) -> None:
    """An https URL of a server that speaks plain http is said to have no TLS."""
    with (
        reaching(AddressPolicy(("[::1]",), resolve=Names([HERE]))) as client,
        pytest.raises(FetchError, match="no TLS") as found,
    ):
        got(client, f"https://[::1]:{server.port}/a")

    assert not found.value.is_transient


@pytest.mark.integration
def test_a_name_that_moves(server: FakeServer) -> None:
    """A name is checked anew for each connection: one that leads here by now is refused."""
    names = Names(["127.0.0.9"], [HERE])
    place = f"http://index.example:{server.port}/a"
    with reaching(
        AddressPolicy(is_allowed=lambda each: str(each) != HERE, resolve=names)
    ) as client:
        with pytest.raises(FetchError, match="cannot be reached"):
            got(client, place)
        with pytest.raises(FetchError, match="private"):
            got(client, place)

    assert server.seen == []


@pytest.mark.integration
def test_the_next_address(server: FakeServer) -> None:
    """If one address of a host refuses connections, the next allowed one is tried."""
    names = Names(["127.0.0.2", "127.0.0.3", HERE])
    with reaching(AddressPolicy(is_allowed=lambda _: True, resolve=names)) as client:
        assert got(client, f"http://index.example:{server.port}/a")[0] == 200
    with (
        reaching(AddressPolicy(is_allowed=lambda each: str(each) != HERE, resolve=names)) as client,
        pytest.raises(FetchError, match="cannot be reached"),
    ):
        got(client, f"http://index.example:{server.port}/a")

    assert len(server.seen) == 1


def test_a_silent_name_server() -> None:
    """A name server that does not answer delays a request up to the timeout only."""
    silence = Event()

    def names(*_: object) -> list[str]:
        silence.wait()
        return []

    # a clock that stands still: a slow machine must not reach the deadline before the look-up
    runtime = replace(system_runtime(), monotonic=lambda: 0.0)
    client = requester(AddressPolicy(resolve=names), runtime=runtime)
    with closing(client), client.deadline(0.1):
        with pytest.raises(FetchError) as raised:
            got(client, "https://index.example/a")
        silence.set()

    assert raised.value.is_unreachable


def test_each_step_of_a_redirect_is_checked(server: FakeServer, network: NetworkOrPorts) -> None:
    """Each step of a redirect is checked, and shows the credential of its own server alone."""
    with running_fake_server(network) as other:
        other.page("/c", "x")
        place = f"index.example:{other.port}"
        there = {"Location": f"http://ana:secret@{place}/c"}
        server.serve("/b", CannedResponse(status=308, headers=there))
        server.serve("/a", CannedResponse(status=302, headers={"Location": "/b"}))
        start = parse_url(f"http://bob:secret@{HERE}:{server.port}/a")

        class Own(RequestRules):
            """Sends a credential to the first server alone."""

            def authorization(self, url: Url) -> str | None:
                return "Basic own" if url.origin == start.origin else None

        both = AddressPolicy((HERE, "index.example"), resolve=Names([HERE]))
        with closing(requester(both, Own())) as client:
            answer = client.follow("GET", start, {})
            answer.close()
        with (
            closing(requester(AddressPolicy((HERE,), resolve=Names([HERE])), Own())) as client,
            pytest.raises(FetchError, match="private"),
        ):
            client.follow("GET", start, {})

    assert (answer.status, answer.url.without_userinfo) == (200, f"http://{place}/c")
    assert server.logins("/a") == server.logins("/b") == ["Basic own"] * 2
    assert other.logins("/c") == [None]


def test_redirects_hold_no_connection(server: FakeServer) -> None:
    """A redirect gives its connection back before the next URL is asked for."""
    server.serve("/b", CannedResponse(b"moved", status=302, headers={"Location": "/a"}))
    network = Network(
        policies=dict.fromkeys(DEFAULT_PORTS, AddressPolicy((HERE,))), max_connections=1, start=20.0
    )
    with (
        closing(Requester(system_runtime(), network, ANY_URL)) as client,
        closing(client.follow("GET", parse_url(f"{server.url}/b"), {})) as answer,
    ):
        body = b"".join(answer.chunks())

    assert body == b"x"


@pytest.mark.parametrize(
    ("status", "is_transient"),
    [
        *((status, True) for status in (408, 425, 429, 500, 502, 503, 504)),
        *((status, False) for status in (400, 403, 404, 409, 410, 501)),
    ],
)
def test_statuses_that_may_pass(server: FakeServer, status: int, *, is_transient: bool) -> None:
    """Only a status that may pass, such as that of a timeout, is worth another request."""
    server.serve("/a", CannedResponse(status=status))
    with (
        reaching(AddressPolicy((HERE,))) as client,
        pytest.raises(FetchError, match=r"status|too many requests") as found,
    ):
        client.open(parse_url(f"{server.url}/a"), {})

    assert found.value.is_transient is is_transient


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_fails_is_asked_again(server: FakeServer, status: int) -> None:
    """A server that answers with errors is asked each time, if the rules have no circuits."""
    paths = [f"/{number}" for number in range(10)]
    for path in paths:
        server.serve(path, CannedResponse(status=status, headers={"Retry-After": "60"}))
    with reaching(AddressPolicy((HERE,))) as client:
        assert {got(client, f"{server.url}{path}")[0] for path in paths} == {status}


@pytest.mark.parametrize("status", [200, 304, 404, 503])
def test_every_status_is_returned(server: FakeServer, status: int) -> None:
    """Every status is returned to the caller; so are redirects that are not to be followed."""
    server.serve("/a", CannedResponse(status=status))
    server.serve("/b", CannedResponse(status=301, headers={"Location": "/a"}))
    with reaching(AddressPolicy((HERE,))) as client:
        assert got(client, f"{server.url}/a")[0] == status
        assert got(client, f"{server.url}/b")[0] == 301
        answer = client.follow("GET", parse_url(f"{server.url}/b"), {})
        answer.close()

    assert answer.status == status
