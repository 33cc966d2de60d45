"""Where Google is asked about credentials."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GoogleEndpoints:
    """
    The URLs of Google's that credentials are checked at.

    Args:
        keys: The keys that sign ID tokens.
        iap_keys: The keys that sign the assertions of Identity-Aware Proxy.
        storage: Scheme and host of Cloud Storage, which is asked about a bucket.
        tokeninfo: Tells the scopes of an access token.
    """

    keys: str = "https://www.googleapis.com/oauth2/v3/certs"
    iap_keys: str = "https://www.gstatic.com/iap/verify/public_key-jwk"
    storage: str = "https://storage.googleapis.com"
    tokeninfo: str = "https://oauth2.googleapis.com/tokeninfo"


GOOGLE = GoogleEndpoints()
"""Google itself."""


def stand_in_at(url: str) -> GoogleEndpoints:
    """Return the endpoints of one server that stands in for Google."""
    return GoogleEndpoints(f"{url}/keys", f"{url}/keys", url, f"{url}/tokeninfo")
