"""TLS by the server itself: which certificates it takes, and a change of them."""

import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from signal import SIGHUP
from threading import Event, Thread
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from granian.http import HTTP1Settings

from tests.clients.harness import REPOSITORY, SOURCE, Sandbox, system_program
from tests.clients.tls import Authority
from tests.http.in_process import InProcessServer, in_process
from tests.http_server import WHEELYARD, is_listening, running_program, serving_app
from tests.ports import free_port
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.errors import Invalid
from wheelyard.http.app import App
from wheelyard.http.forms import HttpsOnly
from wheelyard.http.server_process import served_app
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.wiring.stores import system_runtime
from wheelyard.wiring.tls_files import TlsFiles, open_tls_files

AUTHORITY = Authority()
PAGE = "/simple/"
VERSION_1 = b"""\
-----BEGIN CERTIFICATE-----
MIIBEjCBuQIUXKE6KYSGYLBJYlz9/p1hg/tJJvAwCgYIKoZIzj0EAwIwDDEKMAgG
A1UEAwwBYTAeFw0yNjExMjgxMDM3MTJaFw0zNjExMjUxMDM3MTJaMAwxCjAIBgNV
BAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQpEJrKUtCtlnpF4R+1qZv/
AA0rRzMRrZJlNyQ3vrxlFyNZGihG0e8uuzsxcmI9HXstZe/9eQMswlmjggA86sqI
MAoGCCqGSM49BAMCA0gAMEUCIAK6BUOF74LDUzPW9vnjIGk/Vlu2TKCP3HVun7RO
WF/+AiEAnU/sQIECaVLm43D9u58C1OUVQ19AZOeUANtIbJz1B/E=
-----END CERTIFICATE-----
"""
"""A certificate as `openssl x509 -req` makes it without extensions."""


class PairOfFiles:
    """The two files of `[server] certificate` and `key`."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "chain.pem", folder / "key.pem"

    def write(self, certificate: bytes, key: bytes) -> None:
        """Replace both."""
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)
        self.key.chmod(0o600)

    def opened(self) -> TlsFiles:
        """Open them as a server does."""
        server = ServerSettings(certificate=str(self.certificate), key=str(self.key))
        return open_tls_files(Settings(server=server), system_runtime())


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
        (lambda good: (good[0][:300], good[1]), "^[^ ]*chain.pem: There is no whole certificate"),
        (lambda good: (good[0], good[1][:100]), "no whole private key"),
        (lambda good: (good[0], b""), "no whole private key"),
        (lambda good: (b"\x30\x82\xff", good[1]), "chain.pem: Line 1 is not UTF-8"),
        (lambda good: (good[1], good[1]), "no whole certificate"),
        (lambda good: (good[0], _locked(good[1])), "has a password"),
        (
            lambda _: AUTHORITY.issue(days=(-9, -2)),
            "^[^ ]*chain.pem: .* only. Put a valid one there",
        ),
        (lambda _: AUTHORITY.issue(days=(2, 9)), "only. Put a valid one there"),
        (lambda _: _issued_with(ec.generate_private_key(ec.SECP521R1())), "of a kind"),
        (lambda _: _issued_with(ed448.Ed448PrivateKey.generate()), "of a kind"),
        (
            lambda good: (VERSION_1, good[1]),
            "^[^ ]*chain.pem: The certificate is of version 1. Make one of version 3",
        ),
    ],
    ids=[
        "another key",
        "half a certificate",
        "half a key",
        "no key",
        "no text",
        "a key as certificate",
        "a password",
        "too old",
        "too new",
        "P-521",
        "Ed448",
        "version 1",
    ],
)
def test_bad_certificate_stops_the_start(
    files: PairOfFiles, broken: Callable[[Pair], Pair], message: str
) -> None:
    """A certificate that clients would refuse stops the start, with one line that says why."""
    files.write(*broken(AUTHORITY.issue()))

    with pytest.raises(Invalid, match=message) as caught:
        files.opened()

    assert caught.value.code == "bad_setting"
    assert str(files.key.parent) in caught.value.message


@pytest.mark.integration
def test_documented_commands_make_a_valid_pair(tmp_path: Path) -> None:
    """The lines for an own authority make a pair that the server takes and clients verify."""
    system_program("openssl")
    page = (REPOSITORY / "docs" / "tls.md").read_text().partition("## An own authority")[2]
    blocks = re.findall(r"```sh\n(openssl .*?|cat .*?)```", page, re.DOTALL)
    run = ["bash", "-ec", "".join(blocks)]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "key.pem").chmod(0o640)

    opened = PairOfFiles(tmp_path).opened()

    assert [warning for warning in opened.warnings if "chmod" not in warning] == []
    strict = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", "chain.pem"]
    subprocess.run(strict, cwd=tmp_path, check=True, capture_output=True)


def test_missing_file_is_named(files: PairOfFiles) -> None:
    """A file that is missing is named."""
    files.certificate.unlink()

    with pytest.raises(Invalid, match=f"{files.certificate} cannot be read: No such file"):
        files.opened()


def test_open_key_and_soon_end_are_warned_of(files: PairOfFiles) -> None:
    """The operator is warned of an open key and a soon end."""
    files.write(*AUTHORITY.issue(days=(-1, 3)))
    files.key.chmod(0o644)
    opened = files.opened()

    may_read, expires = (warning.removeprefix(f"{files.key}: ") for warning in opened.warnings)
    assert may_read.startswith("every user of this machine ")
    assert expires.startswith(f"its certificate {files.certificate} expires at ")


@contextmanager
def serving(app: InProcessServer, files: PairOfFiles, **options: object) -> Iterator[int]:
    """Serve over TLS on a thread of its own, with options of Granian."""
    pem = files.certificate.with_name("both.pem")
    pem.write_bytes(files.opened().value.pem)
    with serving_app(HttpsOnly(app.app), pem, **options) as settings:
        yield settings.port


def asked_as_clients_do(port: int) -> str:
    """Ask, and a second time if the connection breaks while it is opened."""
    with suppress(OSError, HTTPException):
        return shown_at(port)
    return shown_at(port)


class Connection(HTTPSConnection):
    """A connection over TLS that trusts the authority of these tests."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port, context=trusting(), timeout=60)
        self.connect()

    def ask(self) -> str:
        """Ask for a page; return the certificate that the server showed when it was connected."""
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
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_loads_a_changed_certificate(
    sandbox: Sandbox, files: PairOfFiles, workers: str
) -> None:
    """At SIGHUP new connections get a changed certificate if it is good; no client notices."""
    port, log = free_port(), sandbox.folder / "log.txt"
    (sandbox.folder / "wheelyard.toml").write_text(
        f'[server]\ncertificate = "{files.certificate}"\nkey = "{files.key}"\n'
    )
    asked, failures, ended = partial(asked_as_clients_do, port), list[Exception](), Event()
    first, second = files.certificate.read_text(), AUTHORITY.issue()

    def ask_on() -> None:
        while not ended.is_set():
            try:
                asked_as_clients_do(port)
            except (OSError, HTTPException) as error:
                failures.append(error)

    askers = [Thread(target=ask_on) for _ in range(3)]
    command = (*WHEELYARD, "serve", "--port", str(port))
    up = partial(is_listening, ("127.0.0.1", port))
    with running_program(sandbox, [*command, "--workers", workers], log, up, SOURCE) as process:
        for asker in askers:
            asker.start()
        files.certificate.write_bytes(second[0])  # whose key is still missing
        process.send_signal(SIGHUP)
        until(lambda: "The certificate before stays in force" in log.read_text())
        assert asked() == first
        files.write(*second)
        process.send_signal(SIGHUP)
        until(lambda: {asked() for _ in range(20)} == {second[0].decode()}, log.read_text)
        ended.set()
        for asker in askers:
            asker.join()

    assert failures == []


