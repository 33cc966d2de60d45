"""The page of a project, and the release that describes it."""

import re
from html import unescape

import pytest
from hypothesis import given
from packaging.utils import NormalizedName

from tests.rendering.examples import PROJECTS, file, project
from tests.rendering.web.pages import (
    ENVIRONMENT,
    core,
    release_content,
    release_head,
    shown_dependencies,
    shown_project,
    shown_release,
)
from wheelyard.model.project import Project, Status
from wheelyard.rendering.project_facts import ProjectFacts, latest_release, releases_of
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.releases_page import ReleasesContent, releases_page
from wheelyard.rendering.web.viewer import ANYONE, Viewer


def in_text(page: str) -> str:
    """Return the text of a page, each run of blanks as one space."""
    body = page.partition("</header>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", "", body.replace("><", "> <"))).split())


@pytest.mark.parametrize(
    ("versions", "yanked", "speaks"),
    [
        (["1.0", "2.0rc1"], [], "1.0"),
        (["1.0", "1.1"], ["1.1"], "1.0"),
        (["1.0", "2.0rc1"], ["1.0"], "2.0rc1"),
        (["1.0", "1.1"], ["1.0", "1.1"], "1.1"),
        (["1!0.1", "9.0"], [], "1!0.1"),
        ([], [], None),
    ],
)
def test_newest_final_release_speaks(
    versions: list[str], yanked: list[str], speaks: str | None
) -> None:
    """The newest final release speaks; then the newest that is not yanked; then any."""
    files = [file(version, yanked="" if version in yanked else None) for version in versions]
    found = latest_release(releases_of(project(*files)))
    assert (found and found.version) == speaks


def test_release_is_yanked_when_every_file_is() -> None:
    """One file that is not yanked keeps its release alive."""
    half = releases_of(project(file(yanked="x"), file(is_wheel=False)))[0]
    whole = releases_of(project(file(yanked=""), file(is_wheel=False, yanked="late")))[0]
    assert not half.is_yanked
    assert (whole.is_yanked, whole.yanked_reason) == (True, "late")


@given(PROJECTS)
def test_any_project_has_a_page(project: Project) -> None:
    """Whatever a project holds, its page can be made, and repeats no markup."""
    text = shown_project(project)
    assert "<h1>demo" in text
    assert "<script>" not in text  # ours have a URL


FULL_LINES = (
    "Requires-Dist: base>=2",
    "Requires-Dist: fast; extra == 'speed'",
    "Provides-Extra: speed",
    "Provides-Extra: none",
)
FULL = core(
    "Summary: A demo of it",
    "License-Expression: MIT OR Apache-2.0",
    "Author-Email: Ann <ann@x.example>",
    "Maintainer: The Team",
    "Keywords: first thing, second",
    "Classifier: Topic :: System :: Archiving",
    "Classifier: Programming Language :: Python :: 3.12",
    "Classifier: Programming Language :: Python :: 3",
    "Project-URL: Code, https://git.example/demo",
    *FULL_LINES,
    description="It is *small*.",
)


def users(*names: str) -> list[ProjectFacts]:
    """Return active projects that use the one that is shown."""
    return [ProjectFacts(NormalizedName(name)) for name in names]


def test_page_has_all_of_the_core_metadata() -> None:
    """A page has all that the core metadata say, and each release with its date."""
    whole = project(file(), file(is_wheel=False), file("1.1", requires_python=">=3.9"))
    page = shown_project(whole, FULL, used_by=users("acme-core", "acme-web"))
    text = in_text(page)
    many = core(*(f"Requires-Dist: needed-{number}" for number in range(200)))
    assert "And 190 more" in (plain := in_text(shown_project(whole, many)))
    assert "by extra" not in plain
    for wanted in (
        *("demo 1.1", "A demo of it", "Released 2026-11-20 Requires Python >=3.9"),
        *("License MIT OR Apache-2.0", "Author Ann", "Maintainer The Team"),
        *("Keywords first thing", "Programming Language Python :: 3 , 3.12"),
        *("Topic System :: Archiving", "It is *small*.", "base >=2", "And 1 more, by extra"),
        *("Extras speed, none", "Used by acme-core acme-web", "1.0 2026-11-20 · 2 files"),
        *("uv pip install --index http://index.example/simple/ demo", "Code"),
    ):
        assert wanted in text
    for link in (
        *("mailto:ann@x.example", "https://git.example/demo", "../../?q=first%20thing"),
        *("../acme-core/", "1.0/", "1.1/", "feed.xml", "../../simple/demo/"),
        *("../../pypi/demo/json", "../../project/demo/dependencies/"),
    ):
        assert f'href="{link}"' in page
    assert "base</a>" not in page  # it is not here
    assert "Who may upload" not in text
    assert "manage/" not in page


