"""deploy/app-engine: the folder that is sent, installed from its own requirements, and run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from uv import find_uv_bin

from tests.clients.harness import Sandbox, system_program
from tests.deploy.containers import wheels
from tests.deploy.running import (
    BUCKET,
    DEPLOY,
    PUBLISHER,
    VALUES,
    Deployed,
    index_tables,
    lets_publisher_in,
    problems,
    rendered,
    running,
)
from tests.distributions import Distribution, make_wheel
from tests.fake_gcs.server import running_fake_gcs

SCRIPT = (sys.executable, str(DEPLOY / "app-engine" / "bundle.py"))
MARK = ".wheelyard-bundle"
REST = {
    "runtime": "runtime",
    "service_account": "serviceAccount",
    "instance_class": "instanceClass",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that bundle.py makes in the place of one that it has made before."""
    place = tmp_path_factory.mktemp("app-engine")
    folder = place / "bundle"
    folder.mkdir()
    for name in (MARK, "left-over.txt"):
        (folder / name).touch()
    # with a setting that some have for all of pip, and that an environment refuses
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels()), "PIP_USER": "1"}
    variables = {"PATH": os.defpath, **VALUES, **pip}
    command = (*SCRIPT, folder)
    done = subprocess.run(command, env=variables, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (0, f"{folder / 'app.yaml'}\n"), done.stderr
    assert [*place.iterdir()] == [folder]
    return folder


@pytest.fixture(params=["written", pytest.param("sent", marks=pytest.mark.weekly)])
def deployment(
    request: pytest.FixtureRequest, tmp_path: Path, sandbox: Sandbox
) -> Iterator[Deployed]:
    """Yield the index, started by its entry point: from this clone, or as the builder installs."""
    if request.param == "sent":
        folder = request.getfixturevalue("bundle")
        programs, own = _installed(folder, tmp_path / "env"), {"PYTHONPATH": ""}
    else:
        folder, programs, own = tmp_path / "written", Path(sys.executable).parent, {}
        folder.mkdir()
        for name in ("app.yaml", "wheelyard.toml", "index.toml"):
            (folder / name).write_text(rendered(f"app-engine/{name}", sandbox))
    (tmp_path / "spool").mkdir()
    written = yaml.safe_load((folder / "app.yaml").read_text())
    places = {"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(tmp_path / "spool"), **own}
    command = ("/bin/sh", "-c", f"exec {written['entrypoint']}")
    environment = written["env_variables"] | places
    with (
        running_fake_gcs(BUCKET, f"{BUCKET}-credentials") as cloud,
        running(tmp_path / "running", cloud, command, environment, folder) as index,
    ):
        assert lets_publisher_in(cloud)
        yield index


def _installed(bundle: Path, place: Path) -> Path:
    """Make an environment, and install what was sent; return the folder of its programs."""
    uv = [find_uv_bin(), "--no-config", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, place], check=True)
    source = ("--offline", "--no-index", f"--find-links={wheels()}", "--require-hashes")
    pip = (*uv, "pip", "install", "--python", str(place / "bin" / "python"), *source)
    subprocess.run([*pip, "--requirement", "requirements.txt"], cwd=bundle, check=True)
    return place / "bin"


def test_values_are_app_engines(sandbox: Sandbox) -> None:
    """What app.yaml sets are fields of App Engine's API, with values of their types."""
    written = yaml.safe_load(rendered("app-engine/app.yaml", sandbox))
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

    assert problems(sandbox, "appengine.v1", "Version", version) == ""
    allowed = {*REST, "automatic_scaling", "entrypoint", "env_variables", "handlers", "service"}
    assert written.keys() == allowed
    assert [*written["handlers"][0]] == ["url", "script", "secure"]


def test_the_index_file_lets_ci_publish(sandbox: Sandbox) -> None:
    """The settings are those of a process alone, and the index file lets CI publish."""
    texts = [rendered(f"app-engine/{name}.toml", sandbox) for name in ("index", "wheelyard")]
    (grant,) = index_tables(*texts).grant

    assert grant.who == (PUBLISHER,)


@pytest.mark.weekly
def test_what_is_sent(bundle: Path) -> None:
    """The folder has the wheel, its requirements with a hash for each, and both TOML files."""
    requirements = (bundle / "requirements.txt").read_text()
    named = [line for line in requirements.splitlines() if line and line[0] not in " #"]

    sent = [path for path in bundle.iterdir() if path.name != MARK]
    assert sorted(each.suffix for each in sent) == [".toml", ".toml", ".txt", ".whl", ".yaml"]
    assert "left-over.txt" not in {each.name for each in sent}
    assert requirements.count("--hash=sha256:") >= len(named)
    assert named[-1].startswith("./wheelyard-")
    filled = [bundle / name for name in ("app.yaml", "wheelyard.toml", "index.toml")]
    assert "${" not in "".join(path.read_text() for path in filled)


@pytest.mark.weekly
def test_wheel_of_the_clone(bundle: Path, sandbox: Sandbox) -> None:
    """The wheel that is built from the clone installs as a tool, and runs outside the clone."""
    (built,) = bundle.glob("wheelyard-*.whl")
    source = ("--offline", "--no-index", f"--find-links={wheels()}")
    sandbox.run(find_uv_bin(), "tool", "install", "--python", sys.executable, *source, built)
    program = sandbox.home / ".local" / "bin" / "wheelyard"

    printed = sandbox.run(program, "print-settings", "uv", "--url", "https://pypi.acme.dev")

    assert 'url = "https://pypi.acme.dev/simple/"' in printed


def test_bundle_overwrites_nothing_else(sandbox: Sandbox) -> None:
    """A folder that was not made here is left alone, even one with another app in it."""
    (sandbox.folder / "precious").mkdir()
    (sandbox.folder / "precious" / "app.yaml").write_text("mine")

    done = sandbox.attempt(*SCRIPT, "precious", **VALUES)

    assert done.returncode == 1
    assert "was not made by this program" in done.stderr
    assert (sandbox.folder / "precious" / "app.yaml").read_text() == "mine"


def test_bundle_that_fails(sandbox: Sandbox) -> None:
    """Where the new folder cannot be made, the old one is still there, whole."""
    old = sandbox.folder / "old"
    old.mkdir()
    (old / MARK).touch()
    values = {name: value for name, value in VALUES.items() if name != "BUCKET"}

    done = sandbox.attempt(*SCRIPT, old, **values)

    assert done.returncode != 0
    assert "set BUCKET first" in done.stderr
    assert [*sandbox.folder.rglob("*")] == [old, old / MARK]


@pytest.mark.slow
def test_the_deployed_app_serves_and_takes_uploads(deployment: Deployed, sandbox: Sandbox) -> None:
    """The deployed app is private, takes uploads, and refuses one of 33 MB with advice."""
    small = make_wheel("acme-core")

    assert _publish(sandbox, deployment, small)[0] == "200"
    status, output = _publish(
        sandbox, deployment, make_wheel("acme-large", content=bytes(33_000_000))
    )

    curl = (system_program("curl"), "-sSf", "--noproxy", "*")
    assert small.filename in sandbox.run(*curl, f"{deployment.trusted_url}/simple/acme-core/")
    assert "401" in sandbox.attempt(*curl, f"{deployment.url}/simple/acme-core/").stderr
    assert status == "413"
    assert "the limit is 31 MiB" in output
    assert "wheelyard upload" in output


def _publish(sandbox: Sandbox, deployed: Deployed, package: Distribution) -> tuple[str, str]:
    """Upload with curl; returns the status and the text of the answer."""
    (sandbox.folder / package.filename).write_bytes(package.body)
    form = ("-F", f"content=@{package.filename}", f"{deployed.trusted_url}/legacy/")
    curl = (system_program("curl"), "-sS", "--noproxy", "*", "-w", "\n%{http_code}")
    output, _, status = sandbox.run(*curl, *form).rpartition("\n")
    return status, output