def shown_at(port: int) -> str:
    """Ask by a new connection; return the certificate that the server shows."""
    with closing(Connection(port)) as client:
        return client.ask()


EACH_KEY = pytest.mark.parametrize(
    "create_key",
    [
        partial(ec.generate_private_key, ec.SECP384R1()),
        partial(rsa.generate_private_key, 65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
    ],
    ids=["P-384", "RSA", "Ed25519"],
)
"""The kinds of keys that are taken beside that of all other tests."""


@EACH_KEY
def test_each_documented_key_is_taken(
    files: PairOfFiles, create_key: Callable[[], CertificateIssuerPrivateKeyTypes]
) -> None:
    """A pair with a key of each kind that the documentation names is opened."""
    certificate, key = _issued_with(create_key())
    files.write(certificate, key)

    assert files.opened().warnings == ()


@EACH_KEY
@pytest.mark.integration
def test_each_accepted_key_speaks_tls(
    app: InProcessServer,
    files: PairOfFiles,
    create_key: Callable[[], CertificateIssuerPrivateKeyTypes],
) -> None:
    """Each kind of key that is taken is one that the server can speak TLS with."""
    files.write(*_issued_with(create_key()))
    with serving(app, files) as port, closing(Connection(port)) as client:
        assert client.ask()


@pytest.mark.integration
def test_tls_speaks_http_1_1(app: InProcessServer, files: PairOfFiles) -> None:
    """A client that offers HTTP/2 is answered by HTTP/1.1, whose idle connections end."""
    context = trusting()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with serving(app, files) as port, connected(port, context) as client:
        assert client.selected_alpn_protocol() == "http/1.1"
        client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.0 200 OK"


@pytest.mark.integration
def test_idle_connection_ends(app: InProcessServer, files: PairOfFiles) -> None:
    """Connections that send nothing after the handshake end by themselves."""
    settings = HTTP1Settings(header_read_timeout=200)
    with serving(app, files, http1_settings=settings) as port, ExitStack() as stack:
        for client in [stack.enter_context(connected(port)) for _ in range(20)]:
            assert client.recv(1000) == b""


@pytest.mark.parametrize(
    ("certificate", "said"),
    [("chain.pem", "max-age=31536000"), ("", None)],
    ids=["with-a-certificate", "behind-a-proxy"],
)
def test_only_a_server_with_a_certificate_speaks_of_https(
    app: InProcessServer, certificate: str, said: str | None
) -> None:
    """A server without a certificate leaves it to the proxy whether browsers use https alone."""
    settings = Settings(server=ServerSettings(certificate=certificate))
    served = replace(app, app=cast("App", served_app(app.app, settings)))

    answer = served.get(PAGE, host="packages.acme.dev")

    assert (answer.status, answer.headers.get("strict-transport-security")) == (200, said)


@pytest.mark.integration
@pytest.mark.parametrize("path", [PAGE, "/none/", "/project/no%00name/"])
def test_browsers_are_told_to_use_https(
    app: InProcessServer, files: PairOfFiles, path: str
) -> None:
    """Browsers are told to come by https for a year; not to a name of their own machine."""
    other, local = ("packages.acme.dev", "packages.acme.dev:8443", "192.0.2.1"), (
        "localhost", "LOCALHOST.:8443", "x.localhost", "127.0.0.1", "127.9.9.9:1", "[::1]:8443"
    )  # fmt: skip
    with serving(app, files) as port, closing(Connection(port)) as client:
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
