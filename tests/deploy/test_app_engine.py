"""deploy/app-engine: the folder that is sent, installed as App Engine installs it, and run."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from uv import find_uv_bin

from tests.bucket.server import running_bucket_server
from tests.clients.conftest import desk as _desk
from tests.clients.harness import Desk, program, system_program
from tests.deploy.running import BUCKET, DEPLOY, VALUES, Deployed, rendered, running
from tests.deploy.schemas import problems
from tests.http.packages import Package, wheel

desk = _desk
SCRIPT = (sys.executable, DEPLOY / "app-engine" / "bundle.py")

PARSE = """
import json, sys
from google.appengine.api import appinfo
found = appinfo.LoadSingleAppInfo(open(sys.argv[1]).read())
print(json.dumps({
    "entrypoint": found.entrypoint,
    "environment": dict(found.env_variables),
    "service": found.service,
}))
"""
REST = {
    "runtime": "runtime",
    "service_account": "serviceAccount",
    "instance_class": "instanceClass",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that bundle.py makes, or skip where no index is at hand."""
    place = tmp_path_factory.mktemp("app-engine")
    folder = place / "bundle"
    values = [f"{name}={value}" for name, value in VALUES.items()]
    # in this machine's own environment, by which pip knows its index
    done = subprocess.run(
        ["/usr/bin/env", *values, *SCRIPT, folder],
        capture_output=True,
        check=False,
        text=True,
    )
    if "No matching distribution" in done.stderr:
        pytest.skip("pip finds no index here")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder / 'app.yaml'}\n"
    return folder


