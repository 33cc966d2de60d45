"""The table of docs/settings.md agrees with the code."""

from tools.settings_table import PAGE, with_table
from wheelyard.settings.load import NON_SETTING_VARIABLES
from wheelyard.settings.sections import all_settings


def test_the_page_is_up_to_date() -> None:
    """docs/settings.md has the settings of today; `nox -s settings` writes them."""
    page = PAGE.read_text(encoding="utf-8")

    assert with_table(page) == page


def test_no_variable_is_two_settings() -> None:
    """Each variable is one setting, and none that something else is read from."""
    names = [each.variable for each in all_settings().values() if each.variable]

    assert len(set(names)) == len(names)
    assert NON_SETTING_VARIABLES.isdisjoint(names)
