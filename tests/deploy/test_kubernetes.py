"""deploy/kubernetes: what any cluster takes, and settings and probes that the server knows."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.harness import Sandbox, program, system_program
from tests.deploy.running import DEPLOY, index_tables, rendered, without_comments
from wheelyard.model.index_file import IndexTables
from wheelyard.settings.load import load_settings

KUBERNETES = DEPLOY / "kubernetes"
VALUES = {
    "IMAGE": "registry.example.com/wheelyard:0.1.0",
    "INDEX_HOST": "pypi.acme.dev",
    "INGRESS_NAMESPACE": "ingress-nginx",
    "STORE": "s3://acme-packages",
}
FOLDER = sorted(
    path for path in (KUBERNETES / "folder").glob("*.yaml") if path.name != "kustomization.yaml"
)
BUCKET = [KUBERNETES / "bucket" / name for name in ("serviceaccount.yaml", "disruption.yaml")]
RUNNING = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532}


def manifests(text: str) -> dict[str, dict[str, Any]]:
    """Return manifests by their kinds."""
    return {each["kind"]: each for each in yaml.safe_load_all(text) if each}


def assert_valid(sandbox: Sandbox, text: str, *options: str) -> None:
    """Assert that Kubernetes knows every field of every manifest."""
    (sandbox.folder / "all.yaml").write_text(text)
    validate = program("deploy", "kubernetes-validate")
    printed = sandbox.run(validate, "--strict", *options, "all.yaml")
    assert printed.count("passed") == len(manifests(text))


@pytest.fixture
def folder(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """The manifests of an index on a volume, with the values of the page."""
    return manifests("\n---\n".join(rendered(path, sandbox, **VALUES) for path in FOLDER))


def settings_at(place: Path, pods: dict[str, Any], toml: str) -> Any:  # noqa: ANN401
    """Return the settings that a server in a pod would have."""
    (place / "wheelyard.toml").write_text(toml)
    variables = {
        each["name"]: each["value"].replace("/etc/wheelyard", str(place))
        for each in pods["containers"][0]["env"]
    }
    return load_settings(environ=variables).settings


@pytest.mark.parametrize("options", [("--kubernetes-version", "1.30"), ()])
def test_manifests_are_kubernetes(options: tuple[str, ...], sandbox: Sandbox) -> None:
    """Every field is one that the first version with all we ask for has, and the newest."""
    texts = [rendered(path, sandbox, **VALUES) for path in (*FOLDER, *BUCKET)]
    assert_valid(sandbox, "\n---\n".join(texts), *options)


def test_an_index_on_a_volume(folder: dict[str, dict[str, Any]], sandbox: Sandbox) -> None:
    """One strict pod at a time writes to the volume, and the Ingress alone reaches it."""
    deployment, ingress = folder["Deployment"]["spec"], folder["Ingress"]["spec"]
    labels, pods = deployment["template"]["metadata"]["labels"], deployment["template"]["spec"]
    (container,) = pods["containers"]
    volumes = {volume["name"]: volume for volume in pods["volumes"]}
    toml = (KUBERNETES / "folder/wheelyard.toml").read_text()
    settings = settings_at(sandbox.folder, pods, toml)

    assert "${" not in toml  # kustomize names it by its digest before the values are filled in
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert deployment["selector"]["matchLabels"] == labels
    assert folder["Service"]["spec"]["selector"] == labels
    assert folder["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert pods["securityContext"].items() >= RUNNING.items()
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pods["terminationGracePeriodSeconds"] > 60 + 10  # as the server and preStop wait
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
    claim = volumes["data"]["persistentVolumeClaim"]["claimName"]
    assert claim == folder["PersistentVolumeClaim"]["metadata"]["name"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(Path(settings.store.location).parent) in mounted
    assert str(Path(settings.access.htpasswd_file).parent) in mounted
    assert settings.access.private
    assert settings.server.public_url == f"https://{ingress['rules'][0]['host']}"
    assert ingress["tls"][0]["hosts"] == [ingress["rules"][0]["host"]]


def test_public_packages_are_in_the_settings(
    folder: dict[str, dict[str, Any]], sandbox: Sandbox
) -> None:
    """Without its #, the part about public packages is settings that the server takes."""
    text = (KUBERNETES / "folder/wheelyard.toml").read_text()
    _, _, part = text.partition("# [upstream]\n")
    lines = [line.removeprefix("# ") for line in part.splitlines()]
    toml = "\n".join((text, "[upstream]", *lines))

    pods = folder["Deployment"]["spec"]["template"]["spec"]
    upstream = settings_at(sandbox.folder, pods, toml).upstream

    assert upstream.enabled
    assert upstream.private == ("acme", "acme-*")


def test_example_of_an_index() -> None:
    """The index file says nothing as it is; without its #, its example is what the server takes."""
    index, settings = (
        (KUBERNETES / "folder" / f"{name}.toml").read_text() for name in ("index", "wheelyard")
    )

    assert "${" not in index  # as in the settings
    assert index_tables(index, settings) == IndexTables()
    assert index_tables(without_comments(index), settings).grant


@pytest.mark.parametrize("name", ["folder", "bucket"])
def test_what_is_applied(name: str, sandbox: Sandbox) -> None:
    """What the page pipes into `kubectl apply` is whole; with a bucket it has no volume."""
    kustomized = sandbox.run(system_program("kubectl"), "kustomize", KUBERNETES / name)
    (sandbox.folder / "made.yaml").write_text(kustomized)
    render = (sys.executable, DEPLOY / "render.py", sandbox.folder / "made.yaml")
    text = sandbox.run(*render, **VALUES)
    applied = manifests(text)
    pods = applied["Deployment"]["spec"]["template"]["spec"]
    (container,) = pods["containers"]
    data = applied["ConfigMap"]["data"]
    settings = settings_at(sandbox.folder, pods, data["wheelyard.toml"])
    file = Path(container["args"][-1])
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}

    assert_valid(sandbox, text)
    assert {each["metadata"].get("namespace", "wheelyard") for each in applied.values()} == {
        "wheelyard"
    }
    names = {mount["name"] for mount in container["volumeMounts"]}
    assert names == {volume["name"] for volume in pods["volumes"]}
    assert container["image"] == VALUES["IMAGE"]
    assert str(file.parent) == mounted["settings"]
    index_tables(data[file.name], data["wheelyard.toml"])
    if name == "bucket":
        assert "PersistentVolumeClaim" not in applied
        assert settings.store.location == VALUES["STORE"]
        assert applied["Deployment"]["spec"]["strategy"]["type"] == "RollingUpdate"
        assert applied["PodDisruptionBudget"]["spec"]["minAvailable"] == 1
        (spool,) = (each["emptyDir"] for each in pods["volumes"] if each["name"] == "tmp")
        room = int(re.sub("Mi$", "", spool["sizeLimit"]))
        assert settings.http.concurrent_uploads * 1024 < room
