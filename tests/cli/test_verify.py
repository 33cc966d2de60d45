"""`wheelyard verify` by a store: whose root counts, and which repository."""

import json
from pathlib import Path
from typing import Final

import pytest

# it binds a socket when it is imported, which the first test would be blamed for
import urllib3.util.connection  # noqa: F401

from tests.attestations.authority import Authority, Identity, github, google
from tests.attestations.test_uploads import PUBLISHERS, WIDGET
from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.in_process_network import InProcessNetwork
from tests.index_tables import put_tables_at, toml_of
from tests.sources.web.fake_server import running_fake_server

OURS: Final = "https://github.com/acme/widget"


@pytest.fixture
def attested_wheel(sandbox: Sandbox, wheelyard: Typed, identity: Identity) -> Path:
    """A wheel with an attestation, in a store whose settings name the trusted root."""
    wheel = signed_wheel(sandbox.folder, identity)
    assert wheelyard("upload", wheel).returncode == 0
    return wheel


def signed_wheel(folder: Path, identity: Identity) -> Path:
    """Make a wheel with an attestation, and a store that keeps it, and has an index dev."""
    authority = Authority()
    (folder / "root.json").write_text(authority.trusted_root)
    config = folder / "wheelyard.toml"
    config.write_text('[attestations]\naccept = true\ntrusted_root = "root.json"\n')
    tables = toml_of(main={"promote_only": False}, index=[{"name": "dev"}], publisher=PUBLISHERS)
    put_tables_at(folder / "wheelyard-data", tables, config)
    wheel = folder / WIDGET.filename
    wheel.write_bytes(WIDGET.body)
    beside = folder / f"{wheel.name}.publish.attestation"
    beside.write_text(json.dumps(authority.attest(wheel.name, WIDGET.sha256, identity)))
    return wheel


@pytest.mark.parametrize("identity", [github()])
def test_the_root_is_that_of_the_settings(attested_wheel: Path, wheelyard: Typed) -> None:
    """With a store, the trusted root of the settings counts, unless another one is named."""
    done = wheelyard("verify", attested_wheel, "--repository", OURS)
    other = attested_wheel.with_name("other.json")
    other.write_text(Authority("other.invalid").trusted_root)
    refused = wheelyard("verify", attested_wheel, "--trusted-root", other)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{attested_wheel.name}: signed by {OURS}/.github/")
    assert refused.returncode == 1
    assert f"another authority than {other}, or" in refused.stderr
    assert "with --trusted-root" in refused.stderr
    assert "operator" not in refused.stderr


@pytest.mark.parametrize(
    ("identity", "named"),
    [
        (github(), f"names the repository {OURS}, and not https://github.com/acme/core."),
        (google(), "names no repository, and not https://github.com/acme/core."),
    ],
    ids=["github", "google"],
)
def test_another_repository_is_refused(attested_wheel: Path, wheelyard: Typed, named: str) -> None:
    """A file of another repository than the expected one fails, and the message has both."""
    done = wheelyard("verify", attested_wheel, "--repository", "https://github.com/acme/core")

    assert (done.returncode, done.stdout) == (1, "")
    assert named in done.stderr


@pytest.mark.parametrize("identity", [github()])
@pytest.mark.parametrize(
    "spelling",
    [
        f"{OURS}/",
        f"{OURS}.git",
        "https://GitHub.com/Acme/WIDGET",
        "https://github.com:443/acme/widget",
    ],
)
def test_a_repository_has_several_spellings(
    attested_wheel: Path, wheelyard: Typed, spelling: str
) -> None:
    """A slash or `.git` at the end of a repository, and the case of its letters, do not matter."""
    done = wheelyard("verify", attested_wheel, "--repository", spelling)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "text",
    ["", "acme/widget", "http://github.com/acme/widget", "https://github.com/", f"{OURS}?a=b"],
)
def test_what_is_no_repository_is_a_usage_error(wheelyard: Typed, text: str) -> None:
    """A repository that is empty, as of an unset variable, or no https URL is a usage error."""
    done = wheelyard("verify", WIDGET.filename, "--repository", text)

    assert (done.returncode, done.stdout) == (2, "")
    assert "It is no https URL of a repository" in done.stderr


@pytest.mark.parametrize("identity", [github()])
def test_another_file_of_the_name_is_refused(attested_wheel: Path, wheelyard: Typed) -> None:
    """A file with other bytes than those that were signed fails, and must not be used."""
    attested_wheel.write_bytes(b"other")

    done = wheelyard("verify", attested_wheel)

    assert (done.returncode, done.stdout) == (1, "")
    assert "another SHA-256. Do not use the file until you know why." in done.stderr


@pytest.mark.parametrize(
    "provenance",
    [
        b'{"version": 1, "attestation_bundles": []}',
        b'{"attestation_bundles": []}',
        b"?",
        b"[" * 100_000,
    ],
    ids=["no bundle", "no version", "no JSON", "too deep"],
)
def test_a_provenance_of_nobody_proves_nothing(
    wheelyard: Typed, sandbox: Sandbox, network: InProcessNetwork, provenance: bytes
) -> None:
    """A file fails if the server sends no provenance, or one without attestations."""
    (sandbox.folder / WIDGET.filename).write_bytes(WIDGET.body)
    path = f"/integrity/widget/1.0/{WIDGET.filename}/provenance"
    with running_fake_server(network) as server:
        server.file(path, provenance)
        done = wheelyard("verify", WIDGET.filename, "--server", server.url)

    assert (done.returncode, done.stdout) == (1, "")
    assert "has no attestations. Do not use the file" in done.stderr


def test_a_store_without_attestations_names_the_other_place(
    wheelyard: Typed, sandbox: Sandbox
) -> None:
    """A file of which the store has no attestations may be a public one, so a server is advised."""
    (sandbox.folder / WIDGET.filename).write_bytes(WIDGET.body)
    assert wheelyard("upload", WIDGET.filename).returncode == 0
    done = wheelyard("verify", WIDGET.filename)

    assert (done.returncode, done.stdout) == (1, "")
    assert "A store has private files: for a public one, give --server." in done.stderr
