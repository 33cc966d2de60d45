"""What install lines ask for, by the extras and the version that somebody chooses."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.requirements import Requirement
from packaging.utils import NormalizedName

from tests.rendering.examples import file, project
from tests.rendering.web.pages import ENVIRONMENT, core, many_files, release_content, release_head
from wheelyard.model.project import Project
from wheelyard.rendering.client_settings import INSTALL_CHOICES
from wheelyard.rendering.web.core_metadata import (
    COMPATIBLE,
    EXACT,
    EXTRAS_IN_SHORT,
    LATEST,
    MAX_EXTRAS,
    NO_CHOICE,
    InstallChoice,
    install_line,
    parse_extras,
)
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.release_page import release_page
from wheelyard.rendering.web.viewer import ANYONE

DEMO = NormalizedName("demo")
STATIC = PageEnvironment("http://index.example/simple/", is_static=True)


def shown(environment: PageEnvironment, release: Project, chosen: InstallChoice = NO_CHOICE) -> str:
    """Return the HTML of the page of a release that has an extra."""
    content = release_content(release_head(release, "1.0"), core("Provides-Extra: cli"))
    return release_page(environment, ANYONE, replace(content, choice=chosen)).decode()


def choice(pin: str = "", *extras: str) -> InstallChoice:
    """Return what somebody has chosen."""
    return InstallChoice(frozenset(extras), pin)


@pytest.mark.parametrize(
    ("version", "chosen", "line"),
    [
        ("1.0", choice(), "demo==1.0"),
        ("1.0", choice(LATEST), "demo"),
        ("1.0", choice(LATEST, "cli"), '"demo[cli]"'),
        ("1.0", choice("", "web", "cli", "none"), '"demo[cli,web]==1.0"'),
        ("1.0+cu12", choice(COMPATIBLE), '"demo~=1.0"'),
        ("1!2.0", choice("", "cli"), "'demo[cli]==1!2.0'"),
        ("1!2.0", choice(LATEST, "cli"), '"demo[cli]"'),
        # no version is compatible with one that has a single number
        ("7", choice(COMPATIBLE), "demo==7"),
        ("1.0rc1", choice(COMPATIBLE), '"demo~=1.0rc1"'),
    ],
)
def test_line_has_what_was_chosen(version: str, chosen: InstallChoice, line: str) -> None:
    """The line has the chosen extras in their order, and the version, quoted where shells read."""
    made = install_line(DEMO, version, ("cli", "web"), chosen, usual=EXACT)

    assert made.requirement == line
    assert str(Requirement(line.strip("\"'"))) == line.strip("\"'")


@given(st.lists(st.text(), max_size=5), st.text())
def test_no_extra_reaches_a_shell_that_is_no_name(extras: list[str], asked: str) -> None:
    """Whatever the metadata has as extras, only names get into a command."""
    chosen = InstallChoice(parse_extras(asked) | frozenset(extras), LATEST)

    made = install_line(DEMO, "1.0", extras, chosen, usual=EXACT)

    assert re.fullmatch(r'demo|"demo\[[a-z0-9,-]+\]"', made.requirement)


def test_of_many_extras_the_further_ones_are_folded() -> None:
    """Of very many extras a hundred can be chosen, of which the first ones are seen at once."""
    extras = [f"x{number}" for number in range(500)]
    made = install_line(DEMO, "1.0", extras, choice("", "x0"), usual=EXACT)

    assert (len(made.unfolded_extras), len(made.extras)) == (EXTRAS_IN_SHORT, MAX_EXTRAS)
    assert not made.is_unfolded
    assert install_line(DEMO, "1.0", extras, choice("", "x9"), usual=EXACT).is_unfolded


@pytest.mark.parametrize(
    "chosen", [NO_CHOICE, choice(COMPATIBLE, "cli")], ids=["no choice", "choice"]
)
def test_every_line_has_the_choice(chosen: InstallChoice) -> None:
    """All clients' commands and the requirement with hashes have the same extras."""
    page = shown(ENVIRONMENT, project(file()), chosen)

    lines = re.findall("<span data-requirement>(.*?)</span>", page)
    assert len(lines) == len(INSTALL_CHOICES) - 1  # Pipenv's command names none here
    assert set(lines) == {"demo==1.0" if chosen is NO_CHOICE else "&#34;demo[cli]~=1.0&#34;"}
    package = "demo" if chosen is NO_CHOICE else "demo[cli]"
    assert f"<span data-package>{package}</span>==1.0 " in page


@pytest.mark.parametrize(
    ("chosen", "is_another"), [(NO_CHOICE, False), (choice("", "cli"), True)], ids=["none", "extra"]
)
def test_search_engines_know_the_page_without_a_choice(
    chosen: InstallChoice, *, is_another: bool
) -> None:
    """A page with a choice says to search engines that it is the page without one."""
    page = shown(ENVIRONMENT, project(file()), chosen)

    assert ('<link rel="canonical" href="./">' in page) is is_another


def test_requirements_file_has_the_choice() -> None:
    """The link to a long requirement has the extras; a static site says where to write them."""
    many = project(*many_files(20))
    link = '<a href="requirements.txt?extras=cli" data-extras>'

    assert link in shown(ENVIRONMENT, many, choice("", "cli"))
    static = shown(STATIC, many)
    assert '<a href="requirements.txt">' in static
    assert "in which <code data-package>demo</code> is to be the name" in static
    assert "<noscript>" not in static.partition('<form class="chips static"')[2]
