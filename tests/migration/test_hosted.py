"""Migration from hosted indexes, which are known by their URLs only."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.authentication.verifiers.fake_issuer import Bearer, running_issuer
from tests.clients.projects import Built, sha256
from tests.clients.reading import ErrorResponse, fetch
from tests.migration.conftest import NewGuide
from tests.migration.guide_runner import digests
from tests.sources.web.fake_server import FakeServer

pytestmark = pytest.mark.clients

THEN = datetime(2021, 4, 1, 12, 30, 15, tzinfo=UTC)
MODIFIED = "Thu, 01 Apr 2021 12:30:15 GMT"
READ, WRITE = "DEPLOY-TOKEN-OF-GEMFURY", "PUSH-TOKEN-OF-GEMFURY"
ACCESS_TOKEN = "ya29.a0_" + "x" * 60
BEARER = Bearer(frozenset({"storage.objects.get", "storage.objects.create"}))


def test_an_account_of_gemfury_is_taken_over(
    new_guide: NewGuide, site: FakeServer, old_release: Built, other: Built, python: Path
) -> None:
    """A Gemfury account's root, both tokens and one-file push go on; only the host changes."""
    stock = {"acme-core": old_release, "acme-tools": other}
    names = "".join(f'<a href="/acme/{name}/">{name}</a><br/>\n' for name in stock)
    site.page("/acme/", f"<html><body>{names}</body></html>")
    for name, built in stock.items():
        links = ""
        for number, file in enumerate((built.wheel, built.sdist)):
            path = f"/acme/-/ver_2f{number}Xk/{file.name}"
            site.file(path, file.read_bytes(), Last_Modified=MODIFIED)
            links += f'<a href="{path}">{file.name}</a><br/>\n'
        site.page(f"/acme/{name}/", f"<html><body>{links}</body></html>")
    stands_for = {"https://old.example.com": site.url}
    guide = new_guide("gemfury", stands_for, FURY_TOKEN=READ, PUSH_TOKEN=WRITE)

    assert "imported 4 files\n" in guide.type("Import")
    assert None not in site.logins("/acme/") + site.logins("/acme/acme-core/")
    guide.write("Server configuration")
    with guide.serving() as server:
        output = guide.type("Client configuration")
        with pytest.raises(ErrorResponse, match="401"):
            fetch(f"{server.url}/acme/acme-core/")

    assert "acme_core-1.1.tar.gz ... ok" in output
    old_release.assert_installed(python)
    files = guide.files("acme-core")
    assert files[old_release.wheel.name].uploaded_at == THEN
    assert files["acme_core-1.1-py3-none-any.whl"].uploaded_by == "static:push"
    assert {name: file.sha256 for name, file in guide.files("acme-tools").items()} == digests(other)


@pytest.mark.weekly
def test_an_artifact_registry_is_taken_over(
    new_guide: NewGuide, site: FakeServer, old_release: Built, other: Built, python: Path
) -> None:
    """Paths of Artifact Registry and Google's access tokens go on, and digests are compared."""
    stock = {"acme-core": old_release, "acme-tools": other}
    root = "/acme/python"
    names = "".join(f'<a href="{name}/">{name}</a>\n' for name in stock)
    site.page(f"{root}/simple/", f"<!DOCTYPE html>\n<html><body>{names}</body></html>")
    for name, built in stock.items():
        links = ""
        for file in (built.wheel, built.sdist):
            site.file(f"{root}/{name}/{file.name}", file.read_bytes())
            link = f"../../{name}/{file.name}#sha256={sha256(file)}"
            links += f'<a href="{link}" data-requires-python="&gt;=3.9">{file.name}</a>\n'
        site.page(f"{root}/simple/{name}/", f"<!DOCTYPE html>\n<html><body>{links}</body></html>")
    guide = new_guide("artifact-registry", {"https://old.example.com": site.url})
    guide.add_program("gcloud", f'test "$*" = "auth print-access-token" && echo {ACCESS_TOKEN}; :')

    assert "imported 4 files\n" in guide.type("Import")
    guide.write("Server configuration")
    with running_issuer() as google:
        google.bearers[ACCESS_TOKEN] = BEARER
        google.bucket = "acme-wheelyard-authz"
        with (guide.settings / "wheelyard.toml").open("a") as settings:
            settings.write("\n[google]\nallow_private = true\n")
        with guide.serving(**google.environment) as server:
            guide.type("Client configuration")
            with pytest.raises(ErrorResponse, match="401"):
                fetch(f"{server.url}{root}/simple/acme-core/")

    old_release.assert_installed(python)
    assert "acme_core-1.1.tar.gz" in guide.files("acme-core")
    assert {name: file.sha256 for name, file in guide.files("acme-tools").items()} == digests(other)
