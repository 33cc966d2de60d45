"""Clients of an index below a path of another host, behind an nginx that takes the path away."""

from collections.abc import Iterator

import pytest

from tests.clients.harness import Sandbox, program
from tests.clients.installing import pip_command
from tests.clients.projects import Builder
from tests.http.prefix_proxy import TEAM, Proxied, Setup, behind_nginx
from tests.http.servers import token_of

pytestmark = pytest.mark.clients

INDEX = '[main]\npromote_only = false\n[[index]]\nname = "dev"\nread = "anyone"\n'


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """An index with another one, dev, behind nginx."""
    folder = tmp_path_factory.mktemp("proxied")
    with behind_nginx(folder, Setup(takes_away=TEAM), tables=INDEX) as proxied:
        yield proxied


@pytest.mark.parametrize(
    "name", [pytest.param("", marks=pytest.mark.weekly), "/dev"], ids=["root", "dev"]
)
def test_clients_publish_and_install_below_the_path(
    index: Proxied, sandbox: Sandbox, build: Builder, name: str
) -> None:
    """Twine and uv publish below the path, and pip and uv install from there."""
    base, tool = build("flit-core", "yard-base", "2.0"), build("hatchling", "acme-tool", "1.4")
    upload, simple = f"{index.url}{name}/legacy/", f"{index.url}{name}/simple/"
    token = token_of(index.server.index, can="read,upload", place="*")

    twine = ("upload", "--repository-url", upload, "-u", "__token__", "-p", token)
    sandbox.run(program("twine"), *twine, base.wheel, base.sdist)
    sandbox.run(program("uv"), "publish", "--publish-url", upload, "--token", token, tool.wheel)

    python = sandbox.python()
    sandbox.run(*pip_command(python), "--index-url", simple, "yard_base")
    base.assert_installed(python)
    install = ("pip", "install", "--python", python, "--default-index", simple, "acme-tool")
    sandbox.run(program("uv"), *install)
    tool.assert_installed(python)
