"""The files for CI services: what their services take, and what they have in common."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.conftest import build as _build
from tests.clients.conftest import desk as _desk
from tests.clients.harness import REPOSITORY, Desk, program, system_program
from tests.clients.projects import Builder
from tests.clients.test_trusted_publishing import Ci, running_ci
from tests.deploy.build_rules import BuildRefusedError, filled
from tests.deploy.schemas import assert_valid, problems

build, desk = _build, _desk

FILES = REPOSITORY / "deploy" / "cloud-build"
BUILDS = sorted(FILES.glob("*.yaml"))
TAGGED = [path for path in BUILDS if path.name != "folder.yaml"]
GITHUB = FILES / "github.yml"
GITLAB = FILES / "gitlab.yml"


def read(path: Path) -> dict[str, Any]:
    """Return what a file says; YAML takes GitHub's `on` for a yes."""
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def jobs() -> dict[str, Any]:
    """Return the jobs on GitHub."""
    found: dict[str, Any] = read(GITHUB)["jobs"]
    return found


def steps(path: Path) -> dict[str, dict[str, Any]]:
    """Return the steps of a build by their ids."""
    return {step["id"]: step for step in read(path)["steps"]}


def test_published_schemas(desk: Desk) -> None:
    """Every file is what Cloud Build, GitHub and GitLab have published that they take."""
    assert_valid(desk, "vendor.cloudbuild", *BUILDS)
    assert_valid(desk, "vendor.github-workflows", GITHUB)
    check = (program("deploy", "check-jsonschema"), "--builtin-schema", "vendor.gitlab-ci")
    desk.run(*check, "--data-transform", "gitlab-ci", GITLAB)


@pytest.mark.parametrize("path", BUILDS, ids=lambda path: path.stem)
def test_the_api(path: Path) -> None:
    """Every field of a build is one of Cloud Build's API, and every value is of its type."""
    assert problems(read(path), "cloudbuild.v1", "Build") == []


@pytest.mark.parametrize("path", BUILDS, ids=lambda path: path.stem)
def test_what_cloud_build_refuses(path: Path) -> None:
    """Cloud Build begins each build as it stands, with an account that can do nothing else."""
    build = filled(read(path), {"TAG_NAME": "v1.0"}, "acme")

    account = "projects/acme/serviceAccounts/wheelyard-publisher@acme.iam.gserviceaccount.com"
    assert build.document["serviceAccount"] == account
    assert build.is_automapped


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"substitutions": {"_USED": "$NOT_KNOWN"}}, "not a valid built-in"),
        ({"serviceAccount": "projects/p/serviceAccounts/a"}, "has to say where it logs"),
        ({"substitutions": {"_UNUSED": "x"}}, "_UNUSED.* is not matched"),
        ({"steps": [{"name": "x", "args": ["$_NONE"]}]}, "_NONE has no value"),
        ({"steps": [{"name": "x", "args": ["a"], "script": "b"}]}, "a script, or has arguments"),
        ({"steps": [{"name": "x", "waitFor": ["later"]}]}, "not before it"),
    ],
)
def test_the_stand_in_refuses(change: dict[str, Any], why: str) -> None:
    """What Cloud Build would not begin is not begun here either."""
    options = {"dynamicSubstitutions": True}
    document = {"steps": [{"name": "x", "args": ["$$HOME"]}], "options": options, **change}

    with pytest.raises(BuildRefusedError, match=why):
        filled(document, {}, "acme")


def test_the_same_build() -> None:
    """Whatever way a file publishes, it builds and tests in the same way."""
    first, *others = [steps(path) for path in TAGGED]

    assert [step for step in others if step["build"] != first["build"]] == []
    assert [step for step in others if step["test"] != first["test"]] == []
    assert [step for step in others if step["unchanged"] != first["unchanged"]] == []
    assert "volumes" not in first["test"]
    assert [list(step)[:3] for step in others] == [["build", "test", "unchanged"]] * len(others)
    assert {next(reversed(step)) for step in others} == {"publish"}


def test_tests_are_apart() -> None:
    """On GitHub and GitLab the tests see a copy of what is published, and cannot publish."""
    github, gitlab = jobs(), read(GITLAB)

    assert github["publish"]["needs"] == ["build", "test"]
    assert [name for name in github if "id-token" in github[name]["permissions"]] == ["publish"]
    assert github["build"]["steps"][-1]["uses"].startswith("actions/upload-artifact@")
    assert "upload-artifact" not in str(github["test"]) + str(github["publish"])
    assert [name for name in github if "pytest" in str(github[name])] == ["test"]
    assert "download-artifact" in str(github["test"])
    assert gitlab["stages"] == ["build", "test", "publish"]
    assert [name for name in gitlab["stages"] if "artifacts" in gitlab[name]] == ["build"]
    assert [name for name in gitlab["stages"] if "id_tokens" in gitlab[name]] == ["publish"]


