"""TLS by the server itself: which certificates it takes, and a change of them."""

import asyncio
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from http.client import HTTPSConnection
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import DNSName, RFC822Name
from msgspec.structs import replace

from tests.clients.harness import REPOSITORY, system_program
from tests.clients.tls import Authority
from tests.http.in_process import InProcessServer, in_process
from tests.operations.in_memory_index import Clock
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.errors import Invalid
from wheelyard.http.tls_certificate import TlsFiles, open_tls_files
from wheelyard.http.tls_server import TlsServer
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.wiring.stores import system_runtime

AUTHORITY = Authority()
PAGE = "/simple/"


class PairOfFiles:
    """The two files of `[server] certificate` and `key`."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "chain.pem", folder / "key.pem"

    def write(self, certificate: bytes, key: bytes) -> None:
        """Replace both."""
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)
        self.key.chmod(0o600)

    def opened(self, host: str = "127.0.0.1", clock: Clock | None = None) -> TlsFiles:
        """Open them as a server at a host does."""
        server = ServerSettings(host=host, certificate=str(self.certificate), key=str(self.key))
        runtime = system_runtime()
        if clock is not None:
            runtime = replace(runtime, monotonic=clock.seconds)
        return open_tls_files(Settings(server=server), runtime)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[InProcessServer]:
    """An application over a store in memory."""
    (tmp_path / "spool").mkdir()
    with in_process(tmp_path / "spool") as server:
        yield server


@pytest.fixture
def files(tmp_path: Path) -> PairOfFiles:
    """A valid pair."""
    pair = PairOfFiles(tmp_path)
    pair.write(*AUTHORITY.issue())
    return pair


def _locked(key: bytes) -> bytes:
    private = load_pem_private_key(key, None)
    password = BestAvailableEncryption(b"secret")
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, password)


def _issued_with(key: CertificateIssuerPrivateKeyTypes) -> tuple[bytes, bytes]:
    return AUTHORITY.issue(key=key)


Pair = tuple[bytes, bytes]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda good: (good[0], AUTHORITY.issue()[1]), "not the key of the first certificate"),
        (lambda good: (good[0][:300], good[1]), "no whole certificate"),
        (lambda good: (good[0], good[1][:100]), "no whole private key"),
        (lambda good: (good[0], b""), "no whole private key"),
        (lambda good: (b"\x30\x82\xff", good[1]), "chain.pem: Line 1 is not UTF-8"),
        (lambda good: (good[1], good[1]), "no whole certificate"),
        (lambda good: (good[0], _locked(good[1])), "has a password"),
        (lambda _: AUTHORITY.issue(days=(-9, -2)), "only. Put a valid one there"),
        (lambda _: AUTHORITY.issue(days=(2, 9)), "only. Put a valid one there"),
        (lambda _: _issued_with(ec.generate_private_key(ec.SECP521R1())), "of a kind"),
        (lambda _: _issued_with(ed448.Ed448PrivateKey.generate()), "of a kind"),
    ],
    ids=map(str, range(11)),
)
def test_refused(files: PairOfFiles, broken: Callable[[Pair], Pair], message: str) -> None:
    """A certificate that clients would refuse stops the start, with one line that says why."""
    files.write(*broken(AUTHORITY.issue()))

    with pytest.raises(Invalid, match=message) as caught:
        files.opened()

    assert caught.value.code == "bad_setting"
    assert str(files.key.parent) in caught.value.message


@pytest.mark.integration
def test_documented(tmp_path: Path) -> None:
    """The lines for an own authority make a pair that the server takes and clients verify."""
    system_program("openssl")
    page = (REPOSITORY / "docs" / "tls.md").read_text().partition("## An own authority")[2]
    blocks = re.findall(r"```sh\n(openssl .*?|cat .*?)```", page, re.DOTALL)
    run = ["bash", "-ec", "".join(blocks)]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "key.pem").chmod(0o640)

    opened = PairOfFiles(tmp_path).opened("packages.example.com")

    assert opened.value.names == ("packages.example.com", "192.0.2.10")
    assert [each for each in opened.warnings if "chmod" not in each] == []
    strict = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", "chain.pem"]
    subprocess.run(strict, cwd=tmp_path, check=True, capture_output=True)


def test_unreadable(files: PairOfFiles) -> None:
    """A file that is missing is named."""
    files.certificate.unlink()

    with pytest.raises(Invalid, match=f"{files.certificate} cannot be read: No such file"):
        files.opened()


def test_warnings(files: PairOfFiles) -> None:
    """The operator is warned of an open key, a soon end, and another name than clients use."""
    files.write(*AUTHORITY.issue(DNSName("*.acme.dev"), days=(-1, 3)))
    files.key.chmod(0o644)
    opened = files.opened("localhost")

    assert [each.partition(": ")[2][:27] for each in opened.warnings] == [
        "every user of this machine ",
        "its certificate is for *.ac",
        "the certificate expires at ",
    ]
    assert [len(files.opened(host).warnings) for host in ("a.acme.dev", "a.b.acme.dev")] == [2, 3]

    files.write(*AUTHORITY.issue(RFC822Name("ops@acme.dev")))
    assert "; make one with that name" in files.opened("a.acme.dev").warnings[0]


def test_broken_change(files: PairOfFiles) -> None:
    """A changed pair that does not fit is not taken until it does; the old one stays in force."""
    clock = Clock()
    opened, (certificate, key) = files.opened(clock=clock), AUTHORITY.issue()
    before = opened.value

    files.certificate.write_bytes(certificate)
    clock.advance(seconds=5)
    assert opened.current() is before

    files.key.write_bytes(key)
    clock.advance(seconds=5)
    assert opened.current().pem == key + certificate


@contextmanager
def serving(
    app: InProcessServer, files: TlsFiles, header_timeout_seconds: float = 60
) -> Iterator[int]:
    """Serve over TLS on a thread of its own, and look every few milliseconds for a change."""
    loop = asyncio.new_event_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        now = app.index.runtime.now
        server = TlsServer(app.app, files, listener, now, 0.01, header_timeout_seconds)
        stopping = asyncio.Event()
        thread = Thread(target=loop.run_until_complete, args=(server.serve(stopping),))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join()
            loop.close()


class Connection(HTTPSConnection):
    """A connection over TLS that trusts the authority of these tests."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port, context=trusting(), timeout=60)
        self.connect()

    def ask(self) -> str:
        """Ask for a page; return the certificate that the server showed when it was connected."""
        if self.sock is None:  # the server has announced that it closes the connection
            self.connect()
        shown = self.sock.getpeercert(binary_form=True)
        self.request("GET", PAGE)
        response = self.getresponse()
        assert response.status == 200
        response.read()
        assert shown is not None
        return ssl.DER_cert_to_PEM_cert(shown)

    def headers(self, path: str, host: str) -> str | None:
        """Ask for a page under a host name; return what is said about https."""
        self.request("GET", path, headers={"Host": host})
        response = self.getresponse()
        response.read()
        return response.headers["Strict-Transport-Security"]


