"""What people do with the pages in a browser; most of it also without scripts."""

import re
from base64 import b64encode
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, Person
from tests.browser.site import PASSWORD, USER, is_signed_in, running_site, sign_in
from tests.distributions import Distribution, make_wheel
from tests.http.packages import publish
from tests.http.servers import RunningServer
from tests.waiting import until
from wheelyard.rendering.client_settings import INSTALL_CHOICES

DROP = """
async ([names, bodies]) => {
  const dropped = new DataTransfer();
  for (const [at, name] of names.entries()) {
    const body = Uint8Array.from(atob(bodies[at]), (each) => each.charCodeAt(0));
    dropped.items.add(new File([body], name));
  }
  for (const type of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(type, {dataTransfer: dropped, bubbles: true, cancelable: true});
    document.querySelector("main").dispatchEvent(event);
  }
}
"""
"""Drops files on the page, as from a file manager."""


# requests without a browser have no scripts either, and fill in the same forms every day
@pytest.fixture(
    params=["ana", pytest.param("scriptless", marks=pytest.mark.weekly)],
    ids=["scripts", "no-scripts"],
)
def member(request: pytest.FixtureRequest) -> Person:
    """Somebody who is signed in, with scripts and without."""
    person: Person = request.getfixturevalue(request.param)
    if not is_signed_in(person):
        sign_in(person)
    return person


@pytest.fixture(scope="module")
def long_list(site: RunningServer) -> str:
    """The name of a project whose list of files has two pages."""
    name = "long-list"
    publish(site, *(make_wheel(name, "1.0", tag=f"py{at}-none-any") for at in range(102)))
    return name


def as_file(package: Distribution) -> dict[str, object]:
    """Return a package as a file that somebody chooses."""
    return {"name": package.filename, "mimeType": "application/zip", "buffer": package.body}


def test_wrong_password_shows_the_form_again(person: Person) -> None:
    """A wrong password shows the form again with a sentence, and the password is not in it."""
    person.open("/-/sign-in/")
    person.page.get_by_label("User name").fill(USER)
    person.page.get_by_label("Password").fill("wrong horse")
    person.press("Sign in")

    assert person.page.get_by_role("alert").is_visible()
    assert person.page.get_by_label("Password").input_value() == ""


def test_a_person_makes_replaces_and_revokes_a_token(member: Person, site: RunningServer) -> None:
    """A token is made and shown once; it works, until another one has replaced it."""
    member.follow(USER)
    member.follow("Your tokens")
    member.page.get_by_label("Name").fill("laptop")
    member.page.get_by_label("Read: install packages.").check()
    member.page.get_by_label("Projects", exact=True).fill("*")
    member.press("Make the token")
    token = member.page.inner_text("#token")
    assert site.get("/api/v1/whoami", token).json()["principal"] == f"token:{token[4:14]}"
    member.follow("Back to the tokens")
    assert token not in member.page.content()
    member.page.get_by_label(f"Rotate laptop, {token[4:14]}").click()
    member.page.get_by_label("No longer").check()
    member.press("Make the new token")
    new = member.page.inner_text("#token")
    until(lambda: site.get("/simple/", token).status_code == 401)
    member.follow("Back to the tokens")
    member.page.get_by_label(f"Revoke laptop, {new[4:14]}").click()
    member.press("Revoke the token")

    assert "is revoked" in member.page.inner_text("main [role=status]")
    until(lambda: site.get("/simple/", new).status_code == 401)


def test_back_button_shows_nothing_private(member: Person) -> None:
    """After sign-out the back button shows nothing that was private, and nothing can be done."""
    member.open("/project/acme-core/manage/")
    assert "Change the status" in member.text
    member.follow(USER)
    member.press("Sign out")
    member.page.wait_for_url("**/-/sign-in/**")
    assert USER not in member.page.inner_text(".top")
    member.page.go_back()
    member.page.go_back()

    assert "Sign in" in member.text
    assert "Change the status" not in member.page.inner_text("main")


def test_kept_page_is_loaded_anew(ana: Person) -> None:
    """A page that the browser kept for its back button is loaded anew, so it knows the sign-out."""
    ana.open("/project/acme-core/")
    ana.follow(USER)
    ana.press("Sign out")
    ana.page.wait_for_url("**/-/sign-in/**")
    for path in ("/-/account/", "/project/acme-core/"):
        ana.page.evaluate("setTimeout(() => history.back())")
        ana.page.wait_for_url(f"**{path}")
        # while it is loaded anew, nothing of it is shown
        until(lambda: "Sign in" in ana.text)
        assert USER not in ana.page.inner_text(".top")


