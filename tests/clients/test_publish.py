"""Publishing with the tool that one already uses, and getting the same files back."""

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.harness import Sandbox, attempt_wheelyard, program, system_program, wheelyard
from tests.clients.projects import (
    BACKENDS,
    Builder,
    Built,
    module_of,
    run_backend,
    sha256,
    write_project,
)
from tests.clients.reading import assert_published, fetch, listed, post
from tests.clients.servers import Server
from wheelyard.rendering.client_settings import ClientSettings, client_text

pytestmark = pytest.mark.clients

ATTESTATION = {
    "version": 1,
    "verification_material": {"certificate": "MA==", "transparency_entries": [{}]},
    "envelope": {"statement": "e30=", "signature": "MA=="},
}
FROM_A_FOLDER: dict[str, tuple[str, str]] = {
    "poetry": ("poetry-core", "publish --no-interaction --repository yard"),
    "pdm": ("pdm-backend", "publish --no-build --repository {url}"),
    "hatch": ("hatchling", "publish --no-prompt --repo wheelyard"),
}
"""Clients that publish what was built in a project's folder: the backend, and what is typed."""


def printed(client: str, server: Server) -> str:
    """Return what `wheelyard print-settings --with-token` prints for an index."""
    return client_text(client, ClientSettings(root=server.url, token=server.token))


def logins(server: Server) -> dict[str, str]:
    """Return where each client finds the index and the token in its environment."""
    return {
        "POETRY_REPOSITORIES_YARD_URL": server.upload_url,
        "POETRY_HTTP_BASIC_YARD_USERNAME": "__token__",
        "POETRY_HTTP_BASIC_YARD_PASSWORD": server.token,
        "PDM_PUBLISH_USERNAME": "__token__",
        "PDM_PUBLISH_PASSWORD": server.token,
        "PDM_CHECK_UPDATE": "false",
        "FLIT_INDEX_URL": server.upload_url,
        "FLIT_USERNAME": "__token__",
        "FLIT_PASSWORD": server.token,
    }


def test_twine_from_every_backend(index: Server, sandbox: Sandbox, build: Builder) -> None:
    """What the common backends build, twine publishes, and it installs as it was built."""
    projects = [build(backend, f"Yard.{backend}") for backend in BACKENDS]
    files = [file for each in projects for file in (each.wheel, each.sdist)]

    sandbox.run(*twine_command(index, *files), **twine_login(index.token))

    for project in projects:
        assert_published(index, sandbox, project)


@pytest.mark.parametrize("backend", ["flit-core", "hatchling", "pdm-backend", "uv_build"])
def test_import_names_of_a_backend(index: Server, sandbox: Sandbox, backend: str) -> None:
    """A project is found by the import names that its build backend writes."""
    name, folder = f"imports-of-{backend.replace('_', '-')}", sandbox.folder / "project"
    module = module_of(name)
    write_project(folder, backend, name, "1.0")
    settings = folder / "pyproject.toml"
    names = f'[project]\nimport-names = ["{module}"]'
    settings.write_text(settings.read_text().replace("[project]", names))
    run_backend(folder, backend)
    for file in sorted((folder / "dist").glob("imports*")):
        post(index, file)

    asked = f"{index.trusted_url}/search.json?q=import+{module}.data"
    (found,) = json.loads(fetch(asked))["projects"]
    assert (found[0], found[-1]) == (name, module)


def test_twine_other_bytes(index: Server, sandbox: Sandbox, build: Builder) -> None:
    """
    A published version cannot be replaced: twine says so, and the first files stay.

    twine reads the printed `.pypirc`.
    """
    first = build("hatchling", "yard-frozen")
    other = build("hatchling", "yard-frozen", "1.0", "packaging")
    (sandbox.home / ".pypirc").write_text(printed("twine", index))
    command = (program("twine"), "upload", "--non-interactive", "--repository", "wheelyard")
    post(index, first.wheel)
    sandbox.run(*command, first.wheel)

    done = sandbox.attempt(*command, other.wheel)

    assert done.returncode == 1
    assert "409" in done.stdout + done.stderr
    assert listed(index, first.name) == {first.wheel.name: sha256(first.wheel)}


