"""The tables of docs/dependencies.md agree with the locks, and with what is installed."""

import re

from tools.dependencies import PAGE, direct, licence, locked

ACCEPTED = {
    *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MIT-0", "PSF-2.0", "public domain"),
    *("ISC", "Unlicense"),
    *("LGPL-3.0-or-later", "MPL-2.0"),  # those of cvss and certifi, which stay as they are
}
EXTRAS = locked("otel") | locked("gcs") | locked("objects")


def lines(table: str) -> list[tuple[str, str]]:
    """Return the first two cells of each line of a table, without its head."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- {table} -->")
    text = rest.partition("<!-- end -->")[0]
    return re.findall(r"^\| ([^|]+) \| ([^|]*) \|", text, re.MULTILINE)[1:]


def test_every_direct_dependency_has_a_purpose() -> None:
    """Each package that is required has a line which says what it is for."""
    listed = dict(lines("packages"))

    assert listed.keys() == direct()
    assert [name for name, purpose in listed.items() if not purpose] == []


def test_licences_are_accepted() -> None:
    """Each locked package is listed under its licence, which is one that the page accepts."""
    listed = {name: terms for terms, names in lines("licences") for name in names.split(", ")}

    assert listed.keys() == locked("run") | EXTRAS
    assert {name: licence(name) for name in listed} == listed
    assert {part for terms in listed.values() for part in re.split(" AND | OR ", terms)} <= ACCEPTED
