"""deploy/gke: what Kubernetes takes, as strict as it can be, and settings that the server takes."""

import sys
from typing import Any

import pytest
import yaml

from tests.clients.conftest import desk as _desk
from tests.clients.harness import Desk, program, system_program
from tests.deploy.running import BUCKET, DEPLOY, VALUES, rendered
from wheelyard.settings.reading import read_settings

desk = _desk

GKE = DEPLOY / "gke"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((GKE / "kustomization.yaml").read_text())
VERSIONS = ("1.30", "")
"""The first one that has all we ask for, and the newest that is known."""


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


def test_settings_are_right(container: dict[str, Any], desk: Desk) -> None:
    """The server takes the settings and the variables of the container."""
    (desk.folder / "wheelyard.toml").write_text(rendered(GKE / "wheelyard.toml", desk))
    environ = {
        each["name"]: each["value"].replace("/etc/wheelyard", str(desk.folder))
        for each in container["env"]
        if "value" in each
    }

    settings = read_settings(environ=environ).settings

    assert settings.access.credentials_store == f"gs://{BUCKET}-credentials"
    assert settings.store.location == f"gs://{BUCKET}"


def _validate(desk: Desk, version: str = "") -> str:
    options = ("--kubernetes-version", version) if version else ()
    return desk.run(program("deploy", "kubernetes-validate"), "--strict", *options, "all.yaml")
