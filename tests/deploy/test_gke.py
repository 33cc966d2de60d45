"""deploy/gke: what Kubernetes takes, as strict as it can be, and settings that the server takes."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.harness import Sandbox, program, system_program
from tests.deploy.running import BUCKET, DEPLOY, VALUES, index_tables, rendered, without_comments
from wheelyard.model.index_file import IndexTables
from wheelyard.settings.load import load_settings

GKE = DEPLOY / "gke"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((GKE / "kustomization.yaml").read_text())


def manifest(name: str, sandbox: Sandbox) -> dict[str, Any]:
    """Return a manifest with the values of the page in it."""
    document: dict[str, Any] = yaml.safe_load(rendered(GKE / f"{name}.yaml", sandbox))
    return document


@pytest.fixture
def pods(sandbox: Sandbox) -> dict[str, Any]:
    """Return the pod specification of the deployment."""
    spec: dict[str, Any] = manifest("deployment", sandbox)["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("options", [("--kubernetes-version", "1.30"), ()])
def test_manifests_are_kubernetes(options: tuple[str, ...], sandbox: Sandbox) -> None:
    """Every field is one that the first version with all we ask for has, and the newest."""
    names = KUSTOMIZATION["resources"]
    text = "\n---\n".join(rendered(GKE / name, sandbox) for name in names)
    (sandbox.folder / "all.yaml").write_text(text)

    output = sandbox.run(program("deploy", "kubernetes-validate"), "--strict", *options, "all.yaml")

    assert output.count("passed") == len(names)


def test_what_is_applied(sandbox: Sandbox) -> None:
    """What the page pipes into `kubectl apply` is whole, in one namespace, with its settings."""
    manifests = sandbox.run(system_program("kubectl"), "kustomize", GKE)
    (sandbox.folder / "made.yaml").write_text(manifests)

    command = (sys.executable, DEPLOY / "render.py", sandbox.folder / "made.yaml")
    applied = list(yaml.safe_load_all(sandbox.run(*command, **VALUES)))
    (settings,) = (each for each in applied if each["kind"] == "ConfigMap")
    (made_pods,) = (
        each["spec"]["template"]["spec"] for each in applied if each["kind"] == "Deployment"
    )

    assert applied[0]["kind"] == "Namespace"
    assert len(applied) == len(KUSTOMIZATION["resources"]) + 1
    assert {each["metadata"].get("namespace", "wheelyard") for each in applied} == {"wheelyard"}
    assert made_pods["volumes"][0]["configMap"]["name"] == settings["metadata"]["name"]
    assert f'"gs://{BUCKET}-credentials"' in settings["data"]["wheelyard.toml"]
    (container,) = made_pods["containers"]
    file = Path(container["args"][-1])
    assert str(file.parent) == container["volumeMounts"][0]["mountPath"]
    index_tables(settings["data"][file.name], settings["data"]["wheelyard.toml"])


def test_parts_fit_together(pods: dict[str, Any], sandbox: Sandbox) -> None:
    """The service, the budget and the policy are about the pods that the deployment makes."""
    deployment = manifest("deployment", sandbox)["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    names = ("service", "disruption", "network")
    service, budget, policy = (manifest(name, sandbox)["spec"] for name in names)

    selectors = (deployment["selector"], budget["selector"], policy["podSelector"])
    assert [selector["matchLabels"] for selector in selectors] == [labels] * 3
    assert service["selector"] == labels
    ports = {port["name"] for port in pods["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports
    assert [port["port"] for port in service["ports"]] == [80]
    assert budget["minAvailable"] < deployment["replicas"]


def test_time_and_room(pods: dict[str, Any]) -> None:
    """A pod that ends has the server's 60 s; the largest files have room in /tmp and the node."""
    (container,) = pods["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    uploads = int(environment["WHEELYARD_HTTP_CONCURRENT_UPLOADS"])
    (spool,) = (volume["emptyDir"] for volume in pods["volumes"] if volume["name"] == "spool")
    room = int(spool["sizeLimit"].removesuffix("Mi"))
    node = int(container["resources"]["requests"]["ephemeral-storage"].removesuffix("Gi"))

    assert pods["terminationGracePeriodSeconds"] > 60 + pause
    assert uploads * 1024 < room < node * 1024


def test_example_of_an_index(sandbox: Sandbox) -> None:
    """The index file says nothing as it is; without its #, its example is what the server takes."""
    index, settings = (rendered(GKE / f"{name}.toml", sandbox) for name in ("index", "wheelyard"))

    assert index_tables(index, settings) == IndexTables()
    assert index_tables(without_comments(index), settings).index


def test_settings_are_right(pods: dict[str, Any], sandbox: Sandbox) -> None:
    """The server takes the settings and the variables of the container."""
    (sandbox.folder / "wheelyard.toml").write_text(rendered(GKE / "wheelyard.toml", sandbox))
    environ = {
        each["name"]: each["value"].replace("/etc/wheelyard", str(sandbox.folder))
        for each in pods["containers"][0]["env"]
        if "value" in each
    }

    settings = load_settings(environ=environ).settings

    assert settings.access.credentials_store == f"gs://{BUCKET}-credentials"
    assert settings.store.location == f"gs://{BUCKET}"
