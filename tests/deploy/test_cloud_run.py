"""deploy/cloud-run/service.yaml: what Cloud Run takes, and an index that works."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.harness import Sandbox, new_sandbox, system_program
from tests.deploy.running import (
    BUCKET,
    DEPLOY,
    PRODUCT,
    PUBLISHER,
    Deployed,
    discovery,
    index_tables,
    lets_publisher_in,
    problems,
    rendered,
    running,
)
from tests.distributions import make_wheel
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from wheelyard.settings.load import load_settings


@dataclass(frozen=True)
class Service:
    """The definition as it is sent to Cloud Run, and the parts that tests look at."""

    whole: dict[str, Any]

    @property
    def revision(self) -> dict[str, Any]:
        """The template of every instance."""
        revision: dict[str, Any] = self.whole["spec"]["template"]["spec"]
        return revision

    @property
    def container(self) -> dict[str, Any]:
        """The only container."""
        container: dict[str, Any]
        (container,) = self.revision["containers"]
        return container

    @property
    def mounts(self) -> dict[str, str]:
        """The mount path of each volume."""
        return {mount["name"]: mount["mountPath"] for mount in self.container["volumeMounts"]}

    @property
    def spool(self) -> str:
        """The size of the in-memory volume."""
        (memory,) = (volume for volume in self.revision["volumes"] if volume["name"] == "spool")
        assert memory["emptyDir"]["medium"] == "Memory"
        return str(memory["emptyDir"]["sizeLimit"])

    def environment(self, sandbox: Sandbox) -> dict[str, str]:
        """Write the settings into a sandbox; return the variables that name the sandbox."""
        (sandbox.folder / "wheelyard.toml").write_text(
            rendered("cloud-run/wheelyard.toml", sandbox)
        )
        variables = {each["name"]: each["value"] for each in self.container["env"]}
        mounted = self.mounts["settings"]
        return {
            name: text.replace(mounted, str(sandbox.folder)) for name, text in variables.items()
        }

    def arguments(self, sandbox: Sandbox) -> list[str]:
        """Write the index file into a sandbox; return the arguments that name the sandbox."""
        (sandbox.folder / "index.toml").write_text(rendered("cloud-run/index.toml", sandbox))
        mounted = self.mounts["index"]
        return [text.replace(mounted, str(sandbox.folder)) for text in self.container["args"]]


def definition(sandbox: Sandbox) -> Service:
    """Return the definition with the values of the page in it."""
    return Service(yaml.safe_load(rendered("cloud-run/service.yaml", sandbox)))


@pytest.fixture
def service(sandbox: Sandbox) -> Service:
    """Return the definition."""
    return definition(sandbox)


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeGcs]:
    """Yield the two buckets."""
    with running_fake_gcs(BUCKET, f"{BUCKET}-credentials") as server:
        yield server


@pytest.fixture(scope="module")
def deployment(cloud: FakeGcs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Yield the container of the definition, with its secret mounted, its port and its account."""
    folder = tmp_path_factory.mktemp("deployed")
    sandbox = new_sandbox(folder / "render")
    service = definition(sandbox)
    (folder / "spool").mkdir()
    environment = service.environment(sandbox) | {"TMPDIR": str(folder / "spool")}
    command = (*PRODUCT, *service.arguments(sandbox))
    with running(folder / "running", cloud, command, environment) as index:
        yield index


def test_fields_are_cloud_runs(service: Service, sandbox: Sandbox) -> None:
    """Every field of the definition is one that Cloud Run's API has, with a value of its type."""
    assert problems(sandbox, "run.v1", "Service", service.whole) == ""


def test_annotations_are_cloud_runs(service: Service) -> None:
    """Every annotation is one that Cloud Run knows, and stands where Cloud Run looks for it."""
    text = discovery("run.v1")["schemas"]["ObjectMeta"]["properties"]["annotations"]["description"]
    documented = dict(re.findall(r"`([\w./-]+)`: ([\w, ]+)[.,]", text))
    template = service.whole["spec"]["template"]

    for kind, holder in (("Service", service.whole), ("Revision", template)):
        for name in holder["metadata"]["annotations"]:
            assert kind in documented[name], f"{name} is for {documented[name]}"