def test_tabs_are_pages_of_their_own() -> None:
    """Each page of a project leads to the others, and says which one it is."""
    whole = project(file(), file("2.0rc1"))
    shown = shown_project(whole, viewer=Viewer(name="ann", may_manage=True))
    tabs = re.findall(r'<a href="../../project/demo/([a-z]*/?)"( aria-current)?', shown)
    names = ("files", "releases", "dependencies", "history", "manage", "access")
    assert tabs[:7] == [("", " aria-current"), *((f"{name}/", "") for name in names)]
    release = shown_release(whole, "2.0rc1", viewer=Viewer(name="ann", may_manage=True))
    paths = re.findall(r'<a href="../../../project/demo/([^"]*)"', release.partition("tabs")[2])
    assert paths[:4] == ["2.0rc1/", "2.0rc1/files/", "releases/", "2.0rc1/dependencies/"]
    assert paths[4:7] == ["history/", "manage/?version=2.0rc1", "access/"]


def test_managers_see_uploaders_and_forms() -> None:
    """Who may manage a project sees who may upload to it, and the way to its forms."""
    viewer = Viewer(name="ann", may_manage=True)
    page = shown_project(project(file()), viewer=viewer, uploaders=("group:ml", "user:bob@x"))
    assert "Who may upload the group ml bob@x, by Google" in in_text(page)
    assert "user:bob@x" not in page
    assert 'href="../../project/demo/manage/"' in page


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (
            project(file(), status=Status.ARCHIVED, reason="use base"),
            "It takes no new files. Reason: use base",
        ),
        (project(file(), status=Status.DEPRECATED), "This project is deprecated. Use something"),
        (project(file(), status=Status.QUARANTINED), "This project is quarantined. Nobody can"),
        (project(file(yanked="it breaks")), "Every release is yanked."),
        (project(file(yanked="it breaks")), "Reason for 1.0: it breaks"),
        (project(file("2.0rc1")), "2.0rc1 is a pre-release. There is no final release, so"),
        (project(file(yanked=""), file("2.0rc1")), "no final release that is not yanked, so"),
        (project(), "There are no files to install."),
    ],
)
def test_page_says_what_is_wrong_with_its_project(shown: Project, said: str) -> None:
    """A page says first what is wrong with its project."""
    assert said in in_text(shown_project(shown))


def test_commands_pin_a_yanked_release() -> None:
    """If every release is yanked, the install commands pin one, as installers refuse others."""
    assert "data-requirement>demo==1.0<" in shown_project(project(file(yanked="it breaks")))
    assert "data-requirement>demo<" in shown_project(project(file("0.9", yanked=""), file("1.0")))


def test_many_releases_have_a_page() -> None:
    """The page of a project shows the newest releases with what is wrong, a page of its own all."""
    whole = project(*(file(f"1.{minor}") for minor in range(299)), file("1.299", yanked="<bad>"))
    page = shown_project(whole)
    assert re.findall(r'href="(1\.[0-9]+)/"', page) == [
        f"1.{minor}" for minor in range(299, 294, -1)
    ]
    assert "yanked: <bad>" in in_text(page)
    assert 'href="releases/">All 300 releases' in page
    content = ReleasesContent(head=release_head(whole), releases=releases_of(whole))
    listed = releases_page(ENVIRONMENT, ANYONE, content).decode()
    assert listed.index('href="../1.299/"') < listed.index('href="../1.200/"')
    assert "1.299 yanked: <bad> 2026-11-20 ann, on the command line 1 file" in in_text(listed)


def test_rows_of_releases_lead_to_what_the_viewer_may_do() -> None:
    """Each release has links to yank and to promote it, for whoever may do that."""
    whole = project(file("1.0", yanked=""), file("1.1+local"))
    content = ReleasesContent(head=release_head(whole), releases=releases_of(whole))

    listed = releases_page(ENVIRONMENT, Viewer(may_manage=True, may_promote=True), content)
    manager = releases_page(ENVIRONMENT, Viewer(may_manage=True), content)
    publisher = releases_page(ENVIRONMENT, Viewer(may_promote=True), content)
    reader = releases_page(ENVIRONMENT, ANYONE, content)

    assert _row_links(listed) == [
        ("../manage/?version=1.1%2Blocal&action=yank", "Yank 1.1+local"),
        ("../1.1%2Blocal/promote/", "Promote 1.1+local"),
        ("../manage/?version=1.0&action=unyank", "Unyank 1.0"),
        ("../1.0/promote/", "Promote 1.0"),
    ]
    assert [name.split()[0] for _, name in _row_links(manager)] == ["Yank", "Unyank"]
    assert [name.split()[0] for _, name in _row_links(publisher)] == ["Promote", "Promote"]
    assert (_row_links(reader), b"Actions" in reader) == ([], False)


