"""Publishing from a CI job without a stored secret: `uv publish`, as it stands."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from subprocess import CompletedProcess
from uuid import uuid4

import pytest

from tests.authentication.verifiers.fake_issuer import (
    CannedResponse,
    FakeIssuer,
    rsa_key,
    running_issuer,
)
from tests.clients.harness import Sandbox, program, system_program
from tests.clients.projects import Builder, Built
from tests.clients.reading import assert_published
from tests.clients.servers import TOKEN, Server
from tests.clients.tls import Proxy, running_proxy
from tests.http.servers import RunningServer, running_server
from tests.model.jobs import GITHUB_SAYS, GITLAB_SAYS, TIMES
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

[trusted_publishing]
audience = ["packages.example.com"]

[[publisher]]
id = "gh-yard"
provider = "github"
issuer = "{github}"
allow_private_issuer = true
repository = "octo-org/octo-repo"
repository_id = 456789
owner_id = 123456
workflow = "release.yml"
environment = "release"
projects = ["yard-hub", "yard-kite", "yard-other", "yard-hand"]

[[publisher]]
id = "gl-yard"
provider = "gitlab"
issuer = "{gitlab}"
allow_private_issuer = true
project_path = "group/tools"
project_id = 46573356
namespace_id = 68413579
projects = ["yard-lab"]
"""


@dataclass(frozen=True)
class Ci:
    """Two CI services, and an index that knows some of their jobs."""

    site: RunningServer
    proxy: Proxy
    github: FakeIssuer
    gitlab: FakeIssuer

    @property
    def server(self) -> Server:
        """The index, for looking at it."""
        return Server(self.site.address, self.site.token, self.site.store, private=False)

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
        github, gitlab = (stack.enter_context(running_issuer()) for _ in range(2))
        for issuer, path in ((github, "/.well-known/jwks"), (gitlab, "/oauth/discovery/keys")):
            issuer.serve_keys(KEY)
            issuer.answers[path] = issuer.answers["/keys"]
        config = CONFIG.format(github=github.url, gitlab=gitlab.url)
        site = stack.enter_context(running_server(folder / "site", config=config))
        proxy = stack.enter_context(running_proxy(folder, site.address))
        yield Ci(site, proxy, github, gitlab)


@pytest.fixture
def ci(shared_ci: Ci) -> Ci:
    """The same, where nobody has asked for anything yet; each test publishes its own project."""
    shared_ci.proxy.heard.clear()
    shared_ci.github.seen.clear()
    return shared_ci


def succeeded(done: CompletedProcess[str]) -> bool:
    """Whether uv has published, and given its token back without complaint."""
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    return "Failed to invalidate" not in printed


def test_github(ci: Ci, sandbox: Sandbox, build: Builder) -> None:
    """A job on GitHub publishes a project that did not exist, and its token ends with it."""
    project = build("hatchling", "yard-hub")
    job = ci.on_github(ci.of_github())

    assert succeeded(ci.publish(sandbox, project, **job))

    assert_published(ci.server, sandbox, project)
    asked = next(each for each in ci.github.seen if each.path.startswith("/id-token"))
    assert asked.path.endswith(f"audience={AUDIENCE}")
    (token,) = set(ci.tokens)
    until(lambda: ci.site.get("/simple/", token).status_code == 401)
    (file, *_) = ci.site.get("/api/v1/projects/yard-hub").json()["files"]
    assert file["uploaded-by"] == "publisher:gh-yard"


def test_gitlab(ci: Ci, sandbox: Sandbox, build: Builder) -> None:
    """A job on GitLab finds its statement in a variable that is named after the audience."""
    project = build("hatchling", "yard-lab")
    job = {"GITLAB_CI": "true", VARIABLE: ci.of_gitlab()}

    assert succeeded(ci.publish(sandbox, project, **job))

    assert_published(ci.server, sandbox, project)


def test_buildkite(ci: Ci, sandbox: Sandbox, build: Builder) -> None:
    """On Buildkite a client asks the agent for a statement."""
    project = build("hatchling", "yard-kite")
    agent = sandbox.folder / "buildkite-agent"
    agent.write_text(f'#!/bin/sh\necho "$@" > asked.txt\necho {ci.of_github()}\n')
    agent.chmod(0o755)
    path = f"{sandbox.folder}:{sandbox.environment()['PATH']}"

    assert succeeded(ci.publish(sandbox, project, BUILDKITE="true", PATH=path))

    assert_published(ci.server, sandbox, project)
    assert f"oidc request-token --audience {AUDIENCE}" in (sandbox.folder / "asked.txt").read_text()


def test_another_job(ci: Ci, sandbox: Sandbox, build: Builder) -> None:
    """A job that is not the configured one gets nothing, and uv shows which claim differs."""
    project = build("hatchling", "yard-other")
    job = ci.on_github(ci.of_github(event_name="workflow_run"))

    done = ci.publish(sandbox, project, **job)

    assert done.returncode != 0
    assert "422" in done.stderr
    assert "invalid-publisher" in done.stderr
    assert "add it to events of the [[publisher]]" in re.sub(r"\s+", " ", done.stderr)
    assert ci.tokens == []


def test_by_hand(ci: Ci, sandbox: Sandbox, build: Builder) -> None:
    """A client that knows nothing of trusted publishing takes a token that curl has asked for."""
    project = build("hatchling", "yard-hand")
    curl = (system_program("curl"), "-sf", "--cacert", ci.proxy.authority)
    body = json.dumps({"token": ci.of_github()})
    output = sandbox.run(*curl, "-d", body, f"{ci.proxy.url}/_/oidc/mint-token")
    token = json.loads(output)["token"]

    sandbox.run(
        *(program("twine"), "upload", "--repository-url", f"{ci.proxy.url}/legacy/"),
        *("--cert", ci.proxy.authority, project.wheel, project.sdist),
        TWINE_USERNAME="__token__",
        TWINE_PASSWORD=token,
    )

    assert_published(ci.server, sandbox, project)
    burn = json.dumps({"token": token})
    assert sandbox.run(*curl, "-d", burn, f"{ci.proxy.url}/_/oidc/burn-token") == "{}"
    until(lambda: ci.site.get("/simple/", token).status_code == 401)
