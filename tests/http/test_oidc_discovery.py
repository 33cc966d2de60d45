"""What a server tells of trusted publishing, and where it is off."""

from pathlib import Path

import pytest

from tests.http.jobs import BURN, DISCOVERY, MINT, Ci, refused, running_ci
from tests.http.servers import Site
from wheelyard.settings.sections import AccessSettings, Settings

pytestmark = pytest.mark.integration

PYTP = "application/vnd.pypi.pytp.v1+json"


def test_off(site: Site) -> None:
    """An index without publishers says so at every step, in the form that clients read."""
    for answer in (
        site.get("/_/oidc/audience"),
        site.ask("POST", MINT),
        site.ask("POST", BURN),
        site.ask("POST", "/_/oidc/github/mint-token"),
    ):
        assert refused(answer, 404) == "not-enabled"
    gone = site.get(f"{DISCOVERY}?discover=%2Flegacy%2F")
    assert (gone.status_code, gone.headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("path", ["/legacy/", "/legacy", "/", "/simple/", "/pypi", "/acme/"])
@pytest.mark.parametrize("accept", [None, "*/*", PYTP, f"text/html, {PYTP};q=0.9"])
def test_discovery(ci: Ci, path: str, accept: str | None) -> None:
    """A client that knows an upload URL finds the steps from there (PEP 807)."""
    headers = {} if accept is None else {"Accept": accept}
    asked = {"discover": path}

    answer = ci.site.client.get(DISCOVERY, params=asked, headers={**headers, "Host": "evil.test"})

    assert answer.json() == {
        "audience-endpoint": "https://packages.example.com/_/oidc/audience",
        "token-mint-endpoint": "https://packages.example.com/_/oidc/mint-token",
        "features": ["multi-use-token"],
        "default-features": ["multi-use-token"],
    }


@pytest.mark.parametrize(
    "query",
    [
        *("", "discover", "discover=", "discover=%2Fsimple%2Fdemo%2F", "discover=%2Fhealth"),
        *("discover=%2Flegacy%2F&discover=%2F", "discover=%2F..%2F", "discover=%25zz", "x=%2F"),
        *("discover=%2F%252e%252e%2F", "discover=%2Fa%2Fb%2F", "discover=legacy", "&" * 2000),
        "discover=%2F%ff",
    ],
)
def test_what_takes_no_uploads(ci: Ci, query: str) -> None:
    """What is not the path of an upload URL leads nowhere."""
    answer = ci.site.get(f"{DISCOVERY}?{query}")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers.get_list("Cache-Control") == ["no-store"]


def test_discovery_in_other_forms(ci: Ci) -> None:
    """Discovery comes as JSON and as nothing else."""
    answer = ci.site.get(f"{DISCOVERY}?discover=%2Flegacy%2F", Accept="text/html")
    assert answer.status_code == 406


def test_discovery_names_no_host_that_a_request_made_up(fresh: Ci, tmp_path: Path) -> None:
    """Where the index does not know its own name, it does not take one from a request."""
    path = f"{DISCOVERY}?discover=%2Flegacy%2F"
    assert fresh.site.get(path).status_code == 404

    access = AccessSettings(trusted_hosts=("packages.acme.test",))
    with running_ci(tmp_path / "hosts", Settings(access=access)) as ci:
        found = ci.site.get(path, Host="packages.acme.test").json()
        assert found["audience-endpoint"] == "https://packages.acme.test/_/oidc/audience"
