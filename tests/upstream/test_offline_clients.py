"""An index without a connection, whose store pip and uv have filled where there was one."""

import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import copytree

import pytest

from tests.clients.harness import Sandbox, program
from tests.distributions import make_wheel
from tests.http.servers import running_server
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.settings import upstream_settings

pytestmark = [pytest.mark.clients, pytest.mark.integration]

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"
OF_PIP = (
    *("pip", "--isolated", "download", "--quiet", "--no-cache-dir", "--dest", "brought"),
    *("--only-binary", ":all:", "--python-version", VERSION, "--platform", "win_amd64"),
    "--index-url",
)
OF_UV = (
    *("uv", "pip", "install", "--quiet", "--no-cache", "--target", "brought"),
    *("--only-binary", ":all:", "--python-version", VERSION, "--python-platform", "windows"),
    "--default-index",
)


@pytest.mark.parametrize("fill", [OF_PIP, OF_UV], ids=["pip", "uv"])
def test_another_platform_installs_offline(
    fill: Sequence[str], tmp_path: Path, upstream: FakeUpstream, sandbox: Sandbox
) -> None:
    """What a client has brought for another platform is installed there without a connection."""
    tags = [f"{TAG}-{TAG}-{platform}" for platform in ("win_amd64", "manylinux_2_17_x86_64")]
    native = [make_wheel("native", "1.0", tag=tag) for tag in tags]
    upstream.publish(*native, make_wheel("only-windows"))
    upstream.publish(
        make_wheel(
            *("app", "1.0", "Requires-Dist: native"),
            "Requires-Dist: only-windows; sys_platform == 'win32'",
        )
    )
    # pip takes the markers of this machine
    names = ("app", "only-windows") if fill is OF_PIP else ("app",)
    online, offline = tmp_path / "online", tmp_path / "offline"
    with running_server(online, config=upstream_settings(upstream)) as server:
        sandbox.run(program(fill[0]), *fill[1:], f"{server.url}/simple/", *names)
    upstream.stop()
    copytree(online / "store", offline / "store")

    settings = upstream_settings(upstream, "offline = true")
    with running_server(offline, config=settings) as server:
        page = server.client.get("/simple/native/", headers={"Accept": "application/json"})
        url, target = f"{server.url}/simple/", sandbox.folder / "installed"
        options = ("--target", target, "--python-version", VERSION, "--python-platform", "windows")
        installed = ("pip", "install", "--quiet", "--no-cache", *options, "--default-index", url)
        sandbox.run(program("uv"), *installed, "app")

    assert tags[0] in page.text
    assert tags[1] not in page.text
    found = {path.name.partition("-")[0] for path in target.glob("*.dist-info")}
    assert found == {"app", "native", "only_windows"}
