"""Renovate, with the configuration of docs/renovate-dependabot.md, before a real index."""

import json
import re
from typing import Any

import pytest
from uv import find_uv_bin

from tests.clients.harness import REPOSITORY, Sandbox, system_program
from tests.distributions import make_wheel
from tests.http.packages import publish
from tests.http.servers import RunningServer, running_server
from tests.npm import node, npm_package
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_packages import public_wheel

pytestmark = [pytest.mark.downloads, pytest.mark.slow]

PAGE = REPOSITORY / "docs" / "renovate-dependabot.md"
INDEX = "https://pypi.acme.dev"
CHANGELOG = "https://git.acme.dev/core/changes"
PROJECT = """\
[project]
name = "app"
version = "1"
requires-python = ">=3.11"
dependencies = ["acme-core==1.0"]

"""
FILES = {
    "pip/requirements.txt": "acme-core==1.0\nrequests==2.0\n",
    "uv/pyproject.toml": f'{PROJECT}[[tool.uv.index]]\nname = "acme"\nurl = "{INDEX}/simple/"\n',
    "poetry/pyproject.toml": f"""\
{PROJECT}[[tool.poetry.source]]
name = "acme"
url = "{INDEX}/simple/"
priority = "explicit"

[tool.poetry.group.acme]
optional = true

[tool.poetry.group.acme.dependencies.acme-core]
source = "acme"
""",
}
WITHOUT_A_FORGE = {"onboarding": False, "requireConfig": "optional", "ignoreDeps": ["python"]}
"""Further settings, for Renovate on a folder; releases of Python would come from the network."""


def test_renovate_finds_releases_of_private_packages(sandbox: Sandbox) -> None:
    """With the page's configuration Renovate finds our releases, their times and changelogs."""
    with running_fake_upstream() as public:
        for name, version in (("acme-core", "9.9"), ("requests", "2.0"), ("requests", "2.1")):
            public.publish(public_wheel(name, version))
        with running_server(
            sandbox.folder.parent / "site", config="[access]\nprivate = true\n"
        ) as server:
            for version in ("1.0", "1.1"):
                publish(
                    server, make_wheel("acme-core", version, f"Project-URL: Changelog, {CHANGELOG}")
                )
            updates = proposed(sandbox, server, public)

    private = [each for each in updates if each["packageName"] == "acme-core"]
    (public_update,) = (each for each in updates if each["packageName"] == "requests")
    assert [each["newest"] for each in (*private, public_update)] == ["1.1", "1.1", "1.1", "2.1"]
    assert {each["manager"] for each in private} == {"pip_requirements", "pep621", "poetry"}
    assert {each["changelogUrl"] for each in private} == {CHANGELOG}
    assert all(each["updates"][-1]["releaseTimestamp"] for each in private)
    assert public.asked("acme-core") == []


def proposed(sandbox: Sandbox, server: RunningServer, public: FakeUpstream) -> list[dict[str, Any]]:
    """Return each dependency that Renovate would update, with its manager and the new version."""
    (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    config = sandbox.home / "config.json"
    text = block.replace(INDEX, server.url).replace("{{ secrets.WHEELYARD_TOKEN }}", server.token)
    config.write_text(json.dumps(json.loads(text) | WITHOUT_A_FORGE))
    for name, content in FILES.items():
        path = sandbox.folder / name
        path.parent.mkdir()
        path.write_text(content.replace(INDEX, server.url))
    token = {"UV_INDEX_ACME_USERNAME": "__token__", "UV_INDEX_ACME_PASSWORD": server.token}
    sandbox.at(sandbox.folder / "uv").run(find_uv_bin(), "lock", **token)
    git = system_program("git")
    sandbox.run(git, "init", "--quiet")
    sandbox.run(git, "add", ".")
    renovate = npm_package("renovate") / "dist" / "renovate.js"
    printed = sandbox.run(
        *(node(), renovate, "--platform=local", "--dry-run=lookup"),
        LOG_FORMAT="json",
        LOG_LEVEL="debug",
        PIP_INDEX_URL=public.url,
        RENOVATE_BASE_DIR=str(sandbox.home / "renovate"),
        RENOVATE_CONFIG_FILE=str(config),
    )
    records = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    (found,) = (each["config"] for each in records if "with updates" in each["msg"])
    return [
        dependency | {"manager": manager, "newest": dependency["updates"][-1]["newVersion"]}
        for manager, files in found.items()
        for file in files
        for dependency in file["deps"]
        if dependency["updates"]
    ]
