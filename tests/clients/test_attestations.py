"""Attestations that real clients send, and what other tools make of what the index serves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.attestations.authority import PUBLISH, SLSA, Authority, github
from tests.clients.harness import Sandbox, attempt_wheelyard, program, wheelyard
from tests.clients.projects import Builder, Built, sha256
from tests.clients.servers import Server, running_server
from tests.index_tables import put_tables_at, toml_of
from tests.plain_http import LOCALLY

pytestmark = pytest.mark.clients

PUBLISHER: Final = {
    "id": "gh",
    "provider": "github",
    "repository": "acme/widget",
    "repository_id": 1001,
    "owner_id": 2002,
    "workflow": "release.yml",
    "projects": [
        "yard-signed-twine",
        "yard-signed-uv",
        "yard-signed-wheelyard",
        "yard-signed-store",
        "yard-unsigned",
        "yard-forged",
        "yard-later",
        "yard-verified",
    ],
}


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The authority that the index trusts."""
    return Authority()


@pytest.fixture(scope="module")
def index(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An index that takes attestations."""
    folder = tmp_path_factory.mktemp("attestations")
    (folder / "trusted_root.json").write_text(authority.trusted_root)
    config = folder / "wheelyard.toml"
    config.write_text('[attestations]\naccept = true\ntrusted_root = "trusted_root.json"\n')
    put_tables_at(folder / "server" / "store", toml_of(publisher=[PUBLISHER]), config)
    with running_server(folder / "server", "--config", str(config)) as server:
        yield server


def sign(authority: Authority, sandbox: Sandbox, project: Built, *kinds: str) -> Path:
    """Copy the wheel of a project into the sandbox, with an attestation of each type beside it."""
    wheel = sandbox.folder / project.wheel.name
    wheel.write_bytes(project.wheel.read_bytes())
    for number, kind in enumerate(kinds):
        attestation = authority.attest(wheel.name, sha256(wheel), github(), kind)
        name = f"{wheel.name}.{'publish' if kind == PUBLISH else 'slsa'}{number}.attestation"
        (sandbox.folder / name).write_text(json.dumps(attestation))
    return wheel


def attestations_beside(wheel: Path) -> list[Path]:
    """Return the files with attestations beside a wheel."""
    return sorted(wheel.parent.glob(f"{wheel.name}.*.attestation"))


def publish(client: str, index: Server, sandbox: Sandbox, wheel: Path) -> tuple[int, str]:
    """Publish a wheel with what lies beside it; return the status and what was printed."""
    if client == "uv":
        command: list[str | Path] = [program("uv"), "publish", "--publish-url", index.upload_url]
        done = sandbox.attempt(*command, "--token", index.token, wheel, *attestations_beside(wheel))
    elif client == "wheelyard":
        files = (wheel, *attestations_beside(wheel))
        upload = ("upload", "--server", index.url)
        done = attempt_wheelyard(sandbox, *upload, *files, WHEELYARD_TOKEN=index.token)
    else:
        command = [
            program("twine"),
            "upload",
            "--attestations",
            "--verbose",
            "--disable-progress-bar",
        ]
        url = ["--repository-url", index.upload_url, "-u", "__token__", "-p", index.token]
        done = sandbox.attempt(*command, *url, wheel, *attestations_beside(wheel))
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def provenance_of(index: Server, project: Built) -> httpx2.Response:
    """Ask for the provenance of the wheel of a project."""
    path = f"integrity/{project.name}/{project.version}/{project.wheel.name}/provenance"
    return httpx2.get(f"{index.url}/{path}", **LOCALLY)


@pytest.mark.parametrize("client", ["twine", "uv", "wheelyard"])
def test_clients_publish_with_attestations(
    index: Server, authority: Authority, sandbox: Sandbox, build: Builder, client: str
) -> None:
    """Attestations that a client sends are verified, kept, and served to other tools."""
    project = build("hatchling", f"yard-signed-{client}")
    wheel = sign(authority, sandbox, project, PUBLISH, SLSA)

    status, printed = publish(client, index, sandbox, wheel)

    assert status == 0, printed
    answer = provenance_of(index, project)
    sent = [json.loads(path.read_bytes()) for path in attestations_beside(wheel)]
    assert sorted(map(json.dumps, attestations_in(answer.json()))) == sorted(map(json.dumps, sent))
    assert_others_verify(authority, sandbox, wheel, answer.text)


def test_the_command_sends_what_lies_beside_a_file(
    index: Server, authority: Authority, sandbox: Sandbox, build: Builder
) -> None:
    """`wheelyard upload` sends the attestations beside a file, unless it is told not to."""
    signed, unsigned = (build("hatchling", f"yard-{name}") for name in ("signed-store", "unsigned"))
    wheels = [sign(authority, sandbox, project, PUBLISH) for project in (signed, unsigned)]
    config = index.store.parent.parent / "wheelyard.toml"
    options = ("--store", index.store, "--config", config)

    wheelyard(sandbox, "upload", *options, wheels[0])
    wheelyard(sandbox, "upload", *options, wheels[1], "--no-attestations")

    assert len(attestations_in(provenance_of(index, signed).json())) == 1
    assert provenance_of(index, unsigned).status_code == 404


def attestations_in(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all attestations of a provenance."""
    return [each for bundle in provenance["attestation_bundles"] for each in bundle["attestations"]]


def assert_others_verify(
    authority: Authority, sandbox: Sandbox, wheel: Path, provenance: str
) -> None:
    """Assert that the library of PEP 740 verifies a provenance, for its own repository alone."""
    from pypi_attestations import GitHubPublisher, Provenance  # noqa: PLC0415
    from sigstore.errors import VerificationError  # noqa: PLC0415
    from sigstore.models import TrustedRoot  # noqa: PLC0415
    from sigstore.verify import Verifier  # noqa: PLC0415

    root = sandbox.folder / "root.json"
    root.write_text(authority.trusted_root)
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(root)))
    (bundle,) = Provenance.model_validate_json(provenance).attestation_bundles
    other = GitHubPublisher(repository="evil/widget", workflow="release.yml")
    for attestation in bundle.attestations:
        payload = verifier.verify_dsse(attestation.to_bundle(), policy_of(bundle.publisher))[1]
        assert sha256(wheel) in payload.decode()
        with pytest.raises(VerificationError):
            verifier.verify_dsse(attestation.to_bundle(), policy_of(other))


