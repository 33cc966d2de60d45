"""CI jobs without a stored secret: `uv publish` as it stands, and the jobs that only install."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.authentication.verifiers.fake_issuer import (
    CannedResponse,
    FakeIssuer,
    rsa_key,
    running_issuer,
)
from tests.clients import github_runner
from tests.clients.harness import REPOSITORY, Sandbox, pip_of, program, system_program
from tests.clients.projects import Builder, Built
from tests.clients.reading import assert_published, publish
from tests.clients.servers import Server
from tests.clients.tls import Proxy, running_proxy
from tests.http.servers import RunningServer, running_server
from tests.http_server import TOKEN
from tests.model.jobs import GITHUB_SAYS, GITLAB_SAYS, TIMES
from tests.ports import free_port
from tests.waiting import until
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.clients

AUDIENCE = "packages.example.com"
VARIABLE = "PACKAGES_EXAMPLE_COM_ID_TOKEN"
"""The variable in which GitLab puts an ID token for that audience, and uv reads it."""
KEY = rsa_key("ci")

CONFIG = """\
[server]
public_url = "https://packages.example.com"

[access]
private = true

[trusted_publishing]
audience = ["packages.example.com"]
private_issuers = ["{github}", "{gitlab}", "{google}"]
"""
TABLES = """\
[[publisher]]
id = "gh-yard"
provider = "github"
issuer = "{github}"
repository = "octo-org/octo-repo"
repository_id = 456789
owner_id = 123456
workflow = "release.yml"
environment = "release"
projects = ["yard-hub", "yard-kite", "yard-other", "yard-hand", "yard-deed"]

[[publisher]]
id = "gl-yard"
provider = "gitlab"
issuer = "{gitlab}"
project_path = "group/tools"
project_id = 46573356
namespace_id = 68413579
projects = ["yard-lab"]

[[publisher]]
id = "gh-read"
provider = "github"
issuer = "{github}"
repository = "octo-org/octo-repo"
repository_id = 456789
owner_id = 123456
workflow = "test.yml"
projects = ["yard-re*"]
actions = ["read"]

[[publisher]]
id = "gl-read"
provider = "gitlab"
issuer = "{gitlab}"
project_path = "group/reader"
project_id = 7
namespace_id = 8
projects = ["*"]
actions = ["read"]

