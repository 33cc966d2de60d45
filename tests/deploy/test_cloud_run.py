"""deploy/cloud-run/service.yaml: what Cloud Run takes, and an index that works."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bucket.server import BucketServer, running_bucket_server
from tests.bucket_clients.yard import SOURCE
from tests.clients.conftest import build as _build
from tests.clients.conftest import desk as _desk
from tests.clients.harness import REPOSITORY, Desk, program, system_program
from tests.clients.projects import Builder
from tests.deploy.gcloud import lines, tree, wrong
from tests.deploy.running import BUCKET, PRODUCT, VALUES, Deployed, rendered, running
from tests.deploy.schemas import discovery, problems
from tests.http.packages import wheel

build, desk = _build, _desk

SERVICE = "cloud-run/service.yaml"
SETTINGS = "cloud-run/wheelyard.toml"
PAGE = REPOSITORY / "docs" / "deploy" / "cloud-run.md"
PAGES = [
    *sorted((REPOSITORY / "docs" / "deploy").glob("*.md")),
    REPOSITORY / "docs" / "google-checklist.md",
    *sorted(
        path
        for path in (REPOSITORY / "deploy").rglob("*")
        if path.suffix in {".md", ".sh", ".yaml", ".yml"}
    ),
]


@dataclass(frozen=True)
class Service:
    """The definition as it is sent to Cloud Run, and the parts that tests look at."""

    whole: dict[str, Any]

    @property
    def revision(self) -> dict[str, Any]:
        """What every instance is made from."""
        found: dict[str, Any] = self.whole["spec"]["template"]["spec"]
        return found

    @property
    def container(self) -> dict[str, Any]:
        """The only container."""
        (found,) = self.revision["containers"]
        assert isinstance(found, dict)
        return found

    @property
    def mounts(self) -> dict[str, str]:
        """Where each volume is to be found."""
        return {each["name"]: each["mountPath"] for each in self.container["volumeMounts"]}

    def environment(self, folder: Path) -> dict[str, str]:
        """Return its variables, with the folder of the settings where it is on this machine."""
        mounted = self.mounts["settings"]
        return {
            each["name"]: each["value"].replace(mounted, str(folder))
            for each in self.container["env"]
        }


@pytest.fixture
def service(desk: Desk) -> Service:
    """Return the definition with the values of the page in it."""
    return Service(yaml.safe_load(rendered(SERVICE, desk)))


@pytest.fixture
def cloud() -> Iterator[BucketServer]:
    """Yield the two buckets."""
    with running_bucket_server(BUCKET, f"{BUCKET}-credentials") as server:
        yield server


@pytest.fixture
def deployed(
    service: Service, cloud: BucketServer, desk: Desk, tmp_path: Path
) -> Iterator[Deployed]:
    """Yield the container of the definition, with its secret mounted, its port and its account."""
    mounted, spool = tmp_path / "settings", tmp_path / "spool"
    mounted.mkdir()
    spool.mkdir()
    (mounted / "wheelyard.toml").write_text(rendered(SETTINGS, desk))
    environment = service.environment(mounted) | {"TMPDIR": str(spool)}
    command = (*PRODUCT, *service.container["args"])
    with running(tmp_path / "running", cloud, command, environment) as index:
        yield index


def test_fields_are_cloud_runs(service: Service) -> None:
    """Every field of the definition is one that Cloud Run's API has, with a value of its type."""
    assert problems(service.whole, "run.v1", "Service") == []


def test_wrong_fields_are_found(service: Service) -> None:
    """A field that is spelled wrong, or has a number where a text belongs, does not pass."""
    service.revision["serviceAccount"] = service.revision.pop("serviceAccountName")
    service.container["env"].append({"name": "WORKERS", "value": 1})

    found = problems(service.whole, "run.v1", "Service")

    assert len(found) == 2, found
    assert "serviceAccount: is unknown" in " ".join(found)
    assert "1 is no string" in " ".join(found)


def test_annotations_are_cloud_runs(service: Service) -> None:
    """Every annotation is one that Cloud Run knows, and stands where Cloud Run looks for it."""
    text = discovery("run.v1")["schemas"]["ObjectMeta"]["properties"]["annotations"]["description"]
    known = dict(re.findall(r"`([\w./-]+)`: ([\w, ]+)[.,]", text))
    template = service.whole["spec"]["template"]

    for kind, holder in (("Service", service.whole), ("Revision", template)):
        for name in holder["metadata"]["annotations"]:
            assert kind in known[name], f"{name} is for {known[name]}"


def test_probes_can_be_kept(service: Service) -> None:
    """A probe waits less than its period, and a start has 30 s and more, and at most 240 s."""
    startup, liveness = (service.container[f"{each}Probe"] for each in ("startup", "liveness"))

    assert all(each["timeoutSeconds"] < each["periodSeconds"] for each in (startup, liveness))
    assert 30 <= startup["periodSeconds"] * startup["failureThreshold"] <= 240


def test_memory_holds_what_waits(service: Service) -> None:
    """What waits may be as large as the largest file, and leaves the server its memory."""
    (spool,) = (each for each in service.revision["volumes"] if each["name"] == "spool")
    limit = int(spool["emptyDir"]["sizeLimit"].removesuffix("Mi"))

    assert service.mounts["spool"] == "/tmp"  # noqa: S108 - where uploads wait
    assert spool["emptyDir"]["medium"] == "Memory"
    assert limit >= 1024 + 128
    assert service.container["resources"]["limits"]["memory"] == f"{(limit + 768) // 1024}Gi"