def test_pages_know_who_looks(member: Person, person: Person) -> None:
    """Only who may manage a project sees the links for it; sign-in returns to the page."""
    for each, is_shown in ((member, True), (person, False)):
        each.open("/project/acme-core/")
        assert each.page.get_by_role("link", name="Manage", exact=True).is_visible() == is_shown
        assert each.page.get_by_role("link", name="Upload", exact=True).is_visible() == is_shown
    person.follow("Sign in")
    person.page.get_by_label("User name").fill(USER)
    person.page.get_by_label("Password").fill(PASSWORD)
    person.press("Sign in")
    person.page.wait_for_url("**/project/acme-core/")


def test_chosen_files_are_uploaded(member: Person, site: RunningServer) -> None:
    """Files that are chosen are uploaded, and the page says of each what became of it."""
    name = "chosen-with" if member.has_scripts else "chosen-without"
    good, again = make_wheel(name, "1.0"), make_wheel("plain", "1.0", "Summary: Other bytes")
    member.open()
    member.follow("Upload")
    if member.has_scripts:
        # the script has to have run, which lets several files be chosen
        member.page.locator("input[multiple]").set_input_files([as_file(good), as_file(again)])
        refused = member.page.get_by_role("listitem").filter(has_text=again.filename)
        refused.get_by_text("File already exists").wait_for()
        member.press("Upload 1 file")
    else:
        for package, shown in ((again, "File already exists"), (good, good.filename)):
            member.page.get_by_label("Choose a file").set_input_files([as_file(package)])
            member.press("Upload")
            member.page.get_by_text(shown).first.wait_for()
    member.page.get_by_role("link", name=re.compile(name)).first.click()
    member.page.wait_for_url(f"**/project/{name}/")

    assert site.get(f"/simple/{name}/").status_code == 200
    assert again.sha256 not in site.get("/simple/plain/").text


def test_dropped_files_are_uploaded(ana: Person, site: RunningServer) -> None:
    """Files that are dropped on the page are uploaded, one after the other."""
    packages = [make_wheel("dropped", version) for version in ("1.0", "1.1")]
    ana.open("/-/upload/")
    bodies = [b64encode(package.body).decode() for package in packages]
    ana.page.evaluate(DROP, [[package.filename for package in packages], bodies])
    ana.press("Upload 2 files")
    link = ana.page.get_by_role("link", name=re.compile("dropped"))
    link.nth(1).wait_for()

    listed = site.get("/simple/dropped/").text
    assert all(package.filename in listed for package in packages)


def test_release_is_yanked_with_a_reason(member: Person, site: RunningServer) -> None:
    """A release is yanked with a reason, which everybody sees, by the name of who did it."""
    name = "yanked-with" if member.has_scripts else "yanked-without"
    publish(site, make_wheel(name, "1.0"), make_wheel(name, "1.1"))
    member.open(f"/project/{name}/")
    member.follow("Manage")
    member.page.locator("main").get_by_role("link", name="1.0", exact=True).click()
    member.press("Yank")
    member.page.get_by_label("Reason").fill("Breaks <b>logins</b>")
    member.press("Yank the ticked files")
    member.page.locator("main [role=status]").wait_for()

    assert "Breaks <b>logins</b>" in member.page.inner_text("main [role=status]")
    assert "Breaks &lt;b&gt;logins&lt;/b&gt;" in site.get(f"/simple/{name}/").text
    member.open(f"/project/{name}/history/")
    assert USER in member.page.inner_text("main .rows")


def test_many_releases_are_yanked_at_once(member: Person, site: RunningServer) -> None:
    """Ticked releases are yanked with one reason, once a page has named their files."""
    name = "many-with" if member.has_scripts else "many-without"
    publish(site, *(make_wheel(name, version) for version in ("1.0", "1.1", "2.0")))
    member.open(f"/project/{name}/manage/")
    for version in ("1.0", "1.1"):
        member.page.get_by_role("checkbox", name=version).check()
    member.press("Yank")
    member.page.get_by_label("Reason").fill("Both leak")
    member.press("Yank the ticked files")
    said = member.page.inner_text("main [role=status]")

    assert "yanked 2 releases: Both leak" in said
    listed = site.get(f"/simple/{name}/").text
    assert listed.count("Both leak") == 2
    member.page.locator(".tabs").get_by_role("link", name="Releases").click()
    assert member.page.locator("main .mark.warning").all_inner_texts() == ["yanked: Both leak"] * 2


