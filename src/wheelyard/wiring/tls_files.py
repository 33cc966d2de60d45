"""
Parses the certificate and the private key of a server, whose files are read again when they change.

Each certificate that is accepted here is accepted by the TLS library of the web server (rustls with
ring), too.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import Certificate, Version, load_pem_x509_certificates
from msgspec import Struct

from wheelyard.authentication.verifiers.reloading_file import FaultBeside, ParsedFile, ReloadingFile
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid
from wheelyard.model.decoding import escaped
from wheelyard.settings.sections import Settings

EXPIRY_WARNING: Final = timedelta(days=14)
"""How long before a certificate expires a warning begins to say so."""
RSA_BITS: Final = range(2048, 4097)
"""The sizes of RSA keys that are accepted."""
CURVES: Final = ("secp256r1", "secp384r1")
"""The curves that are accepted, P-256 and P-384, by their names in the library."""
KEY_ADVICE: Final = "Make one for RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519"
PRIVATE_KEY_END: Final = "PRIVATE KEY-----"

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """A certificate with its chain and its private key, in PEM, that clients can verify now."""

    pem: bytes = field(repr=False)
    """The private key, then the chain."""
    expires: datetime


TlsFiles = ReloadingFile[TlsCertificate]


def open_tls_files(settings: Settings, runtime: Runtime) -> TlsFiles:
    """
    Read and return the files of `[server] certificate` and `key`.

    Raises Invalid (code `bad_setting`) if a file cannot be read, or clients cannot verify the
    certificate now.
    """
    path = Path(settings.server.certificate)
    parser = _CertificateParser(path, runtime)
    return ReloadingFile(Path(settings.server.key), parser.parse, runtime.monotonic, (path,))


class _CertificateParser(Struct, frozen=True):
    """Parses a certificate and its key, both in PEM."""

    path: Path
    """The path of the certificate, for messages."""
    runtime: Runtime

    def parse(self, key_text: str, chain_text: str) -> ParsedFile[TlsCertificate]:
        """
        Return the certificate with its key.

        Raises Invalid for a wrong key, and FaultBeside for a wrong certificate.
        """
        return _parse(escaped(str(self.path)), self.runtime.now(), key_text, chain_text)


def _parse(path: str, now: datetime, key_text: str, chain_text: str) -> ParsedFile[TlsCertificate]:
    """
    Return the certificate of a server with its chain and its key.

    `path` is that of the certificate, for messages. Raises FaultBeside if the certificate is wrong
    or not valid `now`, and Invalid if the key cannot be used or is that of another certificate.
    """
    key = _parse_key(key_text)
    chain = _parse_chain(path, chain_text)

    # RFC 8446: the certificate of the server comes first, and then those that certify it
    leaf = chain[0]
    if leaf.version != Version.v3:
        raise FaultBeside(f"{path}: The certificate is of version 1. Make one of version 3.")
    if leaf.public_key() != key.public_key():
        raise Invalid(
            f"It is not the key of the first certificate in {path}. Put the two there that "
            "belong together."
        )

    # Each client would refuse the certificate. A server does not start with it; one that runs
    # keeps the certificate before.
    expires = leaf.not_valid_after_utc
    begins = leaf.not_valid_before_utc
    if not begins <= now <= expires:
        when = f"from {begins:%Y-%m-%d %H:%M} to {expires:%Y-%m-%d %H:%M} UTC"
        raise FaultBeside(f"{path}: The certificate is valid {when} only. Put a valid one there.")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem += b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
    warnings = list[str]()
    if expires - now <= EXPIRY_WARNING:
        warnings.append(f"its certificate {path} expires at {expires:%Y-%m-%d %H:%M} UTC; renew it")
    return ParsedFile(TlsCertificate(pem, expires), tuple(warnings))


def _parse_chain(path: str, text: str) -> list[Certificate]:
    """Return the certificates in a text, or raise FaultBeside if it has none."""
    try:
        chain = load_pem_x509_certificates(text.encode())
    except ValueError:
        chain = []
    if not chain:
        raise FaultBeside(f"{path}: There is no whole certificate in it. Put one there, in PEM.")
    return chain


def _parse_key(text: str) -> _PrivateKey:
    """Return the private key in a text. Raises Invalid if it has no key that can be used."""
    # a certificate, or the parameters of a curve, may come before the key
    end_of_header = text.find(PRIVATE_KEY_END)
    start_of_key = max(0, text.rfind("-----BEGIN", 0, end_of_header + 1))
    try:
        key = load_pem_private_key(text[start_of_key:].encode(), None)
    except TypeError:
        reason = Invalid(
            "The private key in it has a password, which nobody could type at a start. Write it "
            "without one: openssl pkey -in FILE -out NEW."
        )
    except (ValueError, UnsupportedAlgorithm):
        reason = Invalid("There is no whole private key in it. Put one there, in PEM.")
    else:
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key
        if isinstance(key, rsa.RSAPrivateKey) and key.key_size in RSA_BITS:
            return key
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
            return key
        reason = Invalid(f"The private key in it is of a kind that is not spoken. {KEY_ADVICE}.")
    raise reason  # outside of the handler: the library's error may quote the key
