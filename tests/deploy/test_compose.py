"""compose.yaml: what Compose reads, and what a file of settings beside it decides."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.clients.harness import REPOSITORY, system_program
from wheelyard.settings.reading import read_settings

FOLDER = REPOSITORY / "deploy" / "image"
PAGE = REPOSITORY / "docs" / "deploy" / "image.md"


def test_settings_in_the_place_of_variables(tmp_path: Path) -> None:
    """The override on the page empties all that compose.yaml says, so that a file can say it."""
    (block,) = re.findall(r"```yaml\n(services:\n.*?)```", PAGE.read_text(), re.DOTALL)
    override = yaml.safe_load(block)["services"]["wheelyard"]["environment"]
    service = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["wheelyard"]
    (tmp_path / "wheelyard.toml").write_text("[server]\ntrusted_proxies = 1\n")

    environ = service["environment"] | override
    environ["WHEELYARD_CONFIG"] = str(tmp_path / "wheelyard.toml")
    settings = read_settings(file=None, overrides={}, environ=environ)

    assert settings.server.trusted_proxies == 1
    assert not settings.access.private
    assert not settings.access.htpasswd_file


def test_compose_itself() -> None:
    """Docker's own Compose takes the file."""
    docker = system_program("docker")
    if subprocess.run([docker, "compose", "version"], check=False, capture_output=True).returncode:
        pytest.skip("docker has no compose")
    subprocess.run(
        [docker, "compose", "--file", FOLDER / "compose.yaml", "config", "-q"], check=True
    )
