"""A person with a browser, at an index behind an nginx that takes the path away."""

import pytest

from tests.browser.chromium import Browser
from tests.browser.site import PASSWORD, USER
from tests.distributions import make_wheel
from tests.http.packages import publish
from tests.http.prefix_proxy import TEAM, Setup, behind_nginx

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "has_scripts",
    [True, pytest.param(False, marks=pytest.mark.weekly)],
    ids=["scripts", "no-scripts"],
)
def test_a_person_stays_below_the_path(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, *, has_scripts: bool
) -> None:
    """From a page to signing in and back, over forms and errors, all is below the path."""
    folder = tmp_path_factory.mktemp("proxied")
    with (
        behind_nginx(folder, Setup(takes_away=TEAM)) as index,
        browser.person(index.url, java_script_enabled=has_scripts) as person,
    ):
        publish(index.server, make_wheel("demo"))
        person.open("project/Demo/")
        assert person.path == f"{TEAM}/project/demo/"
        person.follow("Sign in")
        person.page.get_by_label("User name").fill(USER)
        person.page.get_by_label("Password").fill(PASSWORD)
        person.press("Sign in")
        person.page.wait_for_url(f"**{TEAM}/project/demo/")
        assert {cookie["path"] for cookie in person.page.context.cookies()} == {f"{TEAM}/"}

        assert person.open("project/nothing/") == 404
        person.follow(USER)
        person.page.wait_for_url(f"**{TEAM}/-/account/")
        person.press("Sign out")
        person.page.wait_for_url(f"**{TEAM}/-/sign-in/?signed-out")
        assert "You are signed out" in person.text
        assert person.page.context.cookies() == []