def policy_of(publisher: Any) -> Any:  # noqa: ANN401 - of the library
    """Return what the library asks of a certificate for a publisher of a provenance."""
    return publisher._as_policy()  # noqa: SLF001 - its `verify` knows the public Sigstore alone


@pytest.mark.parametrize("client", ["twine", "uv"])
def test_clients_show_why_it_is_refused(
    index: Server, sandbox: Sandbox, build: Builder, client: str
) -> None:
    """A file that another authority has signed is refused, and the client shows why."""
    project = build("hatchling", "yard-forged")
    wheel = sign(Authority("evil.invalid"), sandbox, project, PUBLISH)

    status, printed = publish(client, index, sandbox, wheel)

    assert status != 0
    assert "another authority" in printed
    assert provenance_of(index, project).status_code == 404


def test_three_are_too_many(
    index: Server, authority: Authority, sandbox: Sandbox, build: Builder
) -> None:
    """Three attestations of one file are refused."""
    wheel = sign(authority, sandbox, build("hatchling", "yard-forged"), PUBLISH, SLSA, SLSA)

    status, printed = publish("uv", index, sandbox, wheel)

    # uv shows the first sentence alone
    assert (status != 0, "there are 3" in printed) == (True, True), printed


def test_a_second_upload_adds_them(
    index: Server, authority: Authority, sandbox: Sandbox, build: Builder
) -> None:
    """A file that was published without attestations gets them by the same upload with them."""
    project = build("hatchling", "yard-later")
    wheel = sign(authority, sandbox, project)
    assert publish("uv", index, sandbox, wheel)[0] == 0
    assert provenance_of(index, project).status_code == 404

    sign(authority, sandbox, project, PUBLISH)
    assert publish("uv", index, sandbox, wheel)[0] == 0

    assert len(attestations_in(provenance_of(index, project).json())) == 1


def test_the_command_verifies_a_file(
    index: Server, authority: Authority, sandbox: Sandbox, build: Builder, tmp_path: Path
) -> None:
    """`wheelyard verify` says who has signed a file, by a server or by its store."""
    project = build("hatchling", "yard-verified")
    wheel = sign(authority, sandbox, project, PUBLISH)
    assert publish("uv", index, sandbox, wheel)[0] == 0
    root = tmp_path / "trusted_root.json"
    root.write_text(authority.trusted_root)
    options = (wheel.name, "--trusted-root", str(root))

    by_server = wheelyard(sandbox, "verify", *options, "--server", index.url)
    by_store = wheelyard(sandbox, "verify", *options, "--store", index.store)

    assert by_server == by_store
    assert f"{wheel.name}: signed by https://github.com/acme/widget/.github" in by_server
    refused = attempt_wheelyard(sandbox, "verify", wheel.name, "--server", index.url)
    assert refused.returncode == 1
    assert "another authority than the public Sigstore, or with a key" in refused.stderr
    wheel.write_bytes(b"?")
    other = attempt_wheelyard(sandbox, "verify", *options, "--server", index.url)
    assert (other.returncode, "another SHA-256" in other.stderr) == (1, True)
