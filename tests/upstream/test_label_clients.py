"""What clients install from an index that has two upstream indexes as layers, and merges names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.harness import Sandbox, program
from tests.http.packages import publish
from tests.http.servers import RunningServer, running_server
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_packages import private_wheel, public_wheel

pytestmark = [pytest.mark.clients, pytest.mark.integration]

INDEX = """
[main]
promote_only = false

[[index]]
name = "ml"
layers = ["main", "pytorch", "pypi"]
merge = ["torch*"]
read = "anyone"
"""


@pytest.fixture(scope="module")
def pytorch() -> Iterator[FakeUpstream]:
    """The index of builds for one kind of machine, where a stranger has taken our name."""
    with running_fake_upstream() as upstream:
        upstream.publish(
            public_wheel("torch", "2.0+cu121", "Requires-Dist: sympy"),
            public_wheel("acme-core", "98.0"),
            public_wheel("sympy", "0.1"),
        )
        yield upstream


@pytest.fixture(scope="module")
def pypi() -> Iterator[FakeUpstream]:
    """The public index, where a stranger has taken our name, too."""
    with running_fake_upstream() as upstream:
        upstream.publish(
            public_wheel("torch", "1.0"),
            public_wheel("torch", "2.0", "Requires-Dist: sympy"),
            public_wheel("torchmetrics", "5.0", "Requires-Dist: torch==2.0+cu121"),
            public_wheel("acme-core", "99.0"),
            public_wheel("sympy", "9.0"),
        )
        yield upstream


@pytest.fixture(scope="module")
def index(
    pytorch: FakeUpstream, pypi: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server whose main has a private package, which needs a build of the first index."""
    tables = "".join(
        f'[[upstream.index]]\nlabel = "{label}"\nurl = "{each.url}"\n'
        f'file_hosts = ["{each.file_host}"]\n'
        for label, each in (("pytorch", pytorch), ("pypi", pypi))
    )
    section = '[upstream]\nprivate = ["team-*"]\nallow_private_networks = ["127.0.0.0/8"]\n'
    config = f"{section}check_upload = false\n{tables}"
    folder = tmp_path_factory.mktemp("labels")
    with running_server(folder, config=config, tables=INDEX) as server:
        publish(server, private_wheel("acme-core", "1.0", "Requires-Dist: torchmetrics"))
        yield server


def installed(sandbox: Sandbox, client: str, url: str, *wanted: str) -> dict[str, str]:
    """Install with a client from one URL, and return the versions of all that is installed."""
    python = sandbox.python(client)
    options: tuple[str | Path, ...] = ("install", "--quiet", "--index-url", url, *wanted)
    if client == "pip":
        sandbox.run(program("pip"), "--python", python, *options, "--no-cache-dir")
    else:
        sandbox.run(program("uv"), "pip", *options, "--python", python, "--no-cache")
    listed = sandbox.run(
        program("uv"), "pip", "list", "--quiet", "--python", python, "--format=freeze"
    )
    return dict(line.split("==") for line in listed.split() if "==" in line)


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_versions_of_two_upstream_indexes(
    index: RunningServer, pytorch: FakeUpstream, pypi: FakeUpstream, sandbox: Sandbox, client: str
) -> None:
    """A private package gets its build of one upstream index, and the rest from the first."""
    found = installed(sandbox, client, f"{index.url}/ml/simple/", "acme-core")

    assert found == {
        "acme-core": "1.0",
        "torchmetrics": "5.0",
        "torch": "2.0+cu121",
        "sympy": "0.1",
    }
    assert pytorch.asked("acme-core") == pypi.asked("acme-core") == []