def test_project_is_deleted_with_its_typed_name(member: Person, site: RunningServer) -> None:
    """A project is deleted by who types its name, restored, and its name is given up at last."""
    name = "gone-with" if member.has_scripts else "gone-without"
    publish(site, make_wheel(name, "1.0"), make_wheel(name, "1.1"))
    member.open(f"/project/{name}/manage/")
    member.follow("Delete the project")
    member.page.get_by_label("To confirm").fill("gone")
    member.press("Delete the project")
    assert "This is something else." in member.text
    member.page.get_by_label("To confirm").fill(name)
    member.press("Delete the project")

    assert "deleted 2 releases" in member.page.inner_text("main [role=status]")
    assert "whl" not in site.get(f"/simple/{name}/").text
    member.page.get_by_role("checkbox", name="deleted files of 1.0").check()
    member.press("Restore")
    member.press("Restore the ticked files")
    assert "restored 1.0" in member.page.inner_text("main [role=status]")
    assert "whl" in site.get(f"/simple/{name}/").text
    member.follow("Delete the project")
    member.page.get_by_label("To confirm").fill(name)
    member.press("Delete the project")
    member.page.get_by_label("To confirm").fill(name)
    member.press("Give up the name")
    assert "The name is given up" in member.text
    assert site.get(f"/project/{name}/", accept="text/html").status_code == 404


def test_box_in_the_head_ticks_all(ana: Person) -> None:
    """With scripts, a box in the head of the list ticks all releases."""
    ana.open("/project/acme-core/manage/")
    ana.page.get_by_role("checkbox", name="All").check()

    boxes = ana.page.locator("tbody input[type=checkbox]")
    assert boxes.count() == 3
    assert all(box.is_checked() for box in boxes.all())


def found(person: Person) -> list[str]:
    """Return the names of the projects in the list below the search box, once there is one."""
    person.page.wait_for_selector(".results:not([hidden])")
    return [str(name) for name in person.page.locator(".results a").all_inner_texts()]


def test_projects_appear_while_typing(person: Person) -> None:
    """Projects appear below the box while one types, and the keyboard reaches them."""
    person.open()
    person.page.keyboard.press("/")
    person.page.keyboard.type("Acme_C")

    assert found(person) == ["acme-core", "zebra"]  # by its name, and by its summary
    assert person.page.locator(".results li:has(.warning)").all_inner_texts() == [
        "zebra deprecated private 0.1 · Stripes, for Acme_Core"
    ]

    person.page.keyboard.press("Escape")
    assert person.page.locator(".results").is_hidden()

    person.page.keyboard.type("or")
    found(person)
    person.page.keyboard.press("ArrowDown")
    person.page.keyboard.press("Enter")
    person.page.wait_for_url("**/project/acme-core/")

    person.page.keyboard.press("/")
    person.page.keyboard.type("acme croe")
    person.page.get_by_text("Press Enter for similar names").first.wait_for()


def test_public_packages_appear_while_typing(person: Person, site: RunningServer) -> None:
    """A public package that is used here is found in the box, and says in a word what it is."""
    until(lambda: site.get("/search.json?q=public-lib").json()["total"] == 1)
    person.open()
    person.page.get_by_role("searchbox").fill("public-l")

    assert found(person) == ["public-lib"]
    (shown,) = person.page.locator(".results li").all_inner_texts()
    assert shown.startswith("public-lib public 2.0")


def test_box_says_what_enter_looks_up(person: Person) -> None:
    """Of a name that is not here, the box says which upstream index Enter asks, and Enter does."""
    person.open()
    person.page.get_by_role("searchbox").fill("unused-lib")
    sentence = "Enter looks it up in the upstream index public."
    person.page.locator(".results", has_text=sentence).wait_for()
    assert person.page.locator("form.search [role=status]").inner_text() == sentence

    person.page.get_by_role("searchbox").fill("acme")
    person.page.locator(".results", has_text="Enter looks up acme in the").wait_for()

    person.page.get_by_role("searchbox").fill("unused-lib")
    person.page.keyboard.press("Enter")
    person.page.wait_for_url("**/?q=unused-lib")
    assert person.page.locator(".rows a").all_inner_texts() == ["unused-lib"]


def chosen(person: Person) -> str:
    """Return the name of the field that has the focus."""
    return str(person.page.evaluate("document.activeElement.name"))


