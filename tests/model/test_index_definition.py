"""Definitions of indexes: names, layers, circles, and which packages an index is made from."""

import reprlib
import tomllib
from re import escape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins

from wheelyard.errors import Invalid
from wheelyard.model.index_definition import (
    IndexDefinition,
    IndexFields,
    UpstreamLabels,
    build_definition,
    misfits,
    parts_of,
    read_definition,
    read_main,
)
from wheelyard.model.index_name import MAIN, parse_index_name

_NAMES = st.sampled_from(["dev", "prod", "team", "lab", "qa"])


def _definitions(**layers: list[str]) -> dict[str, IndexDefinition]:
    return {
        name: read_definition({"name": name, "layers": value}) for name, value in layers.items()
    }


@pytest.mark.parametrize(
    "name", ["", "upstream", "simple", "as-of-2026-01-01", "Dev", "-dev", "a.b", "a/b", "x" * 41]
)
def test_names_that_no_index_can_have(name: str) -> None:
    """The name of an index is no path of the server, no view of a day, and plain."""
    with pytest.raises(Invalid):
        parse_index_name(name)


def test_an_index_has_its_own_packages_by_default() -> None:
    """An index without layers shows its own packages alone."""
    assert build_definition(IndexFields(name="dev")).layers == ("dev",)


@pytest.mark.parametrize(
    ("table", "is_open"), [({}, False), ({"read": "granted"}, False), ({"read": "anyone"}, True)]
)
def test_an_index_is_open_only_if_it_says_so(table: dict[str, Any], *, is_open: bool) -> None:
    """Whoever has no right in an index may read it only if its definition says `anyone`."""
    assert read_definition({"name": "dev", **table}).is_open is is_open


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({"dev": ["dev", "qa"]}, "there is no index 'qa'"),
        ({"dev": ["dev", "PyPI"]}, "no [[upstream.index]] of this label in the settings, but of"),
        ({"dev": ["dev", "pypi", "upstream"]}, "its layer upstream has all that 'pypi' has"),
        ({"dev": ["prod"], "prod": ["prod", "dev"]}, "lead back"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "lead back"),
    ],
)
def test_layers_that_do_not_fit(layers: dict[str, list[str]], words: str) -> None:
    """An unknown layer and a circle are refused, by name."""
    first, *_ = misfits(_definitions(**layers), UpstreamLabels(("pytorch", "pypi"))).values()

    assert words in first


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("upstream", "needs an [upstream]"),
        ("pypi", "there is no index 'pypi', which is one of its layers, and no [[upstream.index]]"),
    ],
)
def test_settings_without_upstream_indexes_have_none_as_layers(layer: str, words: str) -> None:
    """A server without the upstream index that is a layer says that, and shows nothing."""
    first, *_ = misfits(_definitions(dev=["dev", layer]), UpstreamLabels()).values()

    assert words in first


@pytest.mark.parametrize(
    ("layers", "chain"),
    [
        ({"top": ["top", "pypi", "main", "pytorch"]}, ("pypi", "pytorch")),
        ({"top": ["top", "upstream"]}, ("pytorch", "pypi", "team")),
        ({"top": ["ml", "upstream"], "ml": ["pypi"]}, ("pypi", "pytorch", "team")),
        ({"top": ["team", "ml"], "ml": ["ml", "pypi", "team"]}, ("team", "pypi")),
        ({"top": ["top", "main"]}, ()),
    ],
    ids=reprlib.repr,
)
def test_upstream_indexes_come_in_the_order_of_the_layers(
    layers: dict[str, list[str]], chain: tuple[str, ...]
) -> None:
    """An index asks the upstream indexes of all its layers, each where it is met first."""
    definitions, labels = _definitions(**layers), UpstreamLabels(("pytorch", "pypi", "team"))
    assert not misfits(definitions, labels)

    assert labels.layers_of(definitions["top"], definitions).labels == chain


@given(st.dictionaries(_NAMES, st.lists(_NAMES, min_size=1, max_size=4, unique=True), min_size=1))
def test_every_definition_without_a_circle_ends(layers: dict[str, list[str]]) -> None:
    """Definitions are either refused, or each index is made from parts that each stand once."""
    definitions = _definitions(**layers)
    if misfits(definitions, UpstreamLabels()):
        return
    for definition in definitions.values():
        parts = list(parts_of(definition, definitions))
        assert len(parts) == len(set(parts))
        assert all(part in definitions[part].layers for part in parts)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "expected 1 to 16 layers"),
        ([f"i{number}" for number in range(17)], "expected 1 to 16 layers"),
        (["stable", "dev", "dev"], "the layer 'dev' is there twice"),
        (["stable", "main", ""], "the layer 'main' is there twice"),
    ],
    ids=reprlib.repr,
)
def test_wrong_layers_are_refused(layers: list[str], words: str) -> None:
    """An index without layers, with too many, or with a layer twice is refused with the reason."""
    with pytest.raises(Invalid, match=words):
        build_definition(IndexFields(name="stable", layers=tuple(layers)))


