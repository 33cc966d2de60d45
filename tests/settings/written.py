"""Settings that are written in a file."""

from pathlib import Path

from wheelyard.settings.reading import read_settings
from wheelyard.settings.sections import Settings

GRANT = '[[grant]]\nwho = ["{}"]\nprojects = ["{}"]\nactions = ["read"]\n'
"""Of reading: to whom, and what."""
PUBLISHER = """
[[publisher]]
id = "core"
provider = "gitlab"
projects = ["acme-core"]
project_path = "acme/core"
project_id = 1
namespace_id = 2
"""
"""Of GitLab."""


def settings_of(text: str, folder: Path) -> Settings:
    """Return the settings of a file with `text` in it."""
    file = folder / "wheelyard.toml"
    file.write_text(text)
    return read_settings(file=file, environ={}).settings
