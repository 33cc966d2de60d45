"""
Signed URLs of Cloud Storage, version 4: pure functions from what is asked to a URL.

The time of signing is an argument. `quantised` rounds it down, so that everybody who asks within a
window gets the same URL, which caches of clients know again. Reference: "Signatures" and
"Canonical requests" in the documentation of Cloud Storage.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final
from urllib.parse import quote

ALGORITHM: Final = "GOOG4-RSA-SHA256"
LONGEST: Final = timedelta(days=7)
"""The service refuses a URL that is to live longer."""
PAYLOAD_HEADER: Final = "x-goog-content-sha256"

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request that a URL is to allow."""

    method: str
    host: str
    """With its port, if it is not the scheme's own."""
    path: str
    """Quoted, as `object_path` makes it."""
    signed_at: datetime
    """With a time zone; whole seconds count."""
    lifetime: timedelta
    """1 second to 7 days, in whole seconds."""
    headers: Pairs = ()
    """What the client has to send besides `host`, letter for letter."""
    query: Pairs = ()
    """Unquoted."""
    scheme: str = "https"

    def __post_init__(self) -> None:
        if not timedelta(seconds=1) <= self.lifetime <= LONGEST:
            raise ValueError(f"a signed URL lives 1 second to 7 days, not {self.lifetime}")
        if self.signed_at.tzinfo is None:
            raise ValueError("the time of signing has no time zone")


def quantised(now: float, lifetime: timedelta) -> datetime:
    """
    Return the time to sign at: `now`, rounded down to a multiple of half the lifetime.

    A URL signed then lives at least half its lifetime from now on, and is never of the future.

    Args:
        now: Seconds since the epoch.
        lifetime: At least 1 second.
    """
    window = max(1, _seconds(lifetime) // 2)
    return datetime.fromtimestamp(int(now) // window * window, UTC)


def object_path(bucket: str, name: str) -> str:
    """Return the path of an object at the host that serves every bucket, quoted once."""
    return f"/{_quoted(bucket)}/{quote(name, safe='/~')}"


def string_to_sign(ask: Ask, email: str) -> str:
    """Return what the service account `email` has to sign for the request to be allowed."""
    canonical = sha256(canonical_request(ask, email).encode()).hexdigest()
    return f"{ALGORITHM}\n{_stamp(ask)}\n{_scope(ask)}\n{canonical}"


def signed_url(ask: Ask, email: str, sign: Callable[[bytes], bytes]) -> str:
    """
    Return the URL that allows the request.

    Args:
        ask: The request.
        email: The service account that signs.
        sign: Returns its signature of a message, RSA PKCS #1 v1.5 with SHA-256. What it raises
            passes through.
    """
    signature = sign(string_to_sign(ask, email).encode()).hex()
    query = _canonical_query(ask, email)
    return f"{ask.scheme}://{ask.host}{ask.path}?{query}&X-Goog-Signature={signature}"


def canonical_request(ask: Ask, email: str) -> str:
    """Return the request as the service writes it down before it checks a signature."""
    headers = _canonical_headers(ask)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    return "\n".join(
        (
            ask.method,
            ask.path,
            _canonical_query(ask, email),
            lines,
            ";".join(headers),
            headers.get(PAYLOAD_HEADER, "UNSIGNED-PAYLOAD"),
        )
    )


def _canonical_query(ask: Ask, email: str) -> str:
    own = (
        ("X-Goog-Algorithm", ALGORITHM),
        ("X-Goog-Credential", f"{email}/{_scope(ask)}"),
        ("X-Goog-Date", _stamp(ask)),
        ("X-Goog-Expires", str(_seconds(ask.lifetime))),
        ("X-Goog-SignedHeaders", ";".join(_canonical_headers(ask))),
    )
    pairs = sorted((_quoted(name), _quoted(value)) for name, value in (*ask.query, *own))
    return "&".join(f"{name}={value}" for name, value in pairs)


def _canonical_headers(ask: Ask) -> dict[str, str]:
    """Return the signed headers, sorted, their names small and their blanks collapsed."""
    values: dict[str, list[str]] = {"host": [_without_port(ask.host)]}
    for name, value in ask.headers:
        values.setdefault(name.lower(), []).append(" ".join(value.split()))
    return {name: ",".join(values[name]) for name in sorted(values)}


def _without_port(host: str) -> str:
    # the service signs for the name alone, though the URL keeps the port
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _scope(ask: Ask) -> str:
    return f"{_stamp(ask)[:8]}/auto/storage/goog4_request"


def _stamp(ask: Ask) -> str:
    return ask.signed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _seconds(lifetime: timedelta) -> int:
    return int(lifetime.total_seconds())


def _quoted(text: str) -> str:
    return quote(text, safe="~")
