"""A setting is the same, whichever way it is given, and the ways have an order."""

from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.settings.values import Desk, as_file, as_toml, as_variable, values_of
from wheelyard.settings.names import Setting, every_setting

EVERY: Final = [each for each in every_setting().values() if each.key != "publisher"]
IDS: Final = [".".join(each.place) for each in EVERY]
PROPERTY: Final = settings(max_examples=12, deadline=None)
WAYS: Final = ("file", "variable", "flag")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the settings file."""
    return tmp_path_factory.mktemp("settings")


def desk_of(folder: Path, setting: Setting, said: dict[str, Any]) -> Desk:
    """Return where a setting has been given in these ways."""
    environ, flags, text = dict[str, str](), tuple[str, ...](), ""
    for way, value in said.items():
        if way == "file" and setting.key == "static_token":  # where it may not be
            environ["WHEELYARD_TOML"] = as_file(setting, value)
        elif way == "file":
            text = as_file(setting, value)
        elif way == "variable":
            environ[setting.variable] = as_variable(value)
        else:
            flags = (f"{'.'.join(setting.place)}={as_toml(value)}",)
    return Desk(folder, environ, flags, text)


def ways_of(setting: Setting) -> list[str]:
    """Return the ways in which a setting can be given."""
    impossible = {"flag"} if setting.is_secret else {"variable"} if setting.is_table else set()
    return [way for way in WAYS if way not in impossible]


@pytest.mark.parametrize("setting", EVERY, ids=IDS)
@PROPERTY
@given(data=st.data())
def test_the_same_in_every_way(setting: Setting, folder: Path, data: st.DataObject) -> None:
    """A value means the same in the file, in a variable, in WHEELYARD_TOML and after --set."""
    value = data.draw(values_of(setting))

    read = [desk_of(folder, setting, {way: value}).read().settings for way in ways_of(setting)]
    whole = Desk(folder, {"WHEELYARD_TOML": as_file(setting, value)}).read().settings

    assert [each for each in read if each != whole] == []


@pytest.mark.parametrize("setting", EVERY, ids=IDS)
@PROPERTY
@given(data=st.data())
def test_order_of_the_ways(setting: Setting, folder: Path, data: st.DataObject) -> None:
    """The command line beats a variable, which beats the file, which beats the default."""
    ways = ways_of(setting)
    said = {way: data.draw(values_of(setting), way) for way in ways}
    alone = {way: desk_of(folder, setting, {way: said[way]}).read() for way in ways}

    for count in range(2, len(ways) + 1):
        for chosen in combinations(ways, count):
            read = desk_of(folder, setting, {way: said[way] for way in chosen}).read()
            assert read.settings == alone[chosen[-1]].settings
            assert read.sources[setting.place] == alone[chosen[-1]].sources[setting.place]


@pytest.mark.parametrize(
    "setting", [each for each in EVERY if not each.is_secret and not each.is_table], ids=str
)
@PROPERTY
@given(data=st.data())
def test_plain_text_after_set(setting: Setting, folder: Path, data: st.DataObject) -> None:
    """What a variable has can stand after --set as it is, unless it is in quotes."""
    text = as_variable(data.draw(values_of(setting).filter(lambda it: str(it)[0] not in "'\"")))
    flag = f"{'.'.join(setting.place)}={text}"

    by_flag = Desk(folder, {}, (flag,)).read().settings

    assert by_flag == Desk(folder, {setting.variable: text}).read().settings


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "false", "0", "False"])
def test_switches(folder: Path, text: str) -> None:
    """A switch is true or 1, or false or 0, in letters of either size."""
    wanted = text.lower() in ("true", "1")

    by_variable = Desk(folder, {"WHEELYARD_PRIVATE": text}).read().settings
    by_flag = Desk(folder, {}, (f"access.private={text}",)).read().settings

    assert by_variable.access.private is by_flag.access.private is wanted
