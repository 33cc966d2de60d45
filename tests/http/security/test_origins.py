"""Which origins in the headers of a browser are this index's own."""

import pytest

from wheelyard.http.forms import is_cross_site, is_same_origin
from wheelyard.settings.sections import ServerSettings, Settings

PUBLIC = "https://packages.acme.dev"


@pytest.mark.parametrize(
    ("origin", "host", "is_other"),
    [
        (PUBLIC, "packages.acme.dev", False),
        (PUBLIC, "10.0.0.7:8080", False),
        ("http://10.0.0.7:8080", "10.0.0.7:8080", False),
        ("http://packages.acme.dev", "packages.acme.dev", True),
        ("https://evil.example", "packages.acme.dev", True),
        ("null", "packages.acme.dev", True),
        ("ftp://10.0.0.7", "10.0.0.7", True),
        ("https://", "packages.acme.dev", True),
        ("https://", "", True),
        ("", "", True),
    ],
)
def test_an_origin_is_that_of_the_index(origin: str, host: str, *, is_other: bool) -> None:
    """Pages under `public_url`, or under the host that was asked, may change things; no others."""
    headers = {b"origin": origin.encode(), b"host": host.encode()}
    server = ServerSettings(public_url=PUBLIC)

    assert is_cross_site(headers, Settings(server=server)) is is_other
    assert is_same_origin(headers, server) is not is_other