def test_uv_publishes_and_sends_nothing_again(
    index: Server, sandbox: Sandbox, build: Builder
) -> None:
    """`uv publish` publishes with a token; with --check-url it sends nothing again."""
    project = build("uv_build", "yard-uv")
    command = (program("uv"), "publish", "--publish-url", index.upload_url, "--token", index.token)

    sandbox.run(*command, project.wheel, project.sdist)

    assert_published(index, sandbox, project)
    again = sandbox.run(*command, "--check-url", index.index_url, project.wheel)
    assert "already exists" in again


@pytest.mark.parametrize("client", ["twine", "uv"])
def test_a_namespace_of_others(
    index: Server, sandbox: Sandbox, build: Builder, client: str
) -> None:
    """A new project in a namespace of others is refused: the client fails, and says why."""
    project = build("hatchling", f"{client}-space-core")
    owner = ("--owner", "user:ana@acme.dev", "--store", index.store)
    wheelyard(sandbox, "namespace", "grant", f"{client}-space", *owner)
    command: list[str | Path] = [program("uv"), "publish"]
    command += ["--publish-url", index.upload_url, project.wheel]
    login: Mapping[str, str] = {"UV_PUBLISH_TOKEN": index.token}
    if client == "twine":
        command = [*twine_command(index, project.wheel), "--verbose"]
        login = twine_login(index.token)

    done = sandbox.attempt(*command, **login)

    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert f"is in the namespace {client}-space" in output
    assert listed(index, project.name) == {}


@pytest.mark.parametrize("client", ["twine", "uv"])
def test_a_file_is_kept_without_its_attestations(
    index: Server, sandbox: Sandbox, build: Builder, client: str
) -> None:
    """A file is kept without attestations where none are taken; log and twine say so."""
    project = build("hatchling", f"yard-attested-{client}")
    wheel = sandbox.folder / project.wheel.name
    wheel.write_bytes(project.wheel.read_bytes())
    attestation = sandbox.folder / f"{wheel.name}.publish.attestation"
    attestation.write_text(json.dumps(ATTESTATION))

    if client == "twine":
        command = [*twine_command(index, wheel, attestation), "--attestations", "--verbose"]
        printed = sandbox.run(*command, **twine_login(index.token))
        assert "attestations were not kept" in " ".join(printed.split())
    else:
        command = [program("uv"), "publish", "--publish-url", index.upload_url]
        sandbox.run(*command, "--token", index.token, wheel, attestation)

    assert listed(index, project.name) == {project.wheel.name: sha256(project.wheel)}
    assert f"sent with {wheel.name} were not kept" in index.log


# the page about publishing has a line of each, which test_docs.py runs daily
@pytest.mark.parametrize(
    "client",
    [
        pytest.param("poetry", marks=pytest.mark.weekly),
        pytest.param("pdm", marks=pytest.mark.weekly),
        "hatch",
    ],
)
def test_from_a_folder(index: Server, sandbox: Sandbox, build: Builder, client: str) -> None:
    """A client publishes what was built in the project's folder; hatch sees when nothing is new."""
    backend, line = FROM_A_FOLDER[client]
    project = build(backend, f"yard-{client}")
    there = sandbox.at(shutil.copytree(project.folder, sandbox.folder / "project"))
    (sandbox.home / "hatch.toml").write_text(printed("hatch", index))
    command = [str(program(client)), *line.format(url=index.upload_url).split()]

    environment = {**logins(index), "HATCH_CONFIG": str(sandbox.home / "hatch.toml")}
    there.run(*command, **environment)

    assert_published(index, sandbox, project)
    if client == "hatch":
        assert "already exists" in there.run(*command, **environment)


def test_flit_publishes_what_it_builds(index: Server, sandbox: Sandbox) -> None:
    """`flit publish` publishes what it builds."""
    folder = sandbox.folder / "project"
    write_project(folder, "flit-core", "yard-flit", "1.0")

    sandbox.at(folder).run(program("flit"), "publish", "--no-use-vcs", **logins(index))

    (wheel,) = folder.glob("dist/*.whl")
    (sdist,) = folder.glob("dist/*.tar.gz")
    assert_published(index, sandbox, Built(folder, "yard-flit", "1.0", wheel, sdist))