def test_settings_are_right(desk: Desk, service: Service) -> None:
    """`config check` finds nothing to say about what the page deploys."""
    (desk.folder / "wheelyard.toml").write_text(rendered(SETTINGS, desk))
    environment = service.environment(desk.folder)

    printed = desk.run(*PRODUCT, "config", "check", **SOURCE, **environment)

    assert "warning" not in printed.lower()
    assert "unknown" not in printed.lower()
    assert f"gs://{BUCKET}" in printed


@pytest.mark.clients
def test_it_runs(deployed: Deployed, build: Builder, desk: Desk) -> None:
    """The container comes up on `$PORT`, private, and what twine has published pip installs."""
    built = build("hatchling", "acme-core")
    twine = ("--repository-url", f"{deployed.url}/legacy/", "--username", "__token__")

    statuses = [_status(desk, f"{deployed.url}{path}") for path in ("/health", "/ready")]
    anonymous = _status(desk, f"{deployed.url}/simple/acme-core/")
    desk.run(program("twine"), "upload", *twine, "--password", deployed.token, built.wheel)
    python = desk.python()
    pip = (program("pip"), "--python", python, "install", "--no-deps", "acme-core")
    desk.run(*pip, "--index-url", f"{deployed.trusted_url}/simple/")

    assert (*statuses, anonymous) == ("200", "200", "401")
    built.assert_installed(python)


def test_probes_over_either_protocol(deployed: Deployed, service: Service, desk: Desk) -> None:
    """The paths that are probed answer over HTTP/1.1 and over HTTP/2 on the one port."""
    for name in ("startupProbe", "livenessProbe"):
        probe = service.container[name]["httpGet"]
        for version in ("--http1.1", "--http2-prior-knowledge"):
            assert _status(desk, version, f"{deployed.url}{probe['path']}") == "200"


@pytest.mark.slow
def test_large_upload(deployed: Deployed, cloud: BucketServer, desk: Desk) -> None:
    """A wheel of 100 MB comes in over HTTP/2 in the clear, and goes out by a redirect."""
    large = wheel("acme-large", filler=bytes(100_000_000))
    (desk.folder / large.filename).write_bytes(large.data)
    form = ("--http2-prior-knowledge", "-F", f"content=@{large.filename}")

    status = _status(desk, *form, f"{deployed.trusted_url}/legacy/")
    command = ("--head", "-sS", "-X", "GET", "-o", "-")
    path = f"{deployed.trusted_url}/files/acme-large/{large.filename}"
    answer = desk.run(system_program("curl"), *command, path)

    assert status == "200"
    assert " 302" in answer.splitlines()[0]
    assert f"location: {cloud.url}/{BUCKET}/files/acme-large/" in answer


@pytest.mark.parametrize(
    "page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)).replace("/", "-")
)
def test_gcloud_lines(page: Path) -> None:
    """Every line for gcloud names a command and flags that gcloud has."""
    tree()

    assert [each for line in lines(page) for each in wrong(line)] == []


def test_one_command_is_the_same(service: Service) -> None:
    """The page's one command sets the variables, limits and volumes that service.yaml sets."""
    found = re.findall(r"^VARIABLES=(?:\$VARIABLES,)?(.*)$", PAGE.read_text(), re.MULTILINE)
    variables = ",".join(found)
    for name, value in VALUES.items():
        variables = variables.replace(f"${name}", value)
    (line,) = (each for each in lines(PAGE) if each.startswith("gcloud run deploy"))
    flags = dict(
        each.split("=", 1) for each in line.split() if each.startswith("--") and "=" in each
    )
    limits = service.container["resources"]["limits"]
    (spool,) = (each for each in service.revision["volumes"] if each["name"] == "spool")

    assert dict(each.split("=", 1) for each in variables.split(",")) == {
        each["name"]: each["value"] for each in service.container["env"]
    }
    assert (flags["--cpu"], flags["--memory"]) == (limits["cpu"], limits["memory"])
    assert flags["--concurrency"] == str(service.revision["containerConcurrency"])
    assert flags["--timeout"] == str(service.revision["timeoutSeconds"])
    assert f"size-limit={spool['emptyDir']['sizeLimit']}" in flags["--add-volume"]
    assert f"{service.mounts['settings']}/wheelyard.toml=" in flags["--update-secrets"]
    assert {"--use-http2", "--no-invoker-iam-check", "--cpu-boost"} <= set(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "gcloud run services replace - --regoin=europe-west1",
        "gcloud run depoly wheelyard",
        "gcloud run services",
        "gcloud artifacts repositories create wheelyard --mode=somehow",
        "gcloud --nothing run services list",
    ],
)
def test_wrong_gcloud_lines_are_found(line: str) -> None:
    """A flag or a command that gcloud has not is found, whatever else is right."""
    tree()

    assert wrong(line) != []


def test_render_refuses_holes(desk: Desk) -> None:
    """Without one of the values nothing is printed, and the message names what is missing."""
    script = (sys.executable, REPOSITORY / "deploy" / "render.py")
    values = {name: value for name, value in VALUES.items() if name != "IMAGE"}

    done = desk.attempt(*script, REPOSITORY / "deploy" / SERVICE, **values)

    assert done.returncode == 1
    assert done.stdout == ""
    assert "set IMAGE first" in done.stderr


def _status(desk: Desk, *arguments: str) -> str:
    """Ask with curl; returns the status of the answer."""
    silent = ("-sS", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*")
    return desk.run(system_program("curl"), *silent, *arguments)