def test_a_chosen_order_applies_by_itself(ana: Person) -> None:
    """A list follows a choice at once, which has the focus again; back is the list before."""
    ana.open("/-/projects/1/")
    apply = ana.page.get_by_role("button", name="Apply")
    assert apply.is_hidden()

    ana.page.get_by_label("Show").select_option("deprecated")
    ana.page.wait_for_url("**/?show=deprecated&**")
    assert ana.page.locator(".rows a").all_inner_texts() == ["zebra"]
    assert chosen(ana) == "show"
    ana.page.get_by_label("Sort by").select_option("downloads")
    ana.page.wait_for_url("**/?show=deprecated&sort=downloads**")
    assert chosen(ana) == "sort"

    ana.page.go_back()
    ana.page.wait_for_url("**/?show=deprecated&sort=name**")
    assert ana.page.get_by_label("Sort by").input_value() == "name"
    ana.open("/-/projects/1/")
    assert chosen(ana) != "sort"


def test_arrow_keys_leave_the_page_only_with_enter(ana: Person) -> None:
    """Whoever goes through the values with the arrow keys stays on the page, and applies one."""
    ana.open("/?q=acme")
    apply = ana.page.get_by_role("button", name="Apply")
    ana.page.get_by_label("Sort by").focus()
    ana.page.keyboard.press("ArrowDown")
    apply.wait_for()
    ana.page.keyboard.press("ArrowDown")
    assert ana.page.url.endswith("/?q=acme")

    ana.page.keyboard.press("Enter")
    ana.page.wait_for_url("**/?q=acme&show=all&sort=name**")
    assert (chosen(ana), apply.is_hidden()) == ("sort", True)

    ana.page.get_by_label("Classifier").press_sequentially("framework")
    assert apply.is_visible()
    ana.page.keyboard.press("Enter")
    ana.page.wait_for_url("**&classifier=framework")
    assert ana.page.locator(".rows a").all_inner_texts() == ["acme-core"]


def test_without_scripts_a_button_applies(scriptless: Person) -> None:
    """Without scripts a button applies what was chosen, on a line with it."""
    scriptless.look("light", 1440)
    for path in ("/", "/-/projects/1/", "/?q=acme"):
        scriptless.open(path)
        button = scriptless.page.get_by_role("button", name="Apply").bounding_box()
        select = scriptless.page.get_by_label("Sort by").bounding_box()
        assert abs(button["y"] - select["y"]) < 5
    scriptless.page.get_by_label("Show").select_option("active")
    scriptless.press("Apply")
    assert scriptless.page.locator(".rows a").all_inner_texts() == ["acme-core"]


def test_search_form_leads_to_results(visitor: Person) -> None:
    """The form of the box leads to a page of results, also where no script runs."""
    visitor.open()
    visitor.page.get_by_role("searchbox").fill("acme.core")
    visitor.press("Search")
    visitor.page.wait_for_url("**/?q=*")
    visitor.page.locator("main").get_by_role("link", name="acme-core", exact=True).click()
    visitor.page.wait_for_url("**/project/acme-core/")

    assert visitor.page.title() == "acme-core · wheelyard"


def test_copy_button_copies_its_text(person: Person, site: RunningServer) -> None:
    """Each copy button puts the text beside it, and nothing else, into the clipboard."""
    person.open("/project/acme-core/")
    person.page.get_by_text("Pinned, with").click()
    buttons = person.page.locator("main button.copy:visible")
    texts = set()
    for at in range(buttons.count()):
        buttons.nth(at).click()
        person.page.wait_for_function(
            "text => navigator.clipboard.readText().then(now => now !== text)", arg=""
        )
        texts.add(person.page.evaluate("navigator.clipboard.readText()"))

    assert f"uv add --default-index wheelyard={site.url}/simple/ acme-core" in texts
    assert len(texts) == buttons.count()
    pinned = re.compile(r"acme-core==1\.1( \\\n    --hash=sha256:[0-9a-f]{64}){2}")
    assert any(pinned.fullmatch(text) for text in texts)


def test_commands_have_the_whole_line(browser: Browser, tmp_path: Path) -> None:
    """In a wide window, each command to install something stands on one line, also with a note."""
    with running_site(tmp_path) as private_only, browser.person(private_only.url) as person:
        publish(private_only, make_wheel("acme-core", "1.0"))
        person.look("light", 1440)
        person.open("/project/acme-core/")
        heights = list[int]()
        for label in INSTALL_CHOICES.values():
            person.page.get_by_text(label, exact=True).click()
            shown = person.page.locator(".panels code:visible")
            assert shown.count() == 1
            heights.append(shown.evaluate("code => code.offsetHeight"))
            assert ("It fails where something is missing here" in person.text) == (label == "pip")
    assert len(set(heights)) == 1