def test_curl_publishes_as_to_gemfury(index: Server, sandbox: Sandbox, build: Builder) -> None:
    """A form of curl with the field `package` publishes, as to Gemfury."""
    project = build("setuptools", "yard-curl")
    options = ("--silent", "--show-error", "--fail", "--form")

    for file in (project.wheel, project.sdist):
        url = f"http://{index.token}@{index.address}/simple/"
        sandbox.run(system_program("curl"), *options, f"package=@{file}", url)

    assert_published(index, sandbox, project)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="distutils ended with Python 3.11")
def test_distutils_publishes(index: Server, sandbox: Sandbox) -> None:
    """The old distutils publishes by `setup.py sdist upload`."""
    (sandbox.home / ".pypirc").write_text(
        "[distutils]\nindex-servers = yard\n\n"
        f"[yard]\nrepository = {index.url}/legacy\nusername = __token__\npassword = {index.token}\n"
    )
    (sandbox.folder / "veteran.py").touch()
    (sandbox.folder / "setup.py").write_text(
        "from distutils.core import setup\n\n"
        "setup(name='yard-veteran', version='1.0', py_modules=['veteran'])\n"
    )

    sandbox.run(sandbox.python(), "setup.py", "--quiet", "sdist", "upload", "--repository", "yard")

    sdist = sandbox.folder / "dist" / "yard-veteran-1.0.tar.gz"
    assert listed(index, "yard-veteran") == {sdist.name: sha256(sdist)}


def test_upload_without_a_server(sandbox: Sandbox, build: Builder, index: Server) -> None:
    """`wheelyard upload FILE...` puts files into a store, and a server on it shows them at once."""
    project = build("flit-core", "yard-direct")

    wheelyard(sandbox, "upload", "--store", index.store, project.wheel, project.sdist)

    assert_published(index, sandbox, project)


def twine_command(server: Server, *files: Path) -> list[str | Path]:
    """The command line for publishing files with twine."""
    options = ("--non-interactive", "--disable-progress-bar", "--repository-url", server.upload_url)
    return [program("twine"), "upload", *options, *files]


def twine_login(token: str) -> Mapping[str, str]:
    """The environment variables of twine."""
    return {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": token}


@pytest.mark.parametrize("ci", ["github", "gitlab", "cloud-build"])
def test_lines_for_ci(index: Server, sandbox: Sandbox, build: Builder, ci: str) -> None:
    """The printed lines for a CI service publish and install; none has the token."""
    project = build("flit-core", f"yard-{ci}")
    shutil.copytree(project.folder / "dist", sandbox.folder / "dist")
    typed = (*("token", "create", ci, "--project", project.name, "--for-ci"), ci)
    public = {"WHEELYARD_SERVER_PUBLIC_URL": index.url}
    done = attempt_wheelyard(sandbox, *typed, "--store", index.store, **public)
    token = done.stdout.strip()
    assert token not in done.stderr
    advice, _, after = done.stderr.partition("store it:\n")
    assert "trusted publishing gives each job one" in advice
    (job,) = re.findall(r"^and add this to .*:\n\n((?:  .*\n)+)", after, re.MULTILINE)

    for script, environment in scripts_of(ci, yaml.safe_load(textwrap.dedent(job))):
        variables = {name: re.sub(SECRET, token, text) for name, text in environment.items()}
        sandbox.run("/bin/sh", "-ec", script, **variables, **tools(sandbox), WHEELYARD_TOKEN=token)

    project.assert_installed(sandbox.folder / ".venv" / "bin" / "python")


SECRET = r"\$\{\{ secrets\.WHEELYARD_TOKEN \}\}|\$WHEELYARD_TOKEN"
"""How GitHub and GitLab write the variable in the environment of a job."""


def scripts_of(ci: str, job: Any) -> list[tuple[str, dict[str, str]]]:  # noqa: ANN401 - YAML's
    """Return the scripts of a job, and the environment of each."""
    match ci:
        case "github":
            return [(step["run"], step["env"]) for step in job]
        case "gitlab":
            return [("\n".join(e["script"]), e.get("variables", {})) for e in job.values()]
        case _:
            assert [each["secretEnv"] for each in job["steps"]] == [["WHEELYARD_TOKEN"]] * 2
            return [(step["script"], {}) for step in job["steps"]]


def tools(sandbox: Sandbox) -> dict[str, str]:
    """Return the path to uv."""
    return {"PATH": f"{program('uv').parent}:{sandbox.environment()['PATH']}"}