def scripts() -> Iterator[tuple[str, str]]:
    """Yield every script of every file, with its name."""
    for path in BUILDS:
        yield from ((f"{path.stem}-{name}", each["script"]) for name, each in steps(path).items())
    for name, job in read(GITHUB)["jobs"].items():
        runs = [step["run"] for step in job["steps"] if "run" in step]
        yield from ((f"github-{name}-{number}", run) for number, run in enumerate(runs))
    for name in ("build", "test", "publish"):
        yield f"gitlab-{name}", "\n".join(read(GITLAB)[name]["script"])


@pytest.mark.parametrize("script", dict(scripts()).values(), ids=dict(scripts()).keys())
def test_scripts_are_whole(script: str, desk: Desk) -> None:
    """Every script, and every program in it, is what bash and Python can read."""
    (desk.folder / "script").write_text(script)
    desk.run(system_program("bash"), "-n", desk.folder / "script")
    for body in re.findall(r"<<'END'\n(.*?)^END$", script, re.DOTALL | re.MULTILINE):
        compile(body, "script", "exec")


def test_no_secret_in_sight() -> None:
    """No script writes a secret to a file, or prints what it does."""
    for name, script in scripts():
        assert "set -x" not in script, name
        assert not re.search(r"(PASSWORD|TOKEN|STATEMENT)\S* *>", script), name


@pytest.fixture
def ci(tmp_path: Path) -> Iterator[Ci]:
    """GitHub, GitLab, and an index that knows a job of each."""
    with running_ci(tmp_path) as ci:
        yield ci


def typed(desk: Desk, ci: Ci, script: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a runner does, with the programs that an image or an action has brought."""
    folder = desk.folder / "bin"
    folder.mkdir()
    (folder / "uv").symlink_to(program("uv"))
    (folder / "python").write_text("#!/bin/sh\n# uv is there already\n")
    (folder / "python").chmod(0o755)
    path = f"{folder}{os.pathsep}{desk.environment()['PATH']}"
    authority = {"SSL_CERT_FILE": str(ci.proxy.authority)}
    bash = (system_program("bash"), "-eo", "pipefail", "-c", script)
    return desk.attempt(*bash, PATH=path, **authority, **more)


@pytest.mark.clients
def test_github(ci: Ci, desk: Desk, build: Builder) -> None:
    """The job on GitHub publishes without a secret, and says what is missing if it has no URL."""
    project = build("hatchling", "yard-hub")
    shutil.copytree(project.folder / "dist", desk.folder / "dist")
    (taking,) = [step for step in jobs()["build"]["steps"] if step.get("id") == "digests"]
    output = desk.folder / "output"
    bash = (system_program("bash"), "-e", "-c")
    desk.run(*bash, taking["run"], GITHUB_OUTPUT=str(output))
    digests = output.read_text().removeprefix("digests=").strip()
    script = jobs()["publish"]["steps"][-1]["run"]
    of_job = {"WHEELYARD_URL": ci.proxy.url, **ci.on_github(ci.of_github())}

    done = typed(desk, ci, script, DIGESTS=digests, **of_job)

    assert done.returncode == 0, done.stderr
    assert ci.site.get("/simple/yard-hub/").status_code == 200
    (desk.folder / "dist" / "more-1.0.tar.gz").write_text("")
    more = desk.attempt(*bash, script, DIGESTS=digests, **of_job)
    assert more.returncode == 1
    assert "is not what the job 'build' has made" in more.stderr
    missing = desk.attempt(*bash, script, WHEELYARD_URL="")
    assert "give the repository a variable WHEELYARD_URL" in missing.stderr


@pytest.mark.clients
def test_gitlab(ci: Ci, desk: Desk, build: Builder) -> None:
    """The job on GitLab hands its statement to uv under the name that uv looks for."""
    project = build("hatchling", "yard-lab")
    shutil.copytree(project.folder / "dist", desk.folder / "dist")
    script = "\n".join(read(GITLAB)["publish"]["script"])
    here = script.replace("https://$INDEX_HOST", ci.proxy.url)
    assert here != script

    given = {"INDEX_HOST": "packages.example.com", "INDEX_STATEMENT": ci.of_gitlab()}
    done = typed(desk, ci, here, GITLAB_CI="true", **given)

    assert done.returncode == 0, done.stderr
    assert ci.site.get("/simple/yard-lab/").status_code == 200


@pytest.mark.clients
@pytest.mark.parametrize("tag", ["v1.0", "v2.0"])
def test_versions(desk: Desk, build: Builder, tag: str) -> None:
    """GitHub's and GitLab's jobs, too, publish nothing whose version is not the tag's."""
    project = build("hatchling", "yard-hub")
    shutil.copytree(project.folder / "dist", desk.folder / "dist")
    python = program("build", "python")
    for script in (dict(scripts())["github-build-0"], dict(scripts())["gitlab-build"]):
        check = re.findall(r"^python -P - .*?^END$", script, re.DOTALL | re.MULTILINE)[-1]
        path = f"{python.parent}{os.pathsep}{desk.environment()['PATH']}"
        bash = (system_program("bash"), "-ec", check)
        done = desk.attempt(*bash, PATH=path, TAG=tag, CI_COMMIT_TAG=tag)
        assert (done.returncode == 0) == (tag == "v1.0"), done.stderr
