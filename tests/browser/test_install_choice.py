"""The chips below the install line, which change it with scripts and without."""

import pytest

from tests.browser.axe import violations
from tests.browser.chromium import Person
from tests.distributions import make_wheel
from tests.http.packages import publish
from tests.http.servers import RunningServer

pytestmark = pytest.mark.integration
EXTRAS = ("Provides-Extra: cli", "Provides-Extra: web")
WIDTHS = (320, 360, 768, 1440)


@pytest.fixture(scope="module", autouse=True)
def _chosen(site: RunningServer) -> None:
    """A project with extras, and two releases."""
    publish(site, *(make_wheel("chosen", version, *EXTRAS) for version in ("1.0", "1.1")))


def lines_of(person: Person) -> set[str]:
    """Return what the commands of all clients install."""
    return set(person.page.locator("[data-requirement]").all_text_contents())


def apply(person: Person) -> None:
    """Have the page follow the chips: a script does that by itself."""
    if not person.has_scripts:
        person.press("Change the commands")


def test_chips_change_every_line(visitor: Person, site: RunningServer) -> None:
    """Extras and a version that are chosen are in all commands, and in what is copied."""
    visitor.open("/project/chosen/")
    assert lines_of(visitor) == {"chosen"}
    visitor.page.get_by_label("web", exact=True).check()
    visitor.page.get_by_label("cli", exact=True).check()
    visitor.page.get_by_label("~=1.1", exact=True).check()
    apply(visitor)

    wanted = '"chosen[cli,web]~=1.1"'
    assert lines_of(visitor) == {wanted}
    visitor.page.get_by_text("Pinned, with the hash").click()
    assert "chosen[cli,web]==1.1 " in visitor.page.locator("pre").first.inner_text()
    if visitor.has_scripts:
        assert violations(visitor) == []
        visitor.page.get_by_role("button", name="Copy the command for uv", exact=True).click()
        copied = visitor.page.evaluate("navigator.clipboard.readText()")
        assert copied == f"uv add --default-index wheelyard={site.url}/simple/ {wanted}"
        assert visitor.path == "/project/chosen/"
    for width in WIDTHS:
        visitor.look("dark", width)
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width
    visitor.page.get_by_label("cli", exact=True).uncheck()
    visitor.page.get_by_label("latest", exact=True).check()
    apply(visitor)
    assert lines_of(visitor) == {'"chosen[web]"'}


def test_chips_of_a_link_are_ticked(visitor: Person) -> None:
    """A link with a choice in its query opens the page with it, and the script keeps it."""
    visitor.open("/project/chosen/1.0/?extras=cli,nothing&pin=none")

    assert visitor.page.get_by_label("cli", exact=True).is_checked()
    assert visitor.page.get_by_label("latest", exact=True).is_checked()
    assert lines_of(visitor) == {'"chosen[cli]"'}


def test_chips_come_back_with_the_line(person: Person) -> None:
    """Who comes back to a page finds its line as its chips are."""
    person.open("/project/chosen/1.0/")
    person.page.get_by_label("web", exact=True).check()
    person.follow("Files")
    person.page.wait_for_url("**/files/")
    person.page.evaluate("setTimeout(() => history.back())")
    # it may be a whole page that the browser has kept, which is not loaded again
    person.page.wait_for_url("**/1.0/", wait_until="commit")
    is_ticked = person.page.get_by_label("web", exact=True).is_checked()
    assert lines_of(person) == {'"chosen[web]==1.0"' if is_ticked else "chosen==1.0"}
