"""How the tests ask servers on this machine over plain HTTP."""

import ssl
from typing import Any

# by default a client loads all certificate authorities of the machine, which takes 20 ms
LOCALLY: dict[str, Any] = {
    "trust_env": False,
    "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
}
"""For a client of httpx2: no proxies, no netrc, and nobody is trusted over TLS."""
