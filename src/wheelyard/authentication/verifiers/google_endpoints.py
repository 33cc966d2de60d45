"""
The URLs of Google that verifiers fetch.

The settings and the wiring of a process name these URLs, and load no cryptography for that. So the
URLs have a module of their own.
"""

from msgspec import Struct


class GoogleEndpoints(Struct, frozen=True):
    """The URLs of Google that the verifiers of Google credentials fetch."""

    keys: str = "https://www.googleapis.com/oauth2/v3/certs"
    """Public keys of ID tokens."""
    iap_keys: str = "https://www.gstatic.com/iap/verify/public_key-jwk"
    """Public keys of the assertions of Identity-Aware Proxy."""
    storage: str = "https://storage.googleapis.com"
    """Scheme and host of Cloud Storage, for the permissions on a bucket."""
    tokeninfo: str = "https://oauth2.googleapis.com/tokeninfo"
    """The scopes of an access token."""


GOOGLE = GoogleEndpoints()
"""The real endpoints."""


def endpoints_at(url: str) -> GoogleEndpoints:
    """Return endpoints on the server at `url`, which takes the place of Google in tests."""
    return GoogleEndpoints(f"{url}/keys", f"{url}/keys", url, f"{url}/tokeninfo")
