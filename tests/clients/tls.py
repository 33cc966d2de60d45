"""Certificates, and a proxy that speaks TLS for a plain server, as stands before many an index."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
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
        attributes = {"context": context, "place": server, "heard": proxy.heard}
        listener.RequestHandlerClass = type("Handler", (_Handler,), attributes)
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
            with socket.create_connection((host, int(port)), TIMEOUT_SECONDS) as far:
                answering = Thread(target=_pass_on, args=(far, near, self.heard))
                answering.start()
                _pass_on(near, far, [])
                answering.join()


def _pass_on(source: socket.socket, target: socket.socket, heard: list[bytes]) -> None:
    """Forward the bytes of one side until its end."""
    with suppress(OSError):
        while piece := source.recv(CHUNK):
            heard.append(piece)
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Authority:
    """An authority that issues certificates for loopback."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Tests of wheelyard")
        root = _certificate(self._name, self._name, self._key, path_length=0)
        usage = dict.fromkeys(
            [
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ],
            False,
        )
        allowed = x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True)
        root = root.add_extension(allowed, critical=True)
        self.pem = root.sign(self._key, SHA256()).public_bytes(Encoding.PEM)

    def issue(
        self,
        *names: x509.GeneralName,
        key: CertificateIssuerPrivateKeyTypes | None = None,
        days: tuple[int, int] = (-1, 30),
    ) -> tuple[bytes, bytes]:
        """Return a certificate, for 127.0.0.1 if no name is given, and its key."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        there = x509.SubjectAlternativeName(names or [x509.IPAddress(ip_address("127.0.0.1"))])
        leaf = _certificate(_name("127.0.0.1"), self._name, key, path_length=None, days=days)
        # Python from 3.13 on wants the identifier, too
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        leaf = leaf.add_extension(there, critical=False).add_extension(issuer, critical=False)
        signed = leaf.sign(self._key, SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return signed.public_bytes(Encoding.PEM), private


@cache
def _certificates() -> tuple[bytes, bytes]:
    """Return an authority's certificate, and a certificate by it with its key, for loopback."""
    authority = Authority()
    return authority.pem, b"".join(authority.issue())


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificateIssuerPrivateKeyTypes,
    path_length: int | None,
    days: tuple[int, int] = (-1, 1),
) -> x509.CertificateBuilder:
    today = system_runtime().now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today + days[0] * DAY)
        .not_valid_after(today + days[1] * DAY)
        .add_extension(x509.BasicConstraints(path_length is not None, path_length), critical=True)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
