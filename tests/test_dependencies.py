"""The tables of docs/dependencies.md agree with the locks, and with what is installed."""

import re

import pytest

from tools.dependencies import PAGE, TABLES, licence, locked

ACCEPTED = {
    *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MIT-0", "PSF-2.0", "public domain"),
    *("LGPL-3.0-or-later", "MPL-2.0"),  # those of cvss and certifi, which stay as they are
}
EXTRAS = locked("otel") | locked("gcs") | locked("objects")


def lines(table: str) -> list[tuple[str, ...]]:
    """Return the cells of each line of a table that is about one package."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- {table} -->")
    text = rest.partition("<!-- end -->")[0]
    found = re.findall(r"^\| ([\w-]+) \| (.*) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    return [line for line in found if line[0] != "package"]


@pytest.mark.parametrize(
    ("table", "names"),
    [("packages", locked("run")), ("packages of extras", EXTRAS - locked("run"))],
    ids=["run", "extras"],
)
def test_every_package_is_listed(table: str, names: frozenset[str]) -> None:
    """Each locked package has a line, with what it is for; `nox -s dependencies` begins it."""
    listed = {name: purpose for name, purpose, _, _ in lines(table)}

    assert listed.keys() == names
    assert [name for name, purpose in listed.items() if not purpose] == []


def test_licences_are_accepted() -> None:
    """Each licence is the one of the installed package, and one of those that the page accepts."""
    listed = {name: terms for table in TABLES[::2] for name, _, _, terms in lines(table)}

    assert {name: licence(name) for name in listed} == listed
    assert {part for terms in listed.values() for part in re.split(" AND | OR ", terms)} <= ACCEPTED
