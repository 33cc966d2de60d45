"""Each setting has one meaning in the file, the environment and the options; their precedence."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.settings.written import as_toml
from wheelyard.settings.load import LoadedSettings, load_settings
from wheelyard.settings.sections import GROUPS, Setting, all_settings

UPSTREAM: Final = frozenset(
    {"enabled", "url", "password", "private", "osv", "min_cvss", "snapshot"}
)
"""Settings of `[upstream]` that stand for the others of their kind."""
EVERY: Final = [
    each
    for each in all_settings().values()
    if each.key != "publisher" and (each.path[0] != "upstream" or each.key in UPSTREAM)
]
PROPERTY: Final = settings(max_examples=12, deadline=None)
BASE: Final[Mapping[str, Mapping[str, Any]]] = {
    "server": {"certificate": "/etc/chain.pem", "key": "/etc/key.pem"},
    "store": {"location": "gs://kept", "files": "gs://open"},
    "google": {"id_token": {"audience": ["https://packages.example.com"]}},
    "upstream": {"url": "https://index.example.com/simple/", "private": ["acme-*"]},
}
"""Low-precedence values that make every single setting valid."""
WORD: Final = "[a-z][a-z0-9]{0,8}"
FORMS: Final[Mapping[str, str]] = {
    "path_prefix": f"/{WORD}",
    "public_url": f"https://{WORD}[.]example[.]com",
    "otlp_endpoint": f"http://{WORD}:4318",
    "location": "gs://kept-[a-z]{1,8}/index",
    "certificate": f"/etc/{WORD}",
    "key": f"/etc/{WORD}",
    "htpasswd_file": f"/etc/{WORD}",
    "static_tokens_file": f"/etc/{WORD}",
    "files": "gs://open-[a-z]{1,8}/files",
    "credentials_store": "gs://credentials-[a-z]{1,8}",
    "resource": "gs://rights-[a-z]{1,8}",
    "allowed_domains": f"{WORD}[.]dev",
    "logo": f"/etc/{WORD}",
    "accent": "#[0-9a-f]{6}",
    "url": f"https://{WORD}[.]example[.]com/simple/",
    "snapshot": "20[0-9]{2}-1[0-2]-[0-2]1",
    "osv": f"/etc/{WORD}",
}
"""Of texts that a setting may have, where not every word is one."""


def values_of(setting: Setting) -> st.SearchStrategy[Any]:
    """Return values that a setting may have, none of them empty."""
    if setting.key == GROUPS:
        members = st.from_regex("htpasswd:[a-z]{1,8}", fullmatch=True)
        names = st.from_regex("[a-z]{1,8}", fullmatch=True)
        return st.dictionaries(names, st.lists(members), min_size=1)
    if setting.is_table:
        names = st.from_regex("[a-z]{1,8}", fullmatch=True)
        grant = {"who": ["anonymous"], "actions": ["read"]}
        return st.lists(names.map(lambda name: {**grant, "projects": [name]}), min_size=1)
    if setting.kind is bool:
        return st.booleans()
    if setting.kind in (int, float):
        top = setting.meta.le if setting.meta.le is not None else 10**9
        return st.integers(int(setting.meta.ge or 0), int(top)).map(setting.kind)
    if get_origin(setting.kind) is Literal:
        return st.sampled_from([each for each in get_args(setting.kind) if each])
    texts = st.from_regex(FORMS.get(setting.key, f"own{WORD}"), fullmatch=True)
    return st.lists(texts, min_size=1, max_size=4, unique=True) if setting.is_list else texts


def as_file(setting: Setting, value: object) -> str:
    """Return a settings file with only this setting."""
    head = "" if setting.is_table else f"[{'.'.join(setting.path[:-1])}]\n"
    return f"{head}{setting.key} = {as_toml(value)}\n"


def as_variable(value: object) -> str:
    """Return the text of a variable."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def read(folder: Path, setting: Setting, drawn: Mapping[str, object]) -> LoadedSettings:
    """Read settings, of which one is given in some ways: whole, file, variable."""
    file, environ = folder / "wheelyard.toml", dict[str, str]()
    file.write_text("")
    for way, value in drawn.items():
        if way == "whole" or (way == "file" and setting.key in ("static_token", "password")):
            environ["WHEELYARD_TOML"] = as_file(setting, value)
        elif way == "file":
            file.write_text(as_file(setting, value))
        else:
            environ[setting.variable] = as_variable(value)
    named = None if "WHEELYARD_TOML" in environ else file
    return load_settings(file=named, environ=environ, defaults=BASE)


def ways_of(setting: Setting) -> list[str]:
    """Return the ways to give a setting, by increasing precedence."""
    return ["file"] if setting.is_table else ["file", "variable"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the settings file."""
    return tmp_path_factory.mktemp("settings")


@pytest.mark.parametrize("setting", EVERY, ids=str)
@PROPERTY
@given(data=st.data())
def test_the_same_in_every_way(setting: Setting, folder: Path, data: st.DataObject) -> None:
    """A value means the same in the file, in a variable and in WHEELYARD_TOML."""
    value = data.draw(values_of(setting))
    ways = [*ways_of(setting), "whole"]

    first, *others = (read(folder, setting, {way: value}).settings for way in ways)

    assert [each for each in others if each != first] == []


@pytest.mark.parametrize("setting", EVERY, ids=str)
@PROPERTY
@given(data=st.data())
def test_order_of_the_ways(setting: Setting, folder: Path, data: st.DataObject) -> None:
    """A variable beats the file, which beats the default."""
    drawn = {way: data.draw(values_of(setting), way) for way in ways_of(setting)}
    alone = {way: read(folder, setting, {way: value}) for way, value in drawn.items()}

    for count in range(2, len(drawn) + 1):
        for chosen in combinations(drawn, count):
            found = read(folder, setting, {way: drawn[way] for way in chosen})
            assert found.settings == alone[chosen[-1]].settings
            assert found.sources[setting.path] == alone[chosen[-1]].sources[setting.path]


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "false", "0", "False"])
def test_switches(folder: Path, text: str) -> None:
    """A switch is true or 1, or false or 0, in letters of either size."""
    setting = all_settings()["access", "private"]

    found = read(folder, setting, {"variable": text}).settings.access.private
    assert found is (text.lower() in ("true", "1"))
