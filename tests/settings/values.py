"""Values that each setting may have, and the ways in which they can be written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from hypothesis import strategies as st
from msgspec.json import encode

from wheelyard.settings.names import Place, Setting
from wheelyard.settings.reading import Reading, read_settings

BASE: Final[Mapping[str, Mapping[str, Any]]] = {
    "store": {"location": "gs://kept", "files": "gs://open"},
    "google": {"id_token": {"audience": ["https://packages.example.com"]}},
}
"""What makes every single setting one that makes sense: defaults, which anything beats."""

_WORD: Final = "[a-z][a-z0-9]{0,8}"
_PATTERNS: Final[Mapping[Place, str]] = {
    ("server", "roots"): "root[0-9]{1,4}",
    ("server", "path_prefix"): f"/{_WORD}",
    ("server", "public_url"): f"https://{_WORD}[.]example[.]com",
    ("store", "location"): "gs://kept-[a-z]{1,8}/index",
    ("store", "files"): "gs://open-[a-z]{1,8}/files",
    ("access", "metrics_token"): "[!-~]{1,20}",
    ("access", "static_token"): "[!-~]{1,20}",
    ("access", "htpasswd_file"): f"/etc/{_WORD}",
    ("access", "static_tokens_file"): f"/etc/{_WORD}",
    ("access", "credentials_store"): "gs://credentials-[a-z]{1,8}",
    ("google", "access_token", "resource"): "gs://rights-[a-z]{1,8}",
    ("google", "id_token", "allowed_domains"): f"{_WORD}[.]dev",
    ("trusted_publishing", "audience"): f"job-{_WORD}",
    ("log", "project"): "[!-~]{1,20}",
}


def values_of(setting: Setting) -> st.SearchStrategy[Any]:
    """Return values that a setting may have, none of them empty."""
    if setting.is_table:
        return st.lists(_tables(setting), min_size=1, max_size=3)
    if setting.kind is bool:
        return st.booleans()
    if setting.kind is int:
        top = setting.meta.le if setting.meta.le is not None else 10**9
        return st.integers(int(setting.meta.ge or 0), int(top))
    if get_origin(setting.kind) is Literal:
        return st.sampled_from(get_args(setting.kind))
    default = f"https://{_WORD}[.]example[.]com" if setting.key.endswith("_url") else _WORD
    is_url = setting.key == "otlp_endpoint"
    pattern = _PATTERNS.get(setting.place, f"http://{_WORD}:4318" if is_url else default)
    texts = st.from_regex(pattern, fullmatch=True)
    return st.lists(texts, min_size=1, max_size=4, unique=True) if setting.is_list else texts


def _tables(setting: Setting) -> st.SearchStrategy[dict[str, Any]]:
    names = st.from_regex("[a-z]{1,8}", fullmatch=True)
    if setting.key == "publisher":
        return st.just({})  # of which there is more to say than fits here
    return names.map(lambda name: {"who": ["anonymous"], "projects": [name], "actions": ["read"]})


def as_toml(value: object) -> str:
    """Return a value as TOML has it: as JSON, but for the tables."""
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {as_toml(each)}' for key, each in value.items())}}}"
    return encode(value).decode()


@dataclass(frozen=True, slots=True)
class Desk:
    """
    Where settings are read.

    Args:
        folder: Where their file is.
        environ: The variables.
        flags: What `--set` says.
        text: What is in the file.
    """

    folder: Path
    environ: Mapping[str, str]
    flags: tuple[str, ...] = ()
    text: str = ""

    def read(self) -> Reading:
        """Return the settings, with who decided them."""
        file = self.folder / "wheelyard.toml"
        file.write_text(self.text, encoding="utf-8")
        return read_settings(
            file=None if "WHEELYARD_TOML" in self.environ else file,
            overrides={},
            environ=self.environ,
            defaults=BASE,
            flags=self.flags,
        )


def as_file(setting: Setting, value: object) -> str:
    """Return a settings file that says nothing else."""
    if setting.is_table:
        return f"{setting.key} = {as_toml(value)}"
    return f"[{'.'.join(setting.place[:-1])}]\n{setting.key} = {as_toml(value)}\n"


def as_variable(value: object) -> str:
    """Return the text of a variable."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
