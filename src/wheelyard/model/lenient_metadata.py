"""
Lenient parser for core metadata of old files that breaks current rules.

Old files are served unchanged. Pages and `requires-python` must still be valid: a field is used if
it is valid on its own, and omitted otherwise.
"""

import re
from contextlib import suppress
from typing import Final

from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.errors import Invalid
from wheelyard.model.metadata import CoreMetadata, parse_metadata

FIELD_LIMIT: Final = 1000
"""Fields that are parsed; later ones are ignored."""

_GIVEN: Final = frozenset({"metadata-version", "name", "version"})
_REPEATED: Final = frozenset(
    (
        *("classifier", "dynamic", "import-name", "import-namespace", "license-file", "platform"),
        *("project-url", "provides-extra", "requires-dist", "requires-external"),
        "supported-platform",
    )
)
"""Fields that may be repeated; of other fields the first one counts."""
_FIELD: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]*):(.*)", re.DOTALL)
_SPLIT: Final = re.compile(r"\n(?![ \t])")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")


def parse_any(raw: bytes | None, name: NormalizedName, version: Version | str) -> CoreMetadata:
    """Return stored metadata, or its valid fields if it is invalid, or for None a minimum."""
    if raw is None:
        return _parsed("\n", name, version)
    try:
        return parse_metadata(raw)
    except Invalid:
        return parse_leniently(raw, name, version)


def parse_leniently(raw: bytes, name: NormalizedName, version: Version | str) -> CoreMetadata:
    """Return core metadata with this name and version, and the valid fields of `raw`."""
    kept = dict[str, list[str]]()
    text = raw.replace(b"\r\n", b"\n").decode(errors="replace").removeprefix("\ufeff")
    head, _, body = text.partition("\n\n")
    for line in _SPLIT.split(head)[:FIELD_LIMIT]:
        found = _FIELD.fullmatch(_CONTROL.sub(" ", line))
        field, value = (found[1].lower(), found[2].strip()) if found else ("", "")
        if field and field not in _GIVEN and (field not in kept or field in _REPEATED):
            with suppress(Invalid):
                _parsed(f"{field}: {value}\n\n", name, version)
                kept.setdefault(field, []).append(value)
    lines = "".join(f"{field}: {value}\n" for field, values in kept.items() for value in values)
    for whole in (f"{lines}\n{_CONTROL.sub(' ', body)}", f"{lines}\n", "\n"):
        try:
            return _parsed(whole, name, version)
        except Invalid:
            continue  # the fields together exceed a limit
    raise AssertionError(name)


def raw_field(raw: bytes, field: str) -> str:
    """Return the first value of a metadata field (in lower case), unchecked, or an empty text."""
    head = raw.replace(b"\r\n", b"\n").decode(errors="replace").partition("\n\n")[0]
    for line in _SPLIT.split(head)[:FIELD_LIMIT]:
        name, _, value = line.partition(":")
        if name.strip().lower() == field:
            return value.strip()
    return ""


def _parsed(rest: str, name: NormalizedName, version: Version | str) -> CoreMetadata:
    # all fields are checked by the rules of this version
    head = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
    return parse_metadata((head + rest).encode())