def trusting() -> ssl.SSLContext:
    """Return the settings of a client that trusts the authority."""
    return ssl.create_default_context(cadata=AUTHORITY.pem.decode())


@pytest.mark.integration
def test_change(app: InProcessServer, files: PairOfFiles) -> None:
    """While a certificate is replaced no request is lost, and new connections get the new one."""
    clock = Clock()
    with serving(app, files.opened(clock=clock)) as port:
        busy, idle = Connection(port), Connection(port)
        first = busy.ask()
        assert idle.ask() == first
        late = socket.create_connection(("127.0.0.1", port))  # its handshake comes after the change
        for _ in range(2):
            pair = AUTHORITY.issue()
            files.write(*pair)
            until(partial(has_changed, busy, port, pair[0].decode(), clock))
            # from now on no connection goes to the server before
            assert all(has_changed(busy, port, pair[0].decode(), clock) for _ in range(9))
        assert (idle.ask(), idle.sock) == (first, None)
        with trusting().wrap_socket(late, server_hostname="127.0.0.1") as shaken:
            shaken.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert b"200 OK" in shaken.recv(1000)
        busy.close()


def has_changed(busy: Connection, port: int, new: str, clock: Clock) -> bool:
    """Ask by an old and by a new connection; return whether both have the new certificate."""
    clock.advance(seconds=5)
    once = Connection(port)
    shown = {once.ask().strip(), busy.ask().strip()}
    once.close()
    return shown == {new.strip()}


@pytest.mark.parametrize(
    "create_key",
    [
        partial(ec.generate_private_key, ec.SECP384R1()),
        partial(rsa.generate_private_key, 65537, 2048),
    ],
    ids=["P-384", "RSA"],
)
@pytest.mark.integration
def test_kinds_of_keys(
    app: InProcessServer,
    files: PairOfFiles,
    create_key: Callable[[], CertificateIssuerPrivateKeyTypes],
) -> None:
    """Each kind of key that is taken is one that the server can speak TLS with."""
    files.write(*_issued_with(create_key()))
    with serving(app, files.opened()) as port, closing(Connection(port)) as client:
        assert client.ask()


@pytest.mark.integration
def test_protocol(app: InProcessServer, files: PairOfFiles) -> None:
    """A client that offers HTTP/2 is answered by HTTP/1.1, whose idle connections end."""
    context = trusting()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with serving(app, files.opened()) as port, connected(port, context) as client:
        assert client.selected_alpn_protocol() == "http/1.1"
        client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.0 200 OK"


@pytest.mark.integration
def test_idle_connections(app: InProcessServer, files: PairOfFiles) -> None:
    """Connections that send nothing after the handshake end by themselves."""
    with serving(app, files.opened(), 0.2) as port, ExitStack() as stack:
        for client in [stack.enter_context(connected(port)) for _ in range(20)]:
            assert client.recv(1000) == b""


@pytest.mark.integration
@pytest.mark.parametrize("path", [PAGE, "/none/", "/project/no%00name/"])
def test_https_only(app: InProcessServer, files: PairOfFiles, path: str) -> None:
    """Browsers are told to come by https for a year; not to a name of their own machine."""
    other, local = ("packages.acme.dev", "packages.acme.dev:8443", "192.0.2.1"), (
        "localhost", "LOCALHOST.:8443", "x.localhost", "127.0.0.1", "127.9.9.9:1", "[::1]:8443"
    )  # fmt: skip
    with serving(app, files.opened()) as port, closing(Connection(port)) as client:
        sent = {host: client.headers(path, host) for host in (*other, *local) for _ in range(2)}

    assert {sent[host] for host in other} == {"max-age=31536000"}
    assert {sent[host] for host in local} == {None}


@contextmanager
def connected(port: int, context: ssl.SSLContext | None = None) -> Iterator[ssl.SSLSocket]:
    """Connect to a port of this machine, and shake hands."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as plain:
        chosen = context or trusting()
        with chosen.wrap_socket(plain, server_hostname="127.0.0.1") as client:
            yield client
