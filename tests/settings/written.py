"""Settings that are written in a file."""

from pathlib import Path

from msgspec.json import encode

from wheelyard.settings.load import load_settings
from wheelyard.settings.sections import Settings, all_settings

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
    return load_settings(file=file, environ={}).settings


def variables_of(*given: str) -> dict[str, str]:
    """Return the variables of settings, each given as `section.key=value`."""
    pairs = (text.split("=", 1) for text in given)
    return {all_settings()[tuple(name.split("."))].variable: value for name, value in pairs}


def as_toml(value: object) -> str:
    """Return a value as TOML has it: as JSON, but for the tables."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        return (
            f"{{{', '.join(f'{as_toml(key)} = {as_toml(each)}' for key, each in value.items())}}}"
        )
    return encode(value).decode()
