"""Asking for hidden public packages, and deciding about them, in a browser."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Browser
from tests.browser.site import PASSWORD, USER, running_site, sign_in
from tests.http.servers import RunningServer
from tests.upstream.fake_upstream import running_fake_upstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import upstream_settings

REQUEST = "/api/v1/upstream/request"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that shows public packages only after somebody has approved them."""
    with running_fake_upstream() as upstream:
        upstream.publish(*(public_wheel(f"lib-{letter}", "1.0") for letter in "abcdefgh"))
        config = upstream_settings(upstream, "approval = true")
        with running_site(tmp_path_factory.mktemp("guarded"), config) as server:
            yield server


@pytest.mark.parametrize("has_scripts", [True, pytest.param(False, marks=pytest.mark.weekly)])
def test_people_ask_and_approvers_decide(
    browser: Browser, guarded: RunningServer, *, has_scripts: bool
) -> None:
    """Who asks is seen by who approves: one by a click, one blocked for a reason, two at once."""
    first, second, third, fourth = "abcd" if has_scripts else "efgh"
    with browser.person(guarded.url, java_script_enabled=has_scripts) as person:
        sign_in(person)
        person.open(f"/project/lib-{first}/")
        # who approves is led to the approval, and others ask at this address
        assert "Approve it…" in person.text
        person.open(f"/-/request/?project=lib-{first}")
        person.page.get_by_label("Why you need it").fill("for TICKET-1")
        person.press("Ask for it")
        assert f"You have asked for lib-{first}." in person.text
        for letter in (second, third, fourth):
            wanted = {"project": f"lib-{letter}", "reason": "for TICKET-2"}
            asked = guarded.client.post(REQUEST, json=wanted, auth=(USER, PASSWORD))
            assert asked.status_code == 201
        person.page.get_by_role("link", name="Administration").first.click()
        person.follow("Package requests")
        assert "“for TICKET-1”" in person.text

        person.press(f"Approve lib-{first}")
        assert "1 package approved." in person.text
        assert f"lib_{first}-1.0" in guarded.get(f"/simple/lib-{first}/").text

        person.follow(f"Block lib-{second}")
        person.page.get_by_label("Reason").fill("no, see TICKET-2")
        person.press("Block")
        assert "1 package blocked." in person.text
        person.open(f"/project/lib-{second}/")
        assert "no, see TICKET-2" in person.text

        person.open("/-/admin/requests/")
        for letter in (third, fourth):
            person.page.get_by_label(f"Select lib-{letter}").check()
        person.press("Approve the selected…")
        assert "Approve 2 packages" in person.text
        person.press("Approve")
        assert "2 packages approved." in person.text
        for letter in (third, fourth):
            assert f"lib_{letter}-1.0" in guarded.get(f"/simple/lib-{letter}/").text
