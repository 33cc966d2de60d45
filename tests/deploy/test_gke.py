"""deploy/gke: what Kubernetes takes, as strict as it can be, and Poetry over a forwarded port."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
import yaml

from tests.bucket.server import running_bucket_server
from tests.clients.conftest import build as _build
from tests.clients.conftest import desk as _desk
from tests.clients.harness import Desk, program, system_program
from tests.clients.projects import Builder
from tests.deploy.running import BUCKET, DEPLOY, PRODUCT, VALUES, Deployed, rendered, running

build, desk = _build, _desk

GKE = DEPLOY / "gke"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((GKE / "kustomization.yaml").read_text())
VERSIONS = ("1.30", "1.33", "")
"""The first one that has all we ask for, one in between, and the newest that is known."""

POETRY = """\
[tool.poetry]
name = "their-app"
version = "1.0"
description = ""
authors = []
package-mode = false

[[tool.poetry.source]]
name = "private"
url = "http://localhost:{port}"

[tool.poetry.dependencies]
python = ">=3.11"
acme-core = "^1.0"
"""
"""The source is written as it was for pypapo, but for the port."""


@pytest.fixture
def deployment(desk: Desk) -> dict[str, Any]:
    """Return the deployment with the values of the page in it."""
    found: dict[str, Any] = yaml.safe_load(rendered(GKE / "deployment.yaml", desk))
    return found


@pytest.fixture
def container(deployment: dict[str, Any]) -> dict[str, Any]:
    """Return its only container."""
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.fixture
def deployed(container: dict[str, Any], desk: Desk, tmp_path: Path) -> Iterator[Deployed]:
    """Yield the container of the deployment, with its settings mounted and its account."""
    mounted, spool = tmp_path / "settings", tmp_path / "spool"
    mounted.mkdir()
    spool.mkdir()
    (mounted / "wheelyard.toml").write_text(rendered(GKE / "wheelyard.toml", desk))
    environment = {
        each["name"]: each["value"].replace("/etc/wheelyard", str(mounted))
        for each in container["env"]
        if "value" in each
    }
    command = (*PRODUCT, *container["args"])
    with (
        running_bucket_server(BUCKET, f"{BUCKET}-credentials") as cloud,
        running(
            tmp_path / "running", cloud, command, environment | {"TMPDIR": str(spool)}
        ) as index,
    ):
        yield index


def manifests(desk: Desk) -> str:
    """Return everything that is applied, without kustomize."""
    return "\n---\n".join(rendered(GKE / name, desk) for name in KUSTOMIZATION["resources"])


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_kubernetes(version: str, desk: Desk) -> None:
    """Every field of every manifest is one that Kubernetes has, with a value of its type."""
    (desk.folder / "all.yaml").write_text(manifests(desk))

    told = _validate(desk, version)

    assert told.count("passed") == len(KUSTOMIZATION["resources"])


def test_wrong_manifests_are_found(desk: Desk) -> None:
    """A field that is spelled wrong does not pass."""
    wrong = manifests(desk).replace("maxUnavailable", "maxUnavailabel")
    (desk.folder / "all.yaml").write_text(wrong)

    with pytest.raises(AssertionError, match="maxUnavailabel"):
        _validate(desk)


def test_what_is_applied(desk: Desk) -> None:
    """What the page pipes into `kubectl apply` is whole, in one namespace, with its settings."""
    made = desk.run(system_program("kubectl"), "kustomize", GKE)
    (desk.folder / "made.yaml").write_text(made)

    command = (sys.executable, DEPLOY / "render.py", desk.folder / "made.yaml")
    applied = list(yaml.safe_load_all(desk.run(*command, **VALUES)))
    kinds = [each["kind"] for each in applied]
    (settings,) = (each for each in applied if each["kind"] == "ConfigMap")
    (pods,) = (each["spec"]["template"]["spec"] for each in applied if each["kind"] == "Deployment")

    assert kinds[0] == "Namespace"
    assert len(kinds) == len(KUSTOMIZATION["resources"]) + 1
    assert {each["metadata"].get("namespace", "wheelyard") for each in applied} == {"wheelyard"}
    assert pods["volumes"][0]["configMap"]["name"] == settings["metadata"]["name"]
    assert f'"gs://{BUCKET}-credentials"' in settings["data"]["wheelyard.toml"]


def test_parts_fit_together(deployment: dict[str, Any], desk: Desk) -> None:
    """The service, the budget and the policy are about the pods that the deployment makes."""
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {
        each["name"] for each in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    service, budget, policy = (
        yaml.safe_load(rendered(GKE / f"{name}.yaml", desk))["spec"]
        for name in ("service", "disruption", "network")
    )

    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["selector"] == labels
    assert budget["selector"]["matchLabels"] == labels
    assert policy["podSelector"]["matchLabels"] == labels
    assert {each["targetPort"] for each in service["ports"]} <= ports
    assert [each["port"] for each in service["ports"]] == [80]
    assert budget["minAvailable"] < deployment["spec"]["replicas"]


def test_no_privileges(deployment: dict[str, Any], container: dict[str, Any]) -> None:
    """The pod has a user of its own, no privilege, nothing to write to but /tmp, and no FUSE."""
    pod = deployment["spec"]["template"]["spec"]

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {key for volume in pod["volumes"] for key in volume} == {"name", "configMap", "emptyDir"}
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)


def test_time_to_end(deployment: dict[str, Any], container: dict[str, Any]) -> None:
    """A pod that has to go has the time that it takes to be forgotten, and the server's 60 s."""
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 60 + pause


