"""What pip and uv install of an approved version to which somebody adds a file."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Typed
from tests.cli.conftest import wheelyard as _wheelyard
from tests.clients.harness import Sandbox, program
from tests.distributions import make_wheel
from tests.http.servers import running_server
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import upstream_settings

pytestmark = [pytest.mark.clients, pytest.mark.integration]

wheelyard = _wheelyard
PREFERRED = "py{}{}-none-any".format(*sys.version_info)
"""A tag that installers of this Python like better than `py3-none-any`."""


@pytest.mark.parametrize(
    "approval",
    ["approve demo 1.0", f"approve demo 1.0 --sha256 {public_wheel('demo', '1.0').sha256}"],
)
def test_a_preferred_wheel(
    wheelyard: Typed, upstream: FakeUpstream, sandbox: Sandbox, tmp_path: Path, approval: str
) -> None:
    """Both pip and uv install the file that was approved, not a preferred one added since."""
    now = datetime.now(UTC)  # noqa: TID251 - the server's clock
    upstream.publish(FakeFile.of(public_wheel("demo", "1.0"), now))
    config = upstream_settings(upstream, "cooldown_days = 3", "page_ttl = 0")
    settings = sandbox.folder / "wheelyard.toml"
    with running_server(tmp_path / "server", config=config) as server:
        settings.write_text(f'{config}\n[store]\nlocation = "{server.store}"\n')
        done = wheelyard("upstream", *approval.split(), "--config", settings)
        assert (done.returncode, done.stderr) == (0, "")
        added = make_wheel("demo", "1.0", content=b'WHO = "stranger"\n', tag=PREFERRED)
        upstream.publish(FakeFile.of(added, now))
        url = f"{server.url}/simple/"
        first, second = sandbox.python("pip"), sandbox.python("uv")
        pip = (program("pip"), "--python", first, "install", "--no-cache-dir")
        uv = (program("uv"), "pip", "install", "--no-cache", "--python", second)
        sandbox.run(*pip, "--index-url", url, "demo")
        sandbox.run(*uv, "--default-index", url, "demo")
        for python in (first, second):
            who = sandbox.run(python, "-c", "import demo; print(demo.WHO)")
            assert who.strip() == "upstream"
        why = wheelyard("upstream", "why", "demo", "1.0", "--config", settings)
        assert f"hidden  {added.filename}" in why.stdout
        assert "cooldown: This file is not among those of demo 1.0 that were approved" in why.stdout
