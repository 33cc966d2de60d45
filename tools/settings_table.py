"""
The table of docs/settings.md, made from the settings' own code: `nox -s settings` writes it.

What a setting means is the docstring below it in `settings/sections.py`. Everything else comes from
its type, its default and its names.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import fields

from wheelyard.settings import sections
from wheelyard.settings.sections import (
    PLATFORM_VARIABLES,
    Setting,
    SettingPath,
    all_settings,
    is_section,
)
from wheelyard.settings.value_checks import expected, unpack

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
BEGIN: Final = (
    "<!-- settings: made by `nox -s settings`; change src/wheelyard/settings/sections.py -->"
)
END: Final = "<!-- settings: end -->"
HEAD: Final = "| key | type | default | variable | meaning |\n|---|---|---|---|---|"


def table() -> str:
    """Return the table, a line for each setting."""
    meanings = _meanings()
    rows = [
        _row(setting, meanings[path])
        for path, setting in all_settings().items()
        if not setting.is_table
    ]
    return "\n".join([HEAD, *rows])


def with_table(page: str) -> str:
    """
    Return a page with the table of today between its two marks.

    Raises:
        ValueError: The page has not both marks, once each.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError("The page has to have both marks, once each")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def main() -> None:
    """Write the table into docs/settings.md."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def _row(setting: Setting, meaning: str) -> str:
    path = setting.path
    names = (setting.variable, PLATFORM_VARIABLES.get(path))
    columns = (
        f"`{setting.name}`",
        _kind(setting),
        "unset" if setting.default is None else f"`{encode(setting.default).decode()}`",
        ", ".join(f"`{name}`" for name in names if name),
        _as_phrase(meaning),
    )
    return f"| {' | '.join(columns)} |"


def _kind(setting: Setting) -> str:
    """Return what a setting can be, in a few words."""
    kind, meta = unpack(setting.hint)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(kind) if word)
    unit = f", {meta.title}" if meta.title and not meta.description else ""
    return expected(setting.hint).removeprefix("a ").replace("|", r"\|") + unit


def _as_phrase(sentence: str) -> str:
    """Return a sentence as it stands in a table: in small letters, without its full stop."""
    first, second, rest = sentence[:1], sentence[1:2], sentence[2:]
    return (first if second.isupper() else first.lower()) + second + rest.removesuffix(".")


def _meanings() -> Mapping[SettingPath, str]:
    """Return the docstring below each setting."""

    def within(section: type[Struct], above: SettingPath) -> Iterator[tuple[SettingPath, str]]:
        said = dict[str, str]()
        # the keys of rules are those of a class that several sections have
        for declared in filter(_has_fields, reversed(section.__mro__)):
            said |= _docstrings(ast.parse(inspect.getsource(declared)).body[0])
        for each in fields(section):
            path = (*above, each.name)
            if is_section(each.type):
                yield from within(each.type, path)
            else:
                yield path, said[each.name]

    return dict(within(sections.Settings, ()))


def _has_fields(kind: type) -> bool:
    return issubclass(kind, Struct) and kind is not Struct


def _docstrings(node: ast.stmt) -> dict[str, str]:
    """Return what stands below each field of a class, on one line."""
    if not isinstance(node, ast.ClassDef):  # pragma: no cover - a section is a class
        return {}
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(node.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


if __name__ == "__main__":
    main()