def test_chosen_client_is_remembered(visitor: Person) -> None:
    """The client that was chosen is shown on the pages of all projects, also without scripts."""
    visitor.open("/project/acme-core/")
    assert visitor.page.locator(".panels code:visible").inner_text().startswith("uv add")
    visitor.page.get_by_text("Poetry", exact=True).click()
    assert visitor.page.locator(".panels code:visible").inner_text().startswith("poetry add")
    if not visitor.has_scripts:
        visitor.press("Remember")
        assert visitor.path == "/project/acme-core/"
    visitor.open("/project/zebra/")

    assert visitor.page.locator(".panels code:visible").inner_text() == "poetry add zebra"
    visitor.page.keyboard.press("Tab")
    visitor.page.get_by_role("radio", name="Poetry").focus()
    visitor.page.keyboard.press("ArrowRight")
    assert visitor.page.locator(".panels code:visible").inner_text() == "pdm add zebra"


def test_tabs_are_pages(visitor: Person) -> None:
    """Each tab of a project is a page, from which one gets to all others."""
    visitor.open("/project/acme-core/")
    for tab, said in (
        ("Files", "acme_core-1.1.tar.gz"),
        ("Releases", "yanked: Loses messages"),
        ("Dependencies", "zebra"),
        ("History", "uploaded 1.1"),
        ("Description", "Fine text."),
    ):
        visitor.page.locator(".tabs").get_by_role("link", name=tab, exact=True).click()
        visitor.page.wait_for_load_state()
        assert visitor.page.locator(".tabs [aria-current=page]").inner_text() == tab
        assert said in visitor.page.inner_text("main")


def test_set_up_leads_to_a_token(member: Person) -> None:
    """The steps for a client of uploads lead to the form of a token, with right and project."""
    member.open("/setup/?client=twine&project=acme-core")
    member.follow("Make one on your page of tokens")

    assert member.page.get_by_label("Projects", exact=True).input_value() == "acme-core"
    assert member.page.locator("input[value=upload]").is_checked()


def test_copy_button_of_a_block_covers_nothing(person: Person) -> None:
    """The copy button of a block is above it, so it covers nothing, and stays where it is."""
    person.open("/setup/")
    person.look("light", 320)
    for block in person.page.locator("main pre:visible").all():
        place = block.bounding_box()
        button = block.locator("xpath=preceding-sibling::button[1]")
        above = button.bounding_box()
        assert above["y"] + above["height"] <= place["y"]
        block.evaluate("block => { block.scrollLeft = 500 }")
        assert button.bounding_box() == above
        button.click()
        copied = person.page.evaluate("navigator.clipboard.readText()")
        assert copied == block.inner_text().strip()


def test_hostile_description_does_nothing(person: Person) -> None:
    """A description with scripts, styles, forms and pictures of other hosts does nothing."""
    person.open("/project/hostile/")

    assert person.page.title() == "hostile · wheelyard"
    assert (
        person.page.locator(".description :is(script, style, iframe, form, input, svg)").count()
        == 0
    )
    assert person.page.locator("[onerror], [onload], [onclick], [style]").count() == 0
    assert person.page.locator('a[href^="javascript:"]').count() == 0
    assert person.page.get_by_role("heading", name="hostile").is_visible()
    person.page.wait_for_timeout(0)
    assert person.path == "/project/hostile/"


def test_filter_shows_matching_files(person: Person) -> None:
    """In a list of files, typing shows those with all the words."""
    person.open("/project/many-wheels/files/")
    person.page.get_by_label("Filter by words").fill("3.12 windows")
    rows = person.page.locator(".file-table tbody tr:visible")

    assert rows.count() == 1
    assert "cp312-win_amd64" in rows.inner_text()
    assert "1 of 12 files" in person.text


def test_filter_looks_at_all_pages(visitor: Person, long_list: str) -> None:
    """Where the files have several pages, the form filters all of them, and pages the result."""
    visitor.open(f"/project/{long_list}/")
    visitor.page.locator(".tabs").get_by_role("link", name="Files").click()
    assert "1 to 100 of 102 files" in visitor.text
    visitor.follow("Next page")
    assert "101 to 102 of 102 files" in visitor.text
    visitor.page.get_by_label("Filter by words").fill("py9")
    visitor.press("Filter")
    assert "1 to 11 of 11 files that match, of 102" in visitor.text
    visitor.page.get_by_label("Python").select_option("py99")
    visitor.press("Filter")
    assert "1 to 1 of 1 file that matches, of 102" in visitor.text
    visitor.follow("Show all")
    assert "1 to 100 of 102 files" in visitor.text
