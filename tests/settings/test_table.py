"""The table of docs/settings.md agrees with the code."""

import pytest

from tools.settings_table import PAGE, with_table
from wheelyard.cli import run, serve
from wheelyard.settings.load import NON_SETTING_VARIABLES
from wheelyard.settings.sections import COMMAND_LINE_OPTIONS, all_settings


def test_the_page_is_up_to_date() -> None:
    """docs/settings.md has the settings of today; `nox -s settings` writes them."""
    page = PAGE.read_text(encoding="utf-8")

    assert with_table(page) == page


@pytest.mark.parametrize("module", [serve, run])
def test_options_are_there(module: object) -> None:
    """The table names no option that the commands do not have."""
    command = getattr(module, "command")  # noqa: B009 - mypy knows nothing of an object
    there = {name for option in command.params for name in option.opts}
    if module is run:
        there.add("--private")  # which is -a there

    assert set(COMMAND_LINE_OPTIONS.values()) <= there


def test_no_variable_is_two_settings() -> None:
    """Each variable is one setting, and none that something else is read from."""
    names = [each.variable for each in all_settings().values() if each.variable]

    assert len(set(names)) == len(names)
    assert NON_SETTING_VARIABLES.isdisjoint(names)