def test_layers_are_looked_at_in_order() -> None:
    """The packages of a layer come where the layer stands, with those of its own layers."""
    definitions = _definitions(prod=["prod", ""], dev=["dev", "prod"], team=["dev", "team"])
    assert not misfits(definitions, UpstreamLabels())

    assert list(parts_of(definitions["team"], definitions)) == ["dev", "prod", MAIN, "team"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"snapshot": "yesterday"}, "snapshot: expected 2026-10-31, or a time"),
        ({"versions": {"numpy": "2"}}, "versions: expected specifiers such as >=2,<3"),
        ({"versions": {"numpy": " "}}, "versions: expected specifiers .* and found ' '"),
        ({"versions": {"numpy": "===2.0"}}, "versions: expected specifiers .* and found '===2.0'"),
        ({"versions": {"num/py": "<2"}}, "versions: expected names, or patterns"),
        ({"allow": ["-"]}, "allow: expected names, or patterns"),
        ({"cooldown_allow": ["acme==x"]}, "cooldown_allow: expected names, patterns, or NAME=="),
        ({"cooldown_allow": ["ac/me==1"]}, "cooldown_allow: expected .* and found 'ac/me==1'"),
        ({"allowed_licenses": ["Mit-ish"]}, "allowed_licenses: 'Mit-ish' is no licence of SPDX"),
        ({"cooldown_days": -1}, "cooldown_days: expected a number of days from 0 to 36500"),
        ({"min_cvss": 11}, "min_cvss: expected a number from 0 to 10"),
        ({"cooldown_missing": "show"}, "cooldown_missing: expected hide or first_seen"),
        ({"deny": "acme"}, "deny: expected a list of names, or patterns"),
        ({"filter": "not yanked"}, "filter: there is no such key"),
    ],
)
def test_a_wrong_rule_is_refused(table: dict[str, Any], message: str) -> None:
    """A rule that would hide something else than what is meant is no definition."""
    with pytest.raises(Invalid, match=message):
        read_definition({"name": "stable", **table})


@pytest.mark.parametrize("written", ["2026-10-31", "2026-10-31T12:00:00Z"])
def test_a_date_is_written_with_or_without_quotes(written: str) -> None:
    """A table has the date of a snapshot as a date of TOML, or as a text."""
    (bare, quoted) = (
        read_definition(to_builtins(tomllib.loads(f'name = "stable"\nsnapshot = {value}\n')))
        for value in (written, f'"{written}"')
    )

    assert bare.rules.snapshot_at == quoted.rules.snapshot_at is not None


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"name": "main"}, "it has this name always"),
        ({"layers": ["main", "dev"]}, "it shows its own packages"),
        ({"merge": ["acme-*"]}, "no layers whose files could be merged"),
        ({"filter": "age_days >= 7"}, "there are no filters any more. Write the keys of rules"),
        ({"read": "all"}, 'read: expected "anyone" or "granted"'),
        ({"colour": "red"}, "there is no such key"),
        ({"promote_from": ["main"]}, "promote_from has its own name"),
        ({"cooldown_days": -1}, "cooldown_days: expected a number of days"),
        ({"versions": {"numpy": "2"}}, "versions: expected specifiers such as"),
    ],
)
def test_what_main_cannot_be(table: dict[str, Any], why: str) -> None:
    """A key that means nothing in main is refused with what to do, and so is a wrong value."""
    with pytest.raises(Invalid, match=f"The index 'main' is wrong: .*{escape(why)}"):
        read_main(table, has_upstream=True)


def test_main_has_the_keys_of_an_index() -> None:
    """Main has rules of promotion, quotas and who may read it, and without keys it is open."""
    plain = read_main({}, has_upstream=False)
    given = {"promote_only": False, "promote_from": ["dev"], "project_files": 3, "read": "granted"}
    main = read_main(given, has_upstream=True)

    assert (plain.layers, plain.is_open, plain.is_closed_while_unused) == (("main",), True, True)
    assert (main.layers, main.is_open) == (("main", "upstream"), False)
    assert not main.is_closed_while_unused
    assert main.promotion.promote_from == ("dev",)
    assert main.quotas.project_files == 3
