"""Where Google is asked about credentials."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GoogleEndpoints:
    """The URLs of Google's that credentials are checked at."""

    keys: str = "https://www.googleapis.com/oauth2/v3/certs"
    """The keys that sign ID tokens."""
    iap_keys: str = "https://www.gstatic.com/iap/verify/public_key-jwk"
    """The keys that sign the assertions of Identity-Aware Proxy."""
    storage: str = "https://storage.googleapis.com"
    """Scheme and host of Cloud Storage, which is asked about a bucket."""
    tokeninfo: str = "https://oauth2.googleapis.com/tokeninfo"
    """Tells the scopes of an access token."""


GOOGLE = GoogleEndpoints()
"""Google itself."""


def stand_in_at(url: str) -> GoogleEndpoints:
    """Return the endpoints of one server that stands in for Google."""
    return GoogleEndpoints(f"{url}/keys", f"{url}/keys", url, f"{url}/tokeninfo")