def test_what_it_is_given(service: Service, sandbox: Sandbox) -> None:
    """The probes and the memory fit the limits, and the settings are private."""
    startup, liveness = (service.container[f"{text}Probe"] for text in ("startup", "liveness"))
    limit = int(service.spool.removesuffix("Mi"))
    settings = load_settings(environ=service.environment(sandbox)).settings

    assert all(each["timeoutSeconds"] < each["periodSeconds"] for each in (startup, liveness))
    assert 30 <= startup["periodSeconds"] * startup["failureThreshold"] <= 240
    assert service.mounts["spool"] == "/tmp"  # noqa: S108 - where uploads wait
    assert limit >= 1024 + 128
    assert service.container["resources"]["limits"]["memory"] == f"{(limit + 768) // 1024}Gi"
    assert settings.access.private
    assert settings.store.location == f"gs://{BUCKET}"
    assert settings.access.credentials_store == f"gs://{BUCKET}-credentials"


def test_both_files_are_mounted(service: Service, sandbox: Sandbox) -> None:
    """The settings and the index file are mounted apart, and the latter lets CI publish."""
    texts = [rendered(f"cloud-run/{name}.toml", sandbox) for name in ("index", "wheelyard")]
    volumes = {volume["name"]: volume["secret"] for volume in service.revision["volumes"][:2]}
    (grant,) = index_tables(*texts).grant

    assert grant.who == (PUBLISHER,)
    for name, place in (
        ("settings", service.environment(sandbox)["WHEELYARD_CONFIG"]),
        ("index", service.arguments(sandbox)[-1]),
    ):
        (item,) = volumes[name]["items"]
        assert Path(place) == sandbox.folder / item["path"]
    assert volumes["settings"]["secretName"] != volumes["index"]["secretName"]


@pytest.mark.usefixtures("deployment")
def test_the_index_file_is_in_force(cloud: FakeGcs) -> None:
    """A container that answers has put its index file into force."""
    assert lets_publisher_in(cloud)


def test_container_serves_both(deployment: Deployed, service: Service, sandbox: Sandbox) -> None:
    """The container comes up on `$PORT`, private; its probes answer over HTTP/1.1 and HTTP/2."""
    assert _status(sandbox, f"{deployment.url}/simple/") == "401"
    assert _status(sandbox, f"{deployment.url}/ready") == "200"
    for name in ("startupProbe", "livenessProbe"):
        probe = service.container[name]["httpGet"]
        for version in ("--http1.1", "--http2-prior-knowledge"):
            assert _status(sandbox, version, f"{deployment.url}{probe['path']}") == "200"


@pytest.mark.slow
def test_large_wheel_arrives_by_http2(
    deployment: Deployed, cloud: FakeGcs, sandbox: Sandbox
) -> None:
    """A wheel too large for HTTP/1.1 comes in over HTTP/2, and goes out by a redirect."""
    large = make_wheel(
        "acme-large", content=bytes(40_000_000)
    )  # Cloud Run takes 32 MiB over HTTP/1
    (sandbox.folder / large.filename).write_bytes(large.body)
    form = ("--http2-prior-knowledge", "-F", f"content=@{large.filename}")

    status = _status(sandbox, *form, f"{deployment.trusted_url}/legacy/")
    command = ("--head", "-sS", "-X", "GET", "-o", "-", "--noproxy", "*")
    path = f"{deployment.trusted_url}/files/acme-large/{large.filename}"
    answer = sandbox.run(system_program("curl"), *command, path)

    assert status == "200"
    assert " 302" in answer.splitlines()[0]
    assert f"location: {cloud.url}/{BUCKET}/files/acme-large/" in answer


def test_a_hole_prints_nothing_but_its_name(sandbox: Sandbox) -> None:
    """A rendered file is UTF-8 in any terminal; without a value only its name is printed."""
    script = (sys.executable, DEPLOY / "render.py")
    (sandbox.folder / "note.toml").write_text(
        'note = "Jürgen, Łódź, ${BUCKET}"\n', encoding="utf-8"
    )

    output = sandbox.run(*script, "note.toml", BUCKET="wheels", PYTHONIOENCODING="latin-1")
    done = sandbox.attempt(*script, "note.toml")

    assert output == 'note = "Jürgen, Łódź, wheels"\n'
    assert (done.returncode, done.stdout) == (1, "")
    assert "set BUCKET first" in done.stderr


def _status(sandbox: Sandbox, *arguments: str) -> str:
    """Ask with curl; returns the status of the answer."""
    silent = ("-sS", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*")
    return sandbox.run(system_program("curl"), *silent, *arguments)
