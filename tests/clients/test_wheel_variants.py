"""Wheel variants (PEP 825), as real clients publish and install them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.harness import Sandbox, program
from tests.clients.installing import pip_command
from tests.clients.servers import Server, running_server
from tests.distributions import Distribution, make_wheel
from tests.variants.wheels import make_variant

pytestmark = pytest.mark.clients

NAME: Final = "yard_variants"
DRIVER: Final = "NV_VARIANT_PROVIDER_FORCE_CUDA_DRIVER_VERSION"
"""Says to uv which driver this machine is to have."""
PREVIEW: Final = {"UV_PREVIEW_FEATURES": "wheel-variants"}
COMMON: Final[dict[str, Any]] = {
    "default-priorities": {"namespace": ["nvidia"]},
    # PEP 825 does not have it, and uv knows by it what to ask the machine for
    "providers": {
        "nvidia": {
            "requires": ["nvidia-variant-provider"],
            "plugin-api": "nvidia_variant_provider.plugin:NvidiaVariantPlugin",
        }
    },
}


def for_cuda(label: str, driver: str, version: str = "1.0") -> Distribution:
    """Return a wheel for machines whose driver is at least of a version."""
    variants = {label: {"nvidia": {"cuda_version_lower_bound": [driver]}}}
    content = f"LABEL = {label!r}\n".encode()
    return make_variant(label, NAME, version, content=content, variants=variants, **COMMON)


CU12, CU13 = for_cuda("cu12", "12.0"), for_cuda("cu13", "13.0")
NULL: Final = make_variant("null", NAME, content=b"LABEL = 'null'\n", **COMMON)
PLAIN: Final = make_wheel(NAME, content=b"LABEL = 'plain'\n")
CONTRADICTION: Final = make_variant(
    "cu12",
    NAME,
    tag="py2-none-any",
    variants={"cu12": {"nvidia": {"cuda_version_lower_bound": ["11.0"]}}},
    **COMMON,
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An index that takes wheel variants."""
    folder = tmp_path_factory.mktemp("variants")
    config = folder / "wheelyard.toml"
    config.write_text("[uploads]\nwheel_variants = true\n")
    with running_server(folder / "server", "--config", str(config)) as server:
        yield server


def publish(client: str, index: Server, sandbox: Sandbox, *wheels: Distribution) -> tuple[int, str]:
    """Publish wheels with a client, and return the status and what was printed."""
    paths = [distribution.write(sandbox.folder) for distribution in wheels]
    if client == "uv":
        command: list[str | Path] = [program("uv"), "publish", "--publish-url", index.upload_url]
        done = sandbox.attempt(*command, "--token", index.token, *paths)
    else:
        command = [program("twine"), "upload", "--verbose", "--disable-progress-bar"]
        url = ["--repository-url", index.upload_url, "-u", "__token__", "-p", index.token]
        done = sandbox.attempt(*command, *url, *paths)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def installed(sandbox: Sandbox, index: Server, client: str, **environment: str) -> str:
    """Install the newest release with a client, and return the label of the wheel."""
    python = sandbox.python()
    command: list[str | Path] = [program("uv"), "pip", "install", "--python", python]
    if client == "pip":
        command = pip_command(python)
    place = "--index-url" if client == "pip" else "--default-index"
    sandbox.run(*command, place, index.index_url, NAME, **environment)
    printed = sandbox.run(python, "-c", f"import {NAME}; print({NAME}.LABEL)")
    return printed.strip()


@pytest.fixture(scope="module")
def stocked_server(index: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The index with wheels for two drivers, for none, and without a label."""
    folder = tmp_path_factory.mktemp("published")
    sandbox = Sandbox(folder, folder)
    for client, wheels in (("twine", (CU12, NULL)), ("uv", (CU13, PLAIN))):
        status, printed = publish(client, index, sandbox, *wheels)
        assert status == 0, printed
    return index


@pytest.mark.parametrize(
    ("driver", "label"), [("13.1", "cu13"), ("12.4", "cu12"), ("11.8", "null")]
)
def test_uv_takes_the_wheel_for_the_machine(
    stocked_server: Server, sandbox: Sandbox, driver: str, label: str
) -> None:
    """Uv with its preview takes the best wheel for the machine, by the document of the index."""
    environment = {**PREVIEW, DRIVER: driver}
    assert installed(sandbox, stocked_server, "uv", **environment) == label


@pytest.mark.parametrize("client", ["uv", "pip"])
def test_others_take_the_wheel_without_a_label(
    stocked_server: Server, sandbox: Sandbox, client: str
) -> None:
    """A client that knows no wheel variants takes the wheel without a label of the same page."""
    assert installed(sandbox, stocked_server, client, **{DRIVER: "13.1"}) == "plain"


@pytest.mark.parametrize("client", ["uv", "twine"])
def test_clients_show_why_a_wheel_is_refused(
    stocked_server: Server, sandbox: Sandbox, client: str
) -> None:
    """A client that publishes a contradicting wheel variant shows what contradicts."""
    status, printed = publish(client, stocked_server, sandbox, CONTRADICTION)
    assert status != 0
    assert "the label 'cu12' has other properties" in printed
