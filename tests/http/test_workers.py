"""Several processes behind one address: what one has taken, all of them show at once."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.http.packages import post, publish, wheel
from tests.http.servers import Site, running_site

V1_JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A private server of three processes."""
    with running_site(tmp_path_factory.mktemp("workers"), "--private", "--workers", "3") as site:
        yield site


def asked_anew(site: Site, path: str, token: str) -> list[httpx2.Response]:
    """Ask over several new connections, which different processes take."""
    headers = {"Accept": V1_JSON, "Authorization": f"Bearer {token}"}
    return [
        httpx2.get(f"{site.url}{path}", headers=headers, trust_env=False, timeout=30)
        for _ in range(6)
    ]


def test_upload_is_seen_by_every_process(site: Site) -> None:
    """Right after the answer to an upload, every process lists the file and hands it out."""
    for number in range(4):
        package = wheel("shared", f"1.{number}")
        publish(site, package)
        for answer in asked_anew(site, "/simple/shared/", site.token):
            assert len(answer.json()["files"]) == number + 1
        for answer in asked_anew(site, f"/packages/{package.filename}", site.token):
            assert answer.content == package.data


def test_change_is_seen_by_every_process(site: Site) -> None:
    """A yank, a deletion and a new project are seen by every process at once."""
    publish(site, wheel("changing"))
    for answer in asked_anew(site, "/simple/", site.token):
        assert {"name": "changing"} in answer.json()["projects"]
    site.change("changing", "yank", version="1.0")
    for answer in asked_anew(site, "/simple/changing/", site.token):
        assert answer.json()["files"][0]["yanked"] is True
    site.change("changing", "delete", version="1.0")
    for answer in asked_anew(site, "/packages/changing-1.0-py3-none-any.whl", site.token):
        assert answer.status_code == 404
    for _ in range(6):
        assert post(site, wheel("changing")).status_code == 400


def test_revocation_is_seen_by_every_process(site: Site) -> None:
    """A token that was revoked opens nothing, whichever process is asked."""
    token = site.make_token()
    assert {answer.status_code for answer in asked_anew(site, "/simple/", token)} == {200}
    site.index.tokens.revoke(token[4:14], by="local:test")
    assert {answer.status_code for answer in asked_anew(site, "/simple/", token)} == {401}
