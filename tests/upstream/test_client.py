"""What is sent to an upstream index, where requests may lead, and when they are given up."""

import logging
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.fake_time import START, Clock, fake_runtime
from tests.metrics import samples
from tests.upstream.asking import LOOPBACK, Asking, server_of
from tests.upstream.fake_pages import Fault, basic
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import front
from wheelyard.errors import Invalid, NotFound, Unavailable
from wheelyard.http_client.client import at_minimum_rate
from wheelyard.http_client.hosts import Circuit, FetchError
from wheelyard.http_client.urls import UserPassword, parse_url
from wheelyard.sources.simple_page import FetchedPage
from wheelyard.upstream import upstream_client
from wheelyard.upstream.google_token import GoogleToken
from wheelyard.upstream.observation import Kind
from wheelyard.upstream.settings import UpstreamConfig, UpstreamServer
from wheelyard.upstream.upstream_client import (
    Missing,
    NotChanged,
    UpstreamClient,
)

REQUESTS = canonicalize_name("requests")
PACKAGE = public_wheel("requests", "2.0")
LOGIN = UserPassword("ci", "s3cret-of-ci")


class FixedToken(GoogleToken):
    """An access token that a test has made up."""

    def __init__(self, header: str) -> None:
        super().__init__()
        self.header = header

    def authorization(self) -> str:
        """Return the header; raise FetchError if it is empty."""
        if not self.header:
            raise FetchError("there is none")
        return self.header


@contextmanager
def client_of(
    server: UpstreamServer,
    config: UpstreamConfig | None = None,
    google: GoogleToken | None = None,
) -> Iterator[UpstreamClient]:
    """Yield a client; it may connect to loopback unless `config` says otherwise."""
    config = config or UpstreamConfig(servers=(server,), allow_private_networks=LOOPBACK)
    with closing(UpstreamClient(server, config, fake_runtime(Clock(), 1), google)) as client:
        yield client


def fetch_page(client: UpstreamClient) -> FetchedPage | NotChanged | Missing:
    """Ask for the page of `requests`."""
    with client.page(REQUESTS) as answer:
        return answer


