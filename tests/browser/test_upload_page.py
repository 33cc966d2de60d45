"""The page of uploads with scripts: the zone to drop files on, and what is said before they go."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.axe import violations
from tests.browser.chromium import Person
from tests.browser.test_pages import as_file
from tests.distributions import Distribution, make_sdist, make_wheel
from tests.http.packages import publish
from tests.http.servers import RunningServer

pytestmark = pytest.mark.integration
UPLOAD = "/-/upload/"
HANG = """
([type, kind]) => {
  const dragged = new DataTransfer();
  if (kind === "file") dragged.items.add(new File(["x"], "a.whl"));
  else dragged.setData("text/plain", "some text");
  const options = {dataTransfer: dragged, bubbles: true, cancelable: true};
  const event = new DragEvent(type, options);
  document.querySelector(".drop input").dispatchEvent(event);
  return event.defaultPrevented;
}
"""
"""Has something hang over the zone, or leave the page, and says whether the page would take it."""
NO_DIGESTS = "Object.defineProperty(crypto, 'subtle', {value: undefined})"
"""As in a page that came over plain HTTP."""


def choose(person: Person, *packages: Distribution) -> None:
    """Choose files on the page, and wait until it says what would become of them."""
    person.page.locator("input[multiple]").set_input_files(list(map(as_file, packages)))
    # while it asks, it says nothing of the files
    person.page.locator("[data-queue] .mark", has_text="checking").first.wait_for(state="detached")


def row_of(person: Person, package: Distribution) -> Any:  # noqa: ANN401 - Playwright's `Locator`
    """Return the row of a file."""
    return person.page.get_by_role("listitem").filter(has_text=package.filename)


def test_the_page_says_what_would_become_of_files(ana: Person, site: RunningServer) -> None:
    """Before anything is sent, each file has its name, version, kind, and why it is left out."""
    there, other = make_sdist("previewed", "1.0"), make_sdist("previewed", "1.0", "Summary: Other")
    publish(site, there, make_wheel("previewed", "1.0"))
    new = make_wheel("preview-new", "2.0")
    notes = Distribution("notes.txt", b"none")
    ana.open(UPLOAD)

    choose(ana, new, other, make_wheel("previewed", "1.0"), notes)

    assert "preview-new 2.0 · wheel, any Python 3 new project" in row_of(ana, new).inner_text()
    refused = row_of(ana, other).inner_text()
    assert "would be refused" in refused
    assert "with different content" in refused
    assert "is there already" in row_of(ana, make_wheel("previewed", "1.0")).inner_text()
    summary = ana.page.locator("[data-summary]")
    said = "1 was there already, 2 left out, 1 ready. What would be refused is not sent."
    assert summary.inner_text() == said
    assert violations(ana) == []
    assert site.get("/simple/preview-new/").status_code == 404

    ana.page.get_by_role("button", name="Remove notes.txt").click()
    ana.press("Upload 1 file")
    summary.filter(has_text="1 uploaded, 1 was there already, 1 left out.").wait_for()

    assert site.get("/simple/preview-new/").status_code == 200
    assert other.sha256 not in site.get("/simple/previewed/").text
    row_of(ana, new).get_by_role("link", name="Promote").click()
    ana.page.wait_for_url("**/project/preview-new/2.0/promote/")


def test_a_file_that_was_built_anew_takes_the_place_of_the_one_before(ana: Person) -> None:
    """A file chosen again under the same name is one row."""
    ana.open(UPLOAD)
    choose(ana, make_wheel("rebuilt", "1.0"))
    choose(ana, make_wheel("rebuilt", "1.0", "Summary: Anew"))

    assert ana.page.locator("[data-queue] li").count() == 1
    assert ana.page.get_by_role("button", name="Upload 1 file").is_enabled()


@pytest.mark.parametrize("colours", ["none", "active"])
def test_the_zone_shows_that_a_file_hangs_over_the_page(
    ana: Person, colours: str, tmp_path: Path
) -> None:
    """The zone changes while a file hangs over it, also in forced colours, and not for a text."""
    ana.page.emulate_media(forced_colors=colours)
    ana.open(UPLOAD)
    zone = ana.page.locator(".drop")
    pictures = []
    for event, kind, is_taken in (
        ("dragover", "text", False),
        ("dragover", "file", True),
        ("dragleave", "file", False),
    ):
        assert ana.page.evaluate(HANG, [event, kind]) == is_taken
        pictures.append(zone.screenshot(path=tmp_path / f"{kind}.png", animations="disabled"))

    assert pictures[0] == pictures[2]
    assert pictures[0] != pictures[1]


def test_the_zone_is_the_field(ana: Person) -> None:
    """A click anywhere in the zone, and the keyboard, open the browser's own choice of files."""
    ana.open(UPLOAD)
    with ana.page.expect_file_chooser() as chosen:
        ana.page.locator(".drop").click(position={"x": 5, "y": 5})
    assert chosen.value.is_multiple()
    with ana.page.expect_file_chooser():
        ana.page.get_by_label("Choose files").press("Enter")


def test_without_a_digest_the_name_alone_is_known(ana: Person, site: RunningServer) -> None:
    """Where the browser computes no digests, a file whose name is there can still be sent."""
    there = make_wheel("no-digests", "1.0")
    publish(site, there)
    ana.open(UPLOAD)
    ana.page.evaluate(NO_DIGESTS)
    choose(ana, there)
    assert "only if it has the same content" in row_of(ana, there).inner_text()
    ana.press("Upload 1 file")
    ana.page.locator("[data-summary]", has_text="1 was there already.").wait_for()


def test_a_page_that_cannot_ask_sends_all_the_same(ana: Person, site: RunningServer) -> None:
    """If the server does not say what would become of a file, it can be sent all the same."""
    made = make_wheel("not-checked", "1.0")
    busy = {"status": 503, "body": "busy"}
    ana.page.route("**/upload/check/", lambda route: route.fulfill(**busy), times=1)
    ana.open(UPLOAD)
    choose(ana, made)
    assert "This could not be checked before" in row_of(ana, made).inner_text()
    ana.press("Upload 1 file")
    ana.page.locator("[data-summary]", has_text="1 uploaded.").wait_for()
    # the browser notes the answer to the question
    ana.complaints.clear()

    assert site.get("/simple/not-checked/").status_code == 200


@pytest.mark.parametrize(
    ("status", "may_help"), [(409, False), (403, False), (429, True), (503, True)]
)
def test_another_try_is_offered_where_it_can_help(
    ana: Person, status: int, *, may_help: bool
) -> None:
    """A file that is refused for what it is has no button *Try again*, and any other one has."""
    made = make_wheel(f"tried-{status}", "1.0")
    ana.open(UPLOAD)
    choose(ana, made)
    answer = {"status": status, "json": {"message": "Not now."}}
    ana.page.route("**/-/upload/", lambda route: route.fulfill(**answer), times=1)
    ana.press("Upload 1 file")
    ana.page.locator("[data-summary]", has_text="1 not uploaded.").wait_for()
    again = row_of(ana, made).get_by_role("button", name="Try again")
    assert again.is_visible() == may_help
    if may_help:
        again.click()
        ana.page.locator("[data-summary]", has_text="1 uploaded.").wait_for()
    # the browser notes the answer to the form
    ana.complaints.clear()
