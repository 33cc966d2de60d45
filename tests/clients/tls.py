"""A proxy that speaks TLS for a plain server, as stands before any index that CI jobs reach."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from socket import SHUT_WR, create_connection, socket
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from wheelyard.wiring.stores import system_runtime

TIMEOUT_SECONDS = 120.0
CHUNK = 65_536
DAY = timedelta(days=1)


@dataclass
class Proxy:
    """A running proxy."""

    address: str
    authority: Path
    """The certificate of its authority, for `SSL_CERT_FILE`."""
    heard: list[bytes] = field(default_factory=list)
    """All bytes that the server sent through it."""

    @property
    def url(self) -> str:
        """The root URL, without a trailing slash."""
        return f"https://{self.address}"


@contextmanager
def running_proxy(folder: Path, server: str) -> Iterator[Proxy]:
    """Speak TLS for the server at an address, until the test is over."""
    authority, chain = folder / "authority.pem", folder / "server.pem"
    for path, text in zip((authority, chain), _certificates(), strict=True):
        path.write_bytes(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    with _Server(("127.0.0.1", 0), BaseRequestHandler) as listener:
        proxy = Proxy(f"127.0.0.1:{listener.server_address[1]}", authority)
        made = {"context": context, "place": server, "heard": proxy.heard}
        listener.RequestHandlerClass = type("Handler", (_Handler,), made)
        thread = Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown()
            thread.join()


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = True


class _Handler(BaseRequestHandler):
    context: ssl.SSLContext
    place: str
    heard: list[bytes]

    def handle(self) -> None:
        host, _, port = self.place.partition(":")
        with suppress(OSError), self.context.wrap_socket(self.request, server_side=True) as near:
            near.settimeout(TIMEOUT_SECONDS)
            with create_connection((host, int(port)), TIMEOUT_SECONDS) as far:
                answering = Thread(target=_pass_on, args=(far, near, self.heard))
                answering.start()
                _pass_on(near, far, [])
                answering.join()


def _pass_on(source: socket, target: socket, heard: list[bytes]) -> None:
    """Forward the bytes of one side until its end."""
    with suppress(OSError):
        while piece := source.recv(CHUNK):
            heard.append(piece)
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(SHUT_WR)


@cache
def _certificates() -> tuple[bytes, bytes]:
    """Return an authority's certificate, and a certificate by it with its key, for loopback."""
    authority, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    issuer = _name("Tests of wheelyard")
    root = _certificate(issuer, issuer, authority, path_length=0).sign(authority, SHA256())
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    leaf = _certificate(_name("127.0.0.1"), issuer, key, path_length=None)
    signed = leaf.add_extension(here, critical=False).sign(authority, SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return root.public_bytes(Encoding.PEM), signed.public_bytes(Encoding.PEM) + private


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, path_length: int | None
) -> x509.CertificateBuilder:
    today = system_runtime().now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - DAY)
        .not_valid_after(today + DAY)
        .add_extension(x509.BasicConstraints(path_length is not None, path_length), critical=True)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
