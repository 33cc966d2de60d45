"""
entry_points.txt: names of commands, which installers turn into files.

`configparser` is not used: a line of blanks costs it quadratic time. Follows the entry points
specification, and is as strict as its strictest reader.
"""

import re
from collections.abc import Container

from wheelyard.archive.faults import invalid_metadata, unsafe_archive

_SCRIPTS = frozenset({"console_scripts", "gui_scripts"})
_SCRIPT_NAME = re.compile(r"[\w.-]+")
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_REFERENCE = re.compile(rf"{_DOTTED}\s*:\s*{_DOTTED}\s*(?:\[[\w\s,.=-]*\])?")
"""The object reference of a command: a module, a function in it, and extras."""


def check_entry_points(raw: bytes, path: str) -> None:
    """
    Accept a table of entry points whose commands are plain file names of plain functions.

    Args:
        raw: The bytes of the file.
        path: Its path in the archive, for messages.

    Raises:
        Invalid: It is not a UTF-8 table, or a command leads to no function (code
            `invalid_metadata`), or a command's name is a path (code `unsafe_archive`).
    """
    try:
        lines = raw.decode().splitlines()
    except UnicodeDecodeError as error:
        raise invalid_metadata("the entry points are not UTF-8 text", path) from error
    groups = _groups(lines, path)
    for group in _SCRIPTS & groups.keys():
        for name, value in groups[group].items():
            _check_command(name, "\n".join(value))


def _groups(lines: list[str], path: str) -> dict[str, dict[str, list[str]]]:
    """Return the lines of each value, by group and name; a deeper line continues the one above."""
    groups: dict[str, dict[str, list[str]]] = {}
    entries: dict[str, list[str]] = {}
    indent = 0
    for line in lines:
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if not text or text[0] in "#;":
            continue
        if entries and depth > indent:
            entries[next(reversed(entries))].append(text)
            continue
        indent = depth
        if text.startswith("["):
            entries = groups[_group(text, groups, path)] = {}
        elif "=" in text and groups:
            _add(text, entries)
        else:
            raise invalid_metadata("a line of the entry points is not 'name = object'", path)
    return groups


def _group(text: str, groups: Container[str], path: str) -> str:
    group = text[1:-1].strip()
    if not text.endswith("]") or not group or group in groups:
        raise invalid_metadata("a group of entry points is malformed or given twice", path)
    return group


def _add(text: str, entries: dict[str, list[str]]) -> None:
    name, _, value = (part.strip() for part in text.partition("="))
    if not name or name in entries:
        raise invalid_metadata("an entry point has no name, or its name is given twice", name)
    entries[name] = [value]


def _check_command(name: str, value: str) -> None:
    if any(mark in name for mark in "/\\:") or not name.strip("."):
        raise unsafe_archive("the name of a command is a path", name)
    if not _SCRIPT_NAME.fullmatch(name):
        raise invalid_metadata("the name of a command has other than letters, digits, '._-'", name)
    # an installer writes this into the code of the command
    if not _REFERENCE.fullmatch(value):
        raise invalid_metadata("a command does not lead to 'module:function'", name)