def test_room_for_uploads(deployment: dict[str, Any], container: dict[str, Any]) -> None:
    """As many of the largest files as are taken at a time have room in /tmp, and on the node."""
    environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    uploads = int(environment["WHEELYARD_HTTP_CONCURRENT_UPLOADS"])
    (spool,) = (
        each["emptyDir"]["sizeLimit"]
        for each in deployment["spec"]["template"]["spec"]["volumes"]
        if each["name"] == "spool"
    )
    room = int(spool.removesuffix("Mi"))
    node = int(container["resources"]["requests"]["ephemeral-storage"].removesuffix("Gi"))

    assert uploads * 1024 < room < node * 1024


@pytest.mark.clients
def test_poetry_over_a_forwarded_port(deployed: Deployed, build: Builder, desk: Desk) -> None:
    """Poetry installs by `http://localhost:PORT`, as from pypapo, when the port is forwarded."""
    built = build("poetry-core", "acme-core", "1.2")
    with forwarded(deployed.port) as port:
        upload = ("--repository-url", f"http://localhost:{port}/legacy/", "-u", "__token__")
        desk.run(program("twine"), "upload", *upload, "-p", deployed.token, built.wheel)
        (desk.folder / "pyproject.toml").write_text(POETRY.format(port=port))
        poetry = {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}

        desk.run(program("poetry"), "install", "--no-interaction", **poetry)

    built.assert_installed(desk.folder / ".venv" / "bin" / "python")
    lock = (desk.folder / "poetry.lock").read_text()
    assert f'url = "http://localhost:{port}"' in lock


@contextmanager
def forwarded(port: int) -> Iterator[int]:
    """Forward a port to another one, byte by byte, as `kubectl port-forward` does; yield which."""

    class Connection(BaseRequestHandler):
        """Somebody's connection, and one to the index."""

        def handle(self) -> None:
            """Copy both ways until both sides are done."""
            with socket.create_connection(("127.0.0.1", port)) as far:
                back = threading.Thread(target=_copy, args=(far, self.request))
                back.start()
                _copy(self.request, far)
                back.join()

    with ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


def _validate(desk: Desk, version: str = "") -> str:
    options = ("--kubernetes-version", version) if version else ()
    return desk.run(program("deploy", "kubernetes-validate"), "--strict", *options, "all.yaml")
