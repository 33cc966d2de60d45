"""
entry_points.txt: names of commands, which installers turn into files.

`configparser` is not used: a line of blanks costs it quadratic time. Follows the entry points
specification, and is as strict as its strictest reader.
"""

import re

from wheelyard.archive.faults import invalid_metadata, unsafe_archive

_SCRIPTS = frozenset({"console_scripts", "gui_scripts"})
_SCRIPT_NAME = re.compile(r"[\w.-]+")


def check_entry_points(raw: bytes, path: str) -> None:
    """
    Accept a table of entry points whose commands are plain file names.

    Args:
        raw: The bytes of the file.
        path: Its path in the archive, for messages.

    Raises:
        Invalid: It is not a UTF-8 table (code `invalid_metadata`), or a command's name is a path
            (code `unsafe_archive`).
    """
    try:
        lines = raw.decode().splitlines()
    except UnicodeDecodeError as error:
        raise invalid_metadata("the entry points are not UTF-8 text", path) from error
    groups: dict[str, set[str]] = {}
    names: set[str] | None = None
    group = ""
    for line in lines:
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        if text.startswith("["):
            group = _group(text, groups, path)
            names = groups.setdefault(group, set())
        elif "=" in text and names is not None:
            _add(text.partition("=")[0].strip(), group, names)
        elif not line[0].isspace() or not names:
            raise invalid_metadata("a line of the entry points is not 'name = object'", path)


def _group(text: str, groups: dict[str, set[str]], path: str) -> str:
    group = text[1:-1].strip()
    if not text.endswith("]") or not group or group in groups:
        raise invalid_metadata("a group of entry points is malformed or given twice", path)
    return group


def _add(name: str, group: str, names: set[str]) -> None:
    if not name or name in names:
        raise invalid_metadata("an entry point has no name, or its name is given twice", name)
    names.add(name)
    if group not in _SCRIPTS:
        return
    if any(mark in name for mark in "/\\:") or not name.strip("."):
        raise unsafe_archive("the name of a command is a path", name)
    if not _SCRIPT_NAME.fullmatch(name):
        raise invalid_metadata("the name of a command has other than letters, digits, '._-'", name)