[[publisher]]
id = "gcb-read"
provider = "oidc"
issuer = "{google}"
require_jti = false
match = {{ sub = "104857600123456789012", email = "build@acme.iam.gserviceaccount.com" }}
projects = ["yard-read"]
actions = ["read"]
"""
PAGE = (REPOSITORY / "docs" / "ci.md").read_text()
TEST_WORKFLOW = "octo-org/octo-repo/.github/workflows/test.yml@refs/heads/main"
METADATA = "/computeMetadata/v1/instance/service-accounts/default/identity"


@dataclass(frozen=True)
class Ci:
    """Two CI services, and an index that knows some of their jobs."""

    site: RunningServer
    proxy: Proxy
    github: FakeIssuer
    gitlab: FakeIssuer
    google: FakeIssuer

    @property
    def server(self) -> Server:
        """The index, for looking at it."""
        return Server(self.site.address, self.site.token, self.site.store, private=True)

    def of_github(self, **changes: object) -> str:
        """Return what GitHub states of a job."""
        return _statement(GITHUB_SAYS, self.github, changes)

    def of_gitlab(self, **changes: object) -> str:
        """Return what GitLab states of a job."""
        place = f"{self.gitlab.url.partition('://')[2]}/group/tools//.gitlab-ci.yml"
        uri = {"ci_config_ref_uri": f"{place}@refs/heads/main"}
        return _statement(GITLAB_SAYS, self.gitlab, uri | changes)

    def on_github(self, statement: str) -> dict[str, str]:
        """Return the environment of a job on GitHub, which is given that statement."""
        self.github.answers["/id-token"] = CannedResponse(json.dumps({"value": statement}).encode())
        return {
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-runner",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.github.url}/id-token?api-version=2.0",
            "GITHUB_ACTIONS": "true",
        }

    def publish(self, sandbox: Sandbox, project: Built, **job: str) -> CompletedProcess[str]:
        """Publish wheel and sdist from a job."""
        return sandbox.attempt(
            *(program("uv"), "publish", "--trusted-publishing", "always"),
            *("--publish-url", f"{self.proxy.url}/legacy/"),
            *(project.wheel, project.sdist),
            SSL_CERT_FILE=str(self.proxy.authority),
            **job,
        )

    @property
    def tokens(self) -> list[str]:
        """Every token that clients were given."""
        return TOKEN.findall(b"".join(self.proxy.heard).decode("latin-1"))


def _statement(says: dict[str, object], issuer: FakeIssuer, changes: dict[str, object]) -> str:
    now = int(system_runtime().now().timestamp())
    times = {"iat": now, "nbf": now, "exp": now + 300}
    here = {"iss": issuer.url, "aud": AUDIENCE, "jti": uuid4().hex}
    return KEY.token({**says, **TIMES, **times, **here, **changes})


@pytest.fixture(scope="module")
def shared_ci(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ci]:
    """Two services and an index."""
    folder = tmp_path_factory.mktemp("ci")
    with ExitStack() as stack:
        github, gitlab, google = (stack.enter_context(running_issuer()) for _ in range(3))
        google.serve_keys(KEY)
        google.serve_discovery()
        for issuer, path in ((github, "/.well-known/jwks"), (gitlab, "/oauth/discovery/keys")):
            issuer.serve_keys(KEY)
            issuer.answers[path] = issuer.answers["/keys"]
        places = {"github": github.url, "gitlab": gitlab.url, "google": google.url}
        config, tables = CONFIG.format(**places), TABLES.format(**places)
        site = stack.enter_context(running_server(folder / "site", config=config, tables=tables))
        proxy = stack.enter_context(running_proxy(folder, site.address))
        yield Ci(site, proxy, github, gitlab, google)


@pytest.fixture
def ci(shared_ci: Ci) -> Ci:
    """CI services of which nobody has asked anything; each test publishes its own project."""
    shared_ci.proxy.heard.clear()
    shared_ci.github.seen.clear()
    return shared_ci


def succeeded(done: CompletedProcess[str]) -> bool:
    """Whether uv has published, and given its token back without complaint."""
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    return "Failed to invalidate" not in printed


def test_a_job_on_github_publishes_and_its_token_ends(
    ci: Ci, sandbox: Sandbox, build: Builder
) -> None:
    """A job on GitHub publishes a project that did not exist, and its token ends with it."""
    project = build("hatchling", "yard-hub")
    job = ci.on_github(ci.of_github())

    assert succeeded(ci.publish(sandbox, project, **job))

    assert_published(ci.server, sandbox, project)
    asked = next(each for each in ci.github.seen if each.path.startswith("/id-token"))
    assert asked.path.endswith(f"audience={AUDIENCE}")
    (token,) = set(ci.tokens)
    until(lambda: ci.site.get("/simple/", token).status_code == 401)
    (file, *_) = ci.site.get("/api/v1/projects/yard-hub", ci.site.token).json()["files"]
    assert file["uploaded-by"] == "publisher:gh-yard"


def test_a_job_on_gitlab_publishes(ci: Ci, sandbox: Sandbox, build: Builder) -> None:
    """A job on GitLab finds its statement in a variable that is named after the audience."""
    project = build("hatchling", "yard-lab")
    job = {"GITLAB_CI": "true", VARIABLE: ci.of_gitlab()}

    assert succeeded(ci.publish(sandbox, project, **job))

    assert_published(ci.server, sandbox, project)


def test_a_job_on_buildkite_publishes(ci: Ci, sandbox: Sandbox, build: Builder) -> None:
    """On Buildkite a client asks the agent for a statement."""
    project = build("hatchling", "yard-kite")
    agent = sandbox.folder / "buildkite-agent"
    agent.write_text(f'#!/bin/sh\necho "$@" > asked.txt\necho {ci.of_github()}\n')
    agent.chmod(0o755)
    path = f"{sandbox.folder}:{sandbox.environment()['PATH']}"

    assert succeeded(ci.publish(sandbox, project, BUILDKITE="true", PATH=path))

    assert_published(ci.server, sandbox, project)
    assert f"oidc request-token --audience {AUDIENCE}" in (sandbox.folder / "asked.txt").read_text()


def test_another_job_gets_nothing_and_learns_why(ci: Ci, sandbox: Sandbox, build: Builder) -> None:
    """A job that is not the configured one gets nothing, and uv shows which claim differs."""
    project = build("hatchling", "yard-other")
    job = ci.on_github(ci.of_github(event_name="workflow_run"))

    done = ci.publish(sandbox, project, **job)

    assert done.returncode != 0
    assert "422" in done.stderr
    assert "invalid-publisher" in done.stderr
    assert "add it to events of the [[publisher]]" in re.sub(r"\s+", " ", done.stderr)
    assert ci.tokens == []


def test_a_token_can_be_asked_for_by_hand(ci: Ci, sandbox: Sandbox, build: Builder) -> None:
    """A client that knows nothing of trusted publishing publishes by the lines of the page."""
    system_program("jq")
    page = (REPOSITORY / "docs" / "trusted-publishing.md").read_text()
    (lines,) = re.findall(r"\n## Manual token exchange\n.*?```sh\n(.*?)```", page, re.DOTALL)
    project = build("hatchling", "yard-hand")
    shutil.copytree(project.folder / "dist", sandbox.folder / "dist")
    (sandbox.home / "tools").mkdir()
    (sandbox.home / "tools" / "twine").symlink_to(program("twine"))
    job = {"ID_TOKEN": ci.of_github(), "TWINE_CERT": str(ci.proxy.authority)}

    done = Runner(ci, sandbox, job).run(lines)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("{}")  # the answer to the last line
    assert_published(ci.server, sandbox, project)
    (token,) = set(ci.tokens)
    until(lambda: ci.site.get("/simple/", token).status_code == 401)


def documented(title: str) -> dict[str, Any]:
    """Return the job of the documentation below a heading."""
    _, _, after = PAGE.partition(f"\n{title}\n")
    block = re.search(r"```yaml\n(.*?)```", after, re.DOTALL)
    assert block is not None
    found: dict[str, Any] = yaml.safe_load(block[1])
    return found


@dataclass(frozen=True)
class Runner:
    """A machine that runs the scripts of a job, each in a shell of its own."""

    ci: Ci
    sandbox: Sandbox
    job: dict[str, str]
    """What the service gives to the job."""

    @property
    def github_env(self) -> Path:
        """The file in which a step of GitHub leaves variables for later ones."""
        return self.sandbox.home / "github_env"

    def run(self, script: str, **variables: str) -> CompletedProcess[str]:
        """Run a script, in which the names of the page stand for those of the test."""
        self.github_env.touch()
        bash = system_program("bash")
        system_program("curl")
        left = dict(line.split("=", 1) for line in self.github_env.read_text().splitlines())
        own = {name: self.here(text) for name, text in variables.items()}
        authority = str(self.ci.proxy.authority)
        path = f"{self.sandbox.home / 'tools'}:{self.sandbox.environment()['PATH']}"
        return self.sandbox.attempt(
            *(bash, *github_runner.SHELL, self.here(script)),
            GITHUB_ENV=str(self.github_env),
            RUNNER_TEMP=str(self.sandbox.home),
            **dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE", "PIP_CERT"), authority),
            **self.job | {"PATH": path} | left | own,
        )

    def here(self, text: str) -> str:
        """Return a text of the page with the names of the test."""
        stand_ins = {
            "https://pypi.acme.dev": self.ci.proxy.url,
            "machine pypi.acme.dev": "machine 127.0.0.1",
            "metadata.google.internal": self.ci.google.url.removeprefix("http://"),
            "acme-core": "yard-read",
        }
        return re.sub("|".join(map(re.escape, stand_ins)), lambda m: stand_ins[m[0]], text)

    def act(self, **inputs: str) -> CompletedProcess[str]:
        """Run our action."""
        ((script, variables),) = github_runner.action(**inputs)
        return self.run(script, **variables)


def installed(ci: Ci, sandbox: Sandbox, steps: list[dict[str, Any]], **job: str) -> str:
    """Run the steps of a job, which install with pip and uv; return what they printed."""
    python = sandbox.python("published")
    tools = sandbox.home / "tools"
    tools.mkdir()
    pip = " ".join(map(str, pip_of(python)))
    for name, command in (("pip", pip), ("uv", program("uv")), ("python", sys.executable)):
        (tools / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (tools / name).chmod(0o755)
    runner, printed = Runner(ci, sandbox, job), ""
    for script, variables in chain.from_iterable(map(github_runner.scripts, steps)):
        done = runner.run(script, **variables)
        printed += done.stdout + done.stderr
        assert done.returncode == 0, printed
    for folder in (python.parent.parent, sandbox.folder / ".venv"):
        assert [*folder.glob("lib/python*/site-packages/yard_read-*.dist-info")]
    return printed


@pytest.fixture
def readable(ci: Ci, build: Builder) -> Ci:
    """CI services beside an index with a private project to install."""
    if ci.site.get("/simple/yard-read/", ci.site.token).status_code != 200:
        publish(ci.server, build("hatchling", "yard-read"))
    return ci


def test_installing_on_github(readable: Ci, sandbox: Sandbox) -> None:
    """The documented job on GitHub installs with pip and uv by a token that cannot upload."""
    (job,) = documented("### Install on GitHub Actions")["jobs"].values()
    assert job["permissions"]["id-token"] == "write"
    says = {"workflow_ref": TEST_WORKFLOW, "job_workflow_ref": TEST_WORKFLOW, "environment": None}

    variables = readable.on_github(readable.of_github(**says))
    printed = installed(readable, sandbox, job["steps"], **variables)

    (token,) = set(TOKEN.findall(printed))
    assert printed.count(token) == printed.count(f"::add-mask::{token}\n") == 1
    assert (sandbox.home / "wheelyard-netrc").stat().st_mode & 0o077 == 0
    (rights, *_) = readable.site.get("/api/v1/whoami", token).json()["rights"]
    assert rights == {"can": ["read"], "projects": ["yard-re*"], "index": "main"}
    assert readable.site.get("/simple/yard-read/", token).status_code == 200
    assert readable.site.get("/simple/yard-hub/", token).status_code == 404
    files, login = {"content": ("yard_read-2.0-py3-none-any.whl", b"")}, ("__token__", token)
    assert readable.site.client.post("/legacy/", files=files, auth=login).status_code == 403


def test_publishing_on_github(ci: Ci, sandbox: Sandbox, build: Builder) -> None:
    """The documented step on GitHub publishes a folder, also a second time; its token ends."""
    (job,) = documented("### Publish on GitHub Actions")["jobs"].values()
    project = build("hatchling", "yard-deed")
    shutil.copytree(project.folder / "dist", sandbox.folder / "dist")
    inputs = job["steps"][-1]["with"]

    for _ in range(2):
        done = Runner(ci, sandbox, ci.on_github(ci.of_github())).act(**inputs)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("\nPublished yard_deed-") == 2

    assert_published(ci.server, sandbox, project)
    assert len(set(ci.tokens)) == 2
    until(lambda: {ci.site.get("/simple/", token).status_code for token in ci.tokens} == {401})
    (file, *_) = ci.site.get("/api/v1/projects/yard-deed", ci.site.token).json()["files"]
    assert file["uploaded-by"] == "publisher:gh-yard"


def test_the_action_says_which_file_is_refused(ci: Ci, sandbox: Sandbox) -> None:
    """Where the index refuses a file, the action ends with its name and the reason."""
    (sandbox.folder / "dist").mkdir()
    (sandbox.folder / "dist" / "yard_deed-3.0.tar.gz").write_bytes(b"nothing")

    done = Runner(ci, sandbox, ci.on_github(ci.of_github())).act(
        url="https://pypi.acme.dev/", publish="dist"
    )

    assert done.returncode == 1
    (error,) = re.findall(r"^::error title=wheelyard::(.*)$", done.stdout, re.MULTILINE)
    assert error.startswith("yard_deed-3.0.tar.gz is not published: ")
    assert "gzip" in error
    until(lambda: ci.site.get("/simple/", ci.tokens[0]).status_code == 401)


def test_the_action_with_a_stored_token(ci: Ci, sandbox: Sandbox) -> None:
    """With a stored token the action needs no ID token, and keeps the credentials of others."""
    (sandbox.home / ".netrc").write_text("machine other.example.com login me password secret\n")
    runner = Runner(ci, sandbox, {})

    for token in ("of-yesterday", f" {ci.site.token}\n"):
        done = runner.act(
            url="https://pypi.acme.dev/simple/",
            token=token,
            **{"serves-public-packages": "true"},
        )
        assert done.returncode == 0, done.stdout + done.stderr

    left = dict(line.split("=", 1) for line in runner.github_env.read_text().splitlines())
    index = f"{ci.proxy.url}/simple/"
    assert left.items() >= {"PIP_INDEX_URL": index, "UV_DEFAULT_INDEX": index}.items()
    assert "UV_INDEX" not in left
    assert Path(left["NETRC"]).read_text().split("\n") == [
        f"machine 127.0.0.1 login __token__ password {ci.site.token}",
        "machine other.example.com login me password secret",
        "",
    ]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "Give the job the permissions 'contents: read' and 'id-token: write', or"),
        (
            {"url": "http://pypi.acme.dev"},
            "has to be the https URL of an index",
        ),
        (
            {"url": "https://a.dev\nPATH=/tmp"},
            "has to be the https URL of an index",
        ),
        (
            {"url": "https://me:secret@a.dev"},
            "has to be the https URL of an index",
        ),
        ({"token": 'a"; exit'}, "The input 'token' is not an API token"),
        ({"token": "t", "publish": "dost"}, "has to be a folder, and is 'dost'"),
        ({"token": "t", "publish": "."}, "The folder '.' has no wheel and no sdist"),
    ],
)
def test_the_action_says_what_is_missing(
    ci: Ci, sandbox: Sandbox, inputs: dict[str, str], words: str
) -> None:
    """The action ends with one error, which says what to give to it, and leaves nothing behind."""
    runner = Runner(ci, sandbox, {})

    done = runner.act(**{"url": "https://pypi.acme.dev"} | inputs)

    assert done.returncode == 1
    (error,) = re.findall(r"^::error title=wheelyard::(.*)$", done.stdout, re.MULTILINE)
    assert words in error
    assert runner.github_env.read_text() == ""


def test_the_action_at_an_index_without_trusted_publishing(ci: Ci, sandbox: Sandbox) -> None:
    """Where nothing mints tokens, the action asks for the URL and for trusted publishing."""
    job = ci.on_github(ci.of_github())

    done = Runner(ci, sandbox, job).act(url=f"https://127.0.0.1:{free_port()}")

    assert "does not say for whom the ID token is. Is 'url' right" in done.stdout


def test_a_job_that_gets_no_token(readable: Ci, sandbox: Sandbox) -> None:
    """The action ends where the job gets no token, and says which claim differs."""
    job = readable.on_github(readable.of_github(event_name="pull_request"))

    done = Runner(readable, sandbox, job).act(url="https://pypi.acme.dev")

    assert done.returncode == 1
    assert "::error title=wheelyard::The index gives this job no token" in done.stdout
    assert "the claim event_name is 'pull_request', and its jobs get no token" in done.stdout


def test_installing_on_gitlab(readable: Ci, sandbox: Sandbox) -> None:
    """The documented job on GitLab installs with pip and uv, and its log has no token."""
    job = documented("### Install on GitLab CI")["test"]
    (variable,) = job["id_tokens"]
    place = f"{readable.gitlab.url.partition('://')[2]}/group/reader//.gitlab-ci.yml"
    ids = {"project_id": "7", "namespace_id": "8", "project_path": "group/reader"}
    says = ids | {f"job_{name}": value for name, value in ids.items()}
    uri = {"ci_config_ref_uri": f"{place}@refs/heads/main"}
    variables = {variable: readable.of_gitlab(**says, **uri)}

    printed = installed(readable, sandbox, [{"run": "\n".join(job["script"])}], **variables)

    assert not TOKEN.search(printed)


def test_installing_on_cloud_build(readable: Ci, sandbox: Sandbox) -> None:
    """The documented build installs with pip and uv, and its log has no token."""
    (step,) = documented("### Install on Cloud Build")["steps"]
    account: dict[str, object] = {
        "sub": "104857600123456789012",
        "email": "build@acme.iam.gserviceaccount.com",
    }
    statement = _statement(account, readable.google, {"jti": None})
    readable.google.answers[METADATA] = CannedResponse(statement.encode())

    assert not TOKEN.search(installed(readable, sandbox, [{"run": step["script"]}]))

    asked = next(each for each in readable.google.seen if each.path.startswith(METADATA))
    assert "audience=pypi.acme.dev" in asked.path