def test_credentials_go_to_the_index_alone(
    upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """User name and password are sent to the index, and never to the host of its files."""
    caplog.set_level(logging.DEBUG)
    upstream.publish(PACKAGE)
    server = replace(server_of(upstream), login=LOGIN)
    with closing(Asking((server,))) as asking:
        page = asking.page("requests").page
        with closing(asking.clients.open_file(server.id, REQUESTS, page.files[0].url, Kind.FILE)):
            pass
        upstream.behave("requests", Fault.REDIRECT_OTHER)
        asking.clock.advance(seconds=601)
        asking.page("requests")

    sent = {each.host: each.header("authorization") for each in upstream.requests}
    assert sent == {"index": basic("ci", "s3cret-of-ci"), "files": None}
    said = caplog.text + repr((server, asking.config, page, asking.store))
    assert "s3cret" not in said
    assert basic("ci", "s3cret-of-ci").split()[1] not in said


@pytest.mark.integration
def test_tokens_of_google(upstream: FakeUpstream) -> None:
    """An access token is sent to the index alone; without one nothing is sent at all."""
    upstream.publish(PACKAGE)
    server = server_of(upstream)
    with client_of(server, google=FixedToken("Bearer ya29.x")) as client:
        assert isinstance(fetch_page(client), FetchedPage)
    assert [each.header("authorization") for each in upstream.requests] == ["Bearer ya29.x"]

    with (
        client_of(server, google=FixedToken("")) as client,
        pytest.raises(FetchError, match="there is none"),
    ):
        fetch_page(client)
    assert len(upstream.requests) == 1


def test_plain_http_to_other_machines(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http leaves this machine only if the operator has allowed it."""
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))]
    monkeypatch.setattr("wheelyard.http_client.hosts.getaddrinfo", lambda *_, **__: addresses)

    with client_of(server_of(upstream)) as client, pytest.raises(FetchError, match="insecure"):
        fetch_page(client)


REDIRECTS = {
    Fault.REDIRECT_OTHER: "is not in upstream.file_hosts",
    Fault.REDIRECT_METADATA_IP: "is not in upstream.file_hosts",
    Fault.REDIRECT_NAME: "another project",
    Fault.REDIRECT_LOOP: "more than 3 times",
    Fault.REDIRECT_OTHER_SCHEME: "no URL",
}


@pytest.mark.parametrize("fault", REDIRECTS)
def test_redirects_of_pages(upstream: FakeUpstream, fault: Fault) -> None:
    """A page may lead on to another path for the same project, and nowhere else."""
    upstream.publish(PACKAGE, public_wheel("acme-core", "99.0"))
    upstream.behave("requests", fault)

    with client_of(server_of(upstream)) as client:
        with pytest.raises(FetchError, match=REDIRECTS[fault]):
            fetch_page(client)
        upstream.behave("requests", Fault.REDIRECT_SAME)
        assert isinstance(fetch_page(client), FetchedPage)
    assert upstream.asked_stranger() == []


@pytest.mark.parametrize(
    "host", ["metadata", "metadata.google.internal", "metadata.google.internal."]
)
def test_the_credentials_of_the_machine(upstream: FakeUpstream, host: str) -> None:
    """No file comes from the host of a machine's credentials, even if the settings name it."""
    server = replace(server_of(upstream), file_hosts=(host,))
    with client_of(server) as client, pytest.raises(FetchError, match="the machine's metadata"):
        client.open_file(parse_url(f"http://{host}/computeMetadata/v1/{PACKAGE.filename}"))


@pytest.mark.slow  # it waits as long as a client of a slow index
def test_more_large_pages_than_fit_into_memory(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large page waits for a place in memory, and is refused for now if none gets free."""
    monkeypatch.setattr(upstream_client, "LARGE_PAGE_BYTES", 1)
    monkeypatch.setattr(upstream_client, "MAX_LARGE_PAGES", 1)
    upstream.publish(PACKAGE, public_wheel("other", "1.0"))
    with client_of(replace(server_of(upstream), timeout=1.0)) as client:
        with client.page(REQUESTS), pytest.raises(FetchError, match="other large pages") as caught:
            client.page(canonicalize_name("other")).__enter__()
        assert caught.value.is_transient
        assert isinstance(fetch_page(client), FetchedPage)


FILE_FAULTS = {
    Fault.REDIRECT_OTHER: "bad_upstream",
    Fault.REDIRECT_METADATA_IP: "bad_upstream",
    Fault.REDIRECT_LOOP: "bad_upstream",
    401: "bad_upstream",
    503: "upstream_unavailable",
    429: "upstream_unavailable",
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_files_that_fail(upstream: FakeUpstream, fault: Fault | int) -> None:
    """A file that cannot be fetched is the failure of the upstream, or missing there."""
    upstream.publish(PACKAGE)
    server = server_of(upstream)
    with closing(Asking((server,))) as asking:
        (file,) = asking.page("requests").page.files
        upstream.behave_files("requests", fault)
        with pytest.raises(Unavailable) as found:
            asking.clients.open_file(server.id, REQUESTS, file.url, Kind.FILE)
        assert found.value.code == FILE_FAULTS[fault]
        upstream.behave_files("requests", 404)
        asking.clock.advance(minutes=10)
        with pytest.raises(NotFound):
            asking.clients.open_file(server.id, REQUESTS, file.url, Kind.FILE)
    assert upstream.asked_stranger() == []


def test_a_file_breaks_off_with_an_error(upstream: FakeUpstream) -> None:
    """A file comes with its length, and breaks off with an error where the connection does."""
    upstream.publish(PACKAGE)
    server = server_of(upstream)
    with closing(Asking((server,))) as asking:
        (file,) = asking.page("requests").page.files
        for url, body in ((file.url, PACKAGE.body), (f"{file.url}.metadata", PACKAGE.metadata)):
            with closing(asking.clients.open_file(server.id, REQUESTS, url, Kind.FILE)) as download:
                assert (download.size, b"".join(download.chunks())) == (len(body), body)
        upstream.behave_files("requests", Fault.TRUNCATE)
        broken = asking.clients.open_file(server.id, REQUESTS, file.url, Kind.FILE)
        with closing(broken), pytest.raises(Unavailable) as found:
            list(broken.chunks())
        assert found.value.code == "upstream_unavailable"
    received = samples(asking.observation.registry, "wheelyard_upstream_bytes_total")
    assert received["file",] > 2 * len(PACKAGE.body) // 2
    assert samples(asking.observation.registry, "wheelyard_upstream_inflight") == {(): 0}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("99999", 300),
        ("soon", 5),
        (format_datetime(START + timedelta(seconds=90)), 90),
        (format_datetime(START.astimezone(UTC) - timedelta(days=1)), 1),
    ],
)
def test_pauses_that_are_asked_for(upstream: FakeUpstream, header: str, seconds: int) -> None:
    """After 429 nothing is sent for as long as the upstream says, up to five minutes."""
    upstream.behave("requests", 429, Retry_After=header)

    with client_of(server_of(upstream)) as client:
        for _ in range(2):
            with pytest.raises(FetchError) as found:
                fetch_page(client)
            assert found.value.wait == seconds

    assert len(upstream.requests) == 1


def test_offline_there_is_no_connection(upstream: FakeUpstream) -> None:
    """Offline, not even the name of the host is looked up."""
    server = server_of(upstream)
    config = UpstreamConfig(servers=(server,), allow_private_networks=LOOPBACK, offline=True)
    with client_of(server, config) as client:
        with pytest.raises(FetchError, match="offline"):
            fetch_page(client)
        with pytest.raises(FetchError, match="offline"):
            client.open_file(server.url)
    assert upstream.requests == []


def test_authorities_that_cannot_be_read(upstream: FakeUpstream) -> None:
    """A file of certificate authorities that is not there is named, and nothing is sent."""
    plain = server_of(upstream)
    server = replace(plain, url=replace(plain.url, scheme="https"))
    config = UpstreamConfig(
        servers=(server,), allow_private_networks=LOOPBACK, ca_file="/nowhere.pem"
    )
    with client_of(server, config) as client, pytest.raises(FetchError, match="authorities"):
        fetch_page(client)


@pytest.mark.parametrize(
    ("content", "why"),
    [({}, "No such file or directory"), ({"ca.pem": ""}, "there is no certificate in it")],
    ids=["missing", "empty"],
)
def test_no_server_starts_with_authorities_that_cannot_be_read(
    upstream: FakeUpstream, tmp_path: Path, content: dict[str, str], why: str
) -> None:
    """A file of certificate authorities without any stops the start, which says what it lacks."""
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    file = str(tmp_path / "ca.pem")
    message = f"upstream.ca_file: {file} cannot be used: {why}"
    with (
        pytest.raises(Invalid, match=message) as caught,
        front(tmp_path, upstream, ca_file=file),
    ):
        pass
    assert caught.value.code == "bad_setting"


def test_a_page_is_asked_for_once_more_where_that_may_help(upstream: FakeUpstream) -> None:
    """A page is asked for once more after a status that may pass, and not after others."""
    upstream.publish(PACKAGE)
    with client_of(server_of(upstream)) as client:
        upstream.behave("requests", 502)
        with pytest.raises(FetchError):
            fetch_page(client)
        upstream.behave("requests", 500)
        with pytest.raises(FetchError):
            fetch_page(client)
    assert len(upstream.requests) == 3


def test_one_broken_file() -> None:
    """However often one file of a host fails, its other files and pages are asked for."""
    circuit = Circuit(Clock().seconds, lambda **_: None)
    for _ in range(10):
        circuit.record_failure("it answers with status 500", "/one/broken.whl")
    circuit.check()


def test_five_failures_stop_requests_until_one_tests() -> None:
    """Five failures within half a minute stop requests for another one; then one request tests."""
    clock, changes = Clock(), list[bool]()
    circuit = Circuit(clock.seconds, lambda *, is_open: changes.append(is_open))
    for _ in range(10):
        circuit.record_failure("it cannot be reached")
        clock.advance(seconds=10)
    circuit.check()
    assert changes == []
    for _ in range(5):
        circuit.record_failure("it cannot be reached")
    for seconds, left in ((0, 30), (29, 1)):
        clock.advance(seconds=seconds)
        with pytest.raises(FetchError, match=f"reached, so .* again in {left} seconds"):
            circuit.check()
    clock.advance(seconds=1)
    circuit.check()
    with pytest.raises(FetchError):
        circuit.check()
    circuit.record_failure("it cannot be reached")
    clock.advance(seconds=29)
    with pytest.raises(FetchError):
        circuit.check()
    clock.advance(seconds=1)
    circuit.check()
    circuit.record_answer()
    circuit.check()
    circuit.check()
    assert changes == [True, False]
    circuit.pause(60)
    circuit.record_answer()  # to a request that was sent before
    with pytest.raises(FetchError) as found:
        circuit.check()
    assert found.value.wait == 60


def test_slow_pages_are_no_outage_while_others_are_answered() -> None:
    """However many pages do not come in time, the others of their host are asked for."""
    clock = Clock()
    circuit = Circuit(clock.seconds, lambda **_: None)
    began_at = clock.seconds()
    clock.advance(seconds=1)
    circuit.record_answer()
    clock.advance(seconds=59)
    for number in range(10):
        circuit.record_failure("it does not answer in time", f"/slow-{number}/", began_at)
    circuit.check()
    circuit.check()


def test_slow_pages_alone_are_tested_at_once() -> None:
    """Where nothing but slow pages is known of a host, the next request tests it, and it alone."""
    clock = Clock()
    circuit = Circuit(clock.seconds, lambda **_: None)
    for number in range(5):
        circuit.record_failure("it does not answer in time", f"/slow-{number}/", clock.seconds())
    circuit.check()
    with pytest.raises(FetchError, match="does not answer in time, so that it is asked") as found:
        circuit.check()
    assert found.value.wait == 30
    circuit.record_answer()
    circuit.check()


def received_slowly(size: int) -> Iterator[bytes]:
    """Receive a file that begins fast, and of which so much comes every five seconds then."""
    clock = Clock()

    def chunks() -> Iterator[bytes]:
        yield bytes(10_000_000)
        for _ in range(20):
            clock.advance(seconds=5)
            yield bytes(size)

    return at_minimum_rate(chunks(), clock.seconds, 30)


def test_a_file_that_comes_too_slowly_is_given_up() -> None:
    """A file that is half a minute behind is given up, however fast it began."""
    received = received_slowly(1)

    assert len([next(received) for _ in range(6)]) == 6
    with pytest.raises(FetchError, match="too slowly"):
        list(received)


def test_a_file_that_comes_fast_enough_is_received() -> None:
    """A file that keeps to the lowest rate is received to its end."""
    assert len(list(received_slowly(60_000))) == 21


def test_a_request_to_itself_is_known_by_its_header() -> None:
    """A request that this index has sent to itself is known by its Via header."""
    here = UpstreamConfig(servers=(), contact="https://packages.example.com")

    assert here.is_loop(f"1.1 proxy, 1.1 {here.via}")
    assert not here.is_loop("1.1 wheelyard, 1.1 wheelyard-0")
