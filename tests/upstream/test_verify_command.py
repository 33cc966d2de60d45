"""`wheelyard verify` of public files."""

import json
from dataclasses import replace

import pytest

from tests.attestations.authority import GITHUB, Authority, github, provenance_of
from tests.cli.conftest import Serve, Typed
from tests.cli.conftest import serve as _serve
from tests.cli.conftest import wheelyard as _wheelyard
from tests.clients.harness import Sandbox
from tests.index_tables import put_tables_at, toml_of
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel

pytestmark = pytest.mark.integration
wheelyard, serve = _wheelyard, _serve

SIGNED, UNSIGNED = public_wheel("requests", "2.0"), public_wheel("idna", "3.10")


def test_a_public_file_is_verified_by_a_server(
    serve: Serve, wheelyard: Typed, sandbox: Sandbox, upstream: FakeUpstream
) -> None:
    """A server has the provenance of a public file, also below an index, and a store has none."""
    authority, folder = Authority(), sandbox.folder
    provenance = provenance_of((GITHUB, authority.attest(SIGNED.filename, SIGNED.sha256, github())))
    upstream.publish(replace(FakeFile.of(SIGNED), provenance=provenance), FakeFile.of(UNSIGNED))
    (folder / "root.json").write_text(authority.trusted_root)
    for package in (SIGNED, UNSIGNED):
        (folder / package.filename).write_bytes(package.body)
    views = [{"name": "view", "layers": ["public"], "read": "anyone"}]
    put_tables_at(folder / "wheelyard-data", toml_of(index=views))
    variables = {
        "WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
        "WHEELYARD_UPSTREAM_LABEL": "public",
        "WHEELYARD_UPSTREAM_PRIVATE": "acme-*",
        "WHEELYARD_UPSTREAM_URL": upstream.url,
    }
    serving = serve(**variables)
    verify = ("verify", SIGNED.filename, "--trusted-root", "root.json")
    server = ("--server", f"http://127.0.0.1:{serving.port}")

    public = wheelyard(*verify, *server, "--json")
    below = wheelyard(*verify, *server, "--index", "view")
    unsigned = wheelyard("verify", UNSIGNED.filename, *server)
    by_store = wheelyard(*verify)

    assert (public.returncode, public.stderr) == (0, "")
    assert len(json.loads(public.stdout)["attestations"]) == 1
    assert (below.returncode, below.stderr) == (0, "")
    assert (unsigned.returncode, unsigned.stdout) == (1, "")
    assert "There is no provenance of" in unsigned.stderr
    assert by_store.returncode == 1
    assert "for a public one, give --server" in by_store.stderr
