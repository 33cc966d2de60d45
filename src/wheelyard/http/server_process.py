"""
What a server process sets up: its certificate, and the memory allocator of the C library.

What is accepted here, the TLS library of the web server (rustls with ring) accepts as well.
"""

import ctypes
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
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
from cryptography.x509 import Version, load_pem_x509_certificates

from wheelyard.authentication.verifiers.verifier import FaultBeside, ParsedFile, ReloadingFile
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid
from wheelyard.model.decoding import escaped
from wheelyard.settings.sections import Settings

EXPIRY_WARNING: Final = timedelta(days=14)
RSA_BITS: Final = range(2048, 4097)
CURVES: Final = ("secp256r1", "secp384r1")
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
    """Read and return the files of `[server] certificate` and `key`; raise Invalid if invalid."""
    server = settings.server
    parse = partial(_parse, Path(server.certificate), runtime.now)
    return ReloadingFile(Path(server.key), parse, runtime.monotonic, (Path(server.certificate),))


def _parse(
    path: Path, now: Callable[[], datetime], key_text: str, chain_text: str
) -> ParsedFile[TlsCertificate]:
    """
    Return the certificate of two texts in PEM; raise Invalid or FaultBeside.

    `path` is the certificate's, for messages.
    """
    shown, key = escaped(str(path)), _parse_key(key_text)
    try:
        chain = load_pem_x509_certificates(chain_text.encode())
    except ValueError:
        chain = []
    if not chain:
        raise FaultBeside(f"{shown}: There is no whole certificate in it. Put one there, in PEM.")
    leaf = chain[0]
    if leaf.version != Version.v3:
        raise FaultBeside(f"{shown}: The certificate is of version 1. Make one of version 3.")
    if leaf.public_key() != key.public_key():
        raise Invalid(
            f"It is not the key of the first certificate in {shown}. Put the two there that "
            "belong together."
        )
    expires, begins = leaf.not_valid_after_utc, leaf.not_valid_before_utc
    if not begins <= now() <= expires:
        when = f"from {begins:%Y-%m-%d %H:%M} to {expires:%Y-%m-%d %H:%M} UTC"
        raise FaultBeside(f"{shown}: The certificate is valid {when} only. Put a valid one there.")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem += b"".join(each.public_bytes(Encoding.PEM) for each in chain)
    is_soon = expires - now() <= EXPIRY_WARNING
    warning = f"the certificate expires at {expires:%Y-%m-%d %H:%M} UTC; renew it"
    return ParsedFile(TlsCertificate(pem, expires), (warning,) if is_soon else ())


def _parse_key(text: str) -> _PrivateKey:
    # what stands before it may be a certificate, or the parameters of a curve
    start = max(0, text.rfind("-----BEGIN", 0, text.find(PRIVATE_KEY_END) + 1))
    try:
        key = load_pem_private_key(text[start:].encode(), None)
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


M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
"""glibc's numbers of its parameters (`malloc.h`)."""
LARGE_BLOCK_BYTES: Final = 1024 * 1024
"""Larger than the batches of an upload, smaller than a page of 2,000 files."""


def return_freed_memory() -> None:
    """
    Make glibc return the memory of freed large blocks, and share one heap between threads.

    By default, the first large page makes glibc keep such blocks, and each thread gets a heap of
    its own, with gaps of its own. Other C libraries have no `mallopt`, and nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):  # TypeError: on Windows
        library = ctypes.CDLL(None)
        library.mallopt(M_ARENA_MAX, 1)
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