@pytest.fixture(scope="module")
def installed(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with what the builder installs: requirements.txt, and nothing else."""
    place = tmp_path_factory.mktemp("built") / "env"
    subprocess.run(
        [find_uv_bin(), "venv", "--quiet", "--python", sys.executable, place], check=True
    )
    options = ("--upgrade", "--upgrade-strategy", "only-if-needed", "--no-warn-script-location")
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(place / "bin" / "python")]
    done = subprocess.run(
        [*pip, "install", *options, "--requirement", "requirements.txt"],
        cwd=bundle,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return place / "bin" / "python"


@pytest.fixture
def settings(desk: Desk) -> dict[str, Any]:
    """Return app.yaml as Google's own reader of it understands it."""
    file = desk.folder / "app.yaml"
    file.write_text(rendered("app-engine/app.yaml", desk))
    found: dict[str, Any] = json.loads(
        desk.run(program("deploy", "python"), "-W", "ignore", "-c", PARSE, file)
    )
    return found


@pytest.fixture
def deployed(
    bundle: Path, installed: Path, settings: dict[str, Any], tmp_path: Path
) -> Iterator[Deployed]:
    """Yield the index, started by the entry point in the folder that was sent."""
    spool = tmp_path / "spool"
    spool.mkdir()
    environment = settings["environment"] | {
        "PATH": f"{installed.parent}:/usr/bin:/bin",
        "PYTHONPATH": "",
        "TMPDIR": str(spool),
    }
    command = ("/bin/sh", "-c", settings["entrypoint"])
    with (
        running_bucket_server(BUCKET, f"{BUCKET}-credentials") as cloud,
        running(tmp_path / "running", cloud, command, environment, bundle) as index,
    ):
        yield index


def test_app_yaml_is_app_engines(settings: dict[str, Any]) -> None:
    """App Engine's own reader takes app.yaml, and the server listens where it is told to."""
    assert settings["service"] == "default"
    assert settings["entrypoint"].endswith("serve --host 0.0.0.0 --port $PORT")
    assert settings["environment"]["WHEELYARD_UPLOADS_MAX_FILE_SIZE"] == "31"


def test_values_are_app_engines(desk: Desk) -> None:
    """What app.yaml sets are fields of App Engine's API, with values of their types."""
    written = yaml.safe_load(rendered("app-engine/app.yaml", desk))
    version: dict[str, Any] = {REST[key]: written[key] for key in REST}
    scaling = written["automatic_scaling"]
    version["automaticScaling"] = {
        "maxConcurrentRequests": scaling["max_concurrent_requests"],
        "standardSchedulerSettings": {
            "maxInstances": scaling["max_instances"],
            "minInstances": scaling["min_instances"],
        },
    }
    version["envVariables"] = written["env_variables"]

    assert problems(version, "appengine.v1", "Version") == []


def test_what_is_sent(bundle: Path) -> None:
    """The folder has the wheel, its requirements with a hash for each, and the settings."""
    requirements = (bundle / "requirements.txt").read_text()
    named = [line for line in requirements.splitlines() if line and line[0] not in " #"]

    sent = [each for each in bundle.iterdir() if not each.name.startswith(".")]
    assert sorted(each.suffix for each in sent) == [".toml", ".txt", ".whl", ".yaml"]
    assert requirements.count("--hash=sha256:") >= len(named)
    assert named[-1].startswith("./wheelyard-")
    assert "${" not in (bundle / "app.yaml").read_text() + (bundle / "wheelyard.toml").read_text()


@pytest.mark.parametrize("name", ["file.txt", "app.yaml"])
def test_bundle_overwrites_nothing_else(desk: Desk, name: str) -> None:
    """A folder that was not made here is left alone, even one with another app in it."""
    (desk.folder / "precious").mkdir()
    (desk.folder / "precious" / name).write_text("mine")

    done = desk.attempt(*SCRIPT, "precious", **VALUES)

    assert done.returncode == 1
    assert "was not made by this program" in done.stderr
    assert (desk.folder / "precious" / name).read_text() == "mine"


def test_bundle_again(bundle: Path, desk: Desk) -> None:
    """A folder that was made here is made anew, with nothing in it of before."""
    old = shutil.copytree(bundle, desk.folder / "old")
    (old / "left-over.txt").write_text("of before")
    values = [f"{name}={value}" for name, value in VALUES.items()]
    values.append("PIP_USER=1")  # as some have set it for all of pip

    subprocess.run(["/usr/bin/env", *values, *SCRIPT, old], capture_output=True, check=True)

    assert {each.name for each in old.iterdir()} == {each.name for each in bundle.iterdir()}
    assert [each.name for each in desk.folder.iterdir()] == ["old"]


def test_bundle_that_has_no_place(desk: Desk) -> None:
    """A folder that cannot be made is told of in one line."""
    (desk.folder / "file").write_text("")

    done = desk.attempt(*SCRIPT, "file/bundle", **VALUES)

    assert done.returncode == 1
    assert done.stderr == "bundle.py: file/bundle cannot be made: File exists\n"


def test_bundle_that_fails(bundle: Path, desk: Desk) -> None:
    """Where the new folder cannot be made, the old one is still there, whole."""
    old = shutil.copytree(bundle, desk.folder / "old")
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}

    done = desk.attempt(*SCRIPT, old, **VALUES, **nowhere)

    assert done.returncode != 0
    assert {each.name for each in old.iterdir()} == {each.name for each in bundle.iterdir()}
    assert [each.name for each in desk.folder.iterdir()] == ["old"]


@pytest.mark.slow
def test_it_runs(deployed: Deployed, desk: Desk) -> None:
    """What the builder installs comes up by the entry point, private, and takes uploads."""
    small = wheel("acme-core")

    taken = _publish(desk, deployed, small)

    assert taken[0] == 200, taken
    page = f"{deployed.trusted_url}/simple/acme-core/"
    assert small.filename in desk.run(system_program("curl"), "-sS", "--noproxy", "*", page)
    refused = desk.attempt(
        system_program("curl"), "-sSf", "--noproxy", "*", f"{deployed.url}/simple/acme-core/"
    )
    assert "401" in refused.stderr


@pytest.mark.slow
def test_too_large(deployed: Deployed, desk: Desk) -> None:
    """A file of 33 MB is refused, with the limit and with what to do instead."""
    status, said = _publish(desk, deployed, wheel("acme-large", filler=bytes(33_000_000)))

    assert status == 413
    assert "the limit is 31 MiB" in said
    assert "wheelyard upload" in said


def _publish(desk: Desk, deployed: Deployed, package: Package) -> tuple[int, str]:
    """Upload with curl; returns the status and the text of the answer."""
    (desk.folder / package.filename).write_bytes(package.data)
    form = ("-F", f"content=@{package.filename}", f"{deployed.trusted_url}/legacy/")
    curl = (system_program("curl"), "-sS", "--noproxy", "*", "-w", "\n%{http_code}")
    said, _, status = desk.run(*curl, *form).rpartition("\n")
    return int(status), said