def _row_links(page: bytes) -> list[tuple[str, str]]:
    return re.findall(r'<a href="([^"]*)" aria-label="([^"]*)"', unescape(page.decode()))


def test_users_are_shown_with_their_status() -> None:
    """Who uses a project is shown with a word for what is deprecated, archived or yanked."""
    used_by = (ProjectFacts(NormalizedName("old"), status="deprecated"), *users("web"))
    page = shown_project(project(file()), used_by=used_by)
    assert "Used by old deprecated web" in in_text(page)


def test_many_users_are_counted() -> None:
    """A project that hundreds depend on names some of them, and counts the others."""
    many = users(*(f"p{number}" for number in range(600)))
    page = shown_project(project(file()), used_by=many)
    assert 'href="../p7/"' in page
    assert 'href="../p8/"' not in page
    assert 'href="dependencies/#used-by">All 600' in page
    whole = shown_dependencies(release_content(release_head(project(file()))), *many)
    assert whole.count("project/p") == 500
    assert "And 100 more." in in_text(whole)


def test_dependencies_have_conditions_in_words() -> None:
    """What a release needs is shown by extra, with its conditions in words."""
    metadata = core("Requires-Dist: old; python_version < '3.9'", *FULL_LINES)
    text = in_text(shown_dependencies(release_content(release_head(project(file())), metadata)))
    assert "old only for Python older than 3.9 base >=2" in text
    assert "With the extra speed fast With the extra none Nothing more." in text
    assert "No project here needs it." in text
    bare = in_text(shown_dependencies(release_content(release_head(project(file())))))
    assert "It needs no other package." in bare


HOSTILE = "\"'><img src=x onerror=alert(1)></title><script>alert(1)</script>{{ 7 * 7 }}"
FIELDS = (
    *("Summary", "License", "Author", "Author-Email", "Maintainer", "Maintainer-Email"),
    *("Keywords", "Classifier", "Home-page", "Download-URL", "Project-URL"),
)


@pytest.mark.parametrize("field", FIELDS)
def test_markup_in_metadata_is_text(field: str) -> None:
    """Markup in any field of core metadata that is shown is not obeyed."""
    page = shown_project(project(file()), core(f"{field}: {HOSTILE}"))
    assert "<img src=x" not in page
    assert "<script>" not in page
    assert "49" not in in_text(page)
    assert "alert(1)" in in_text(page)


def test_a_platform_in_metadata_is_not_shown() -> None:
    """The platforms that core metadata name are on no page, with markup or without."""
    assert "alert(1)" not in shown_project(project(file()), core(f"Platform: {HOSTILE}"))


def test_markup_elsewhere_is_text() -> None:
    """Markup in reasons, uploaders and the description is shown; a lone surrogate does no harm."""
    hostile = project(file(yanked=f"{HOSTILE}\ud800"), status=Status.ARCHIVED, reason=HOSTILE)
    page = shown_project(hostile, core(description=HOSTILE), uploaders=(HOSTILE,))
    assert "<img src=x" not in page
    assert in_text(page).count("alert(1)</script>") >= 4


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "/x"],
)
def test_only_web_addresses_are_links(url: str) -> None:
    """An address that is not of the web is shown and not linked."""
    lines = (f"Project-URL: Bad, {url}", "Project-URL: Good, https://g.example")
    page = shown_project(project(file()), core(*lines))

    assert url in in_text(page)
    assert f'href="{url}"' not in page
    assert 'href="https://g.example"' in page


def test_quarantined_project_shows_no_file() -> None:
    """The page of a quarantined project names none of its files, and says so."""
    text = in_text(shown_project(project(file(), status=Status.QUARANTINED)))

    assert "demo-1.0" not in text


@pytest.mark.parametrize("is_certain", [True, False])
def test_a_script_replaces_no_address_that_is_certain(*, is_certain: bool) -> None:
    """Only where no setting says the URL of the index, a script takes it from the browser."""
    environment = PageEnvironment("http://index.example/simple/", is_certain=is_certain)

    page = shown_release(project(file()), "1.0", environment=environment)

    assert ("data-root" in page) is not is_certain
    assert "http://index.example/simple/ demo==1.0" in in_text(page)
