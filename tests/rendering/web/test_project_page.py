"""The page of a project, and the release that describes it."""

import re
from html import unescape

import pytest
from hypothesis import given
from packaging.utils import NormalizedName

from tests.rendering.examples import PROJECTS, file, project
from tests.rendering.web.pages import core, shown_project
from wheelyard.model.project import Project, Status
from wheelyard.rendering.project_facts import ProjectFacts, latest_release, releases_of
from wheelyard.rendering.web.environment import Viewer


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
    "Requires-Dist: base>=2",
    "Requires-Dist: fast; extra == 'speed'",
    "Provides-Extra: speed",
    "Provides-Extra: none",
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
    for wanted in (
        *("demo 1.1", "A demo of it", "Released on 2026-11-20, for Python >=3.9"),
        *("License MIT OR Apache-2.0", "Author Ann", "Maintainer The Team"),
        *("Keywords first thing", "Programming Language Python :: 3 Python :: 3.12"),
        *("Topic System :: Archiving", "It is *small*.", "base >=2", "With the extra speed fast"),
        *("With the extra none Nothing more.", "Used by acme-core acme-web", "1.0 2026-11-20 2"),
        'With extras, write "demo[speed]" in place of demo. There are speed, none.',
        *("uv pip install --index http://index.example/simple/ demo", "Code Source code"),
    ):
        assert wanted in text
    for link in (
        *("mailto:ann@x.example", "https://git.example/demo", "../../?q=first%20thing"),
        *("../acme-core/", "1.0/", "1.1/", "history/", "feed.xml", "../../simple/demo/"),
        *("../../pypi/demo/json", "#releases", "#used-by"),
    ):
        assert f'href="{link}"' in page
    assert "base</a>" not in page  # it is not here
    assert "Who may upload" not in text
    assert 'href="manage/"' not in page


def test_managers_see_uploaders_and_forms() -> None:
    """Who may manage a project sees who may upload to it, and the way to its forms."""
    viewer = Viewer(name="ann", may_manage=True)
    page = shown_project(project(file()), viewer=viewer, uploaders=("group:ml", "user:bob@x"))
    assert "Who may upload group:ml user:bob@x" in in_text(page)
    assert 'href="manage/"' in page


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
    assert "demo==1.0<" in shown_project(project(file(yanked="it breaks")))
    assert "demo==" not in shown_project(project(file("0.9", yanked=""), file("1.0")))


def test_many_releases_are_folded() -> None:
    """The page of a project with hundreds of releases shows the newest, and unfolds the others."""
    whole = project(*(file(f"1.{minor}") for minor in range(300)))
    page = shown_project(whole)
    recent, _, older = page.partition("<details>\n<summary>280 older releases</summary>")
    assert 'href="1.299/"' in recent
    assert 'href="1.279/"' not in recent
    assert 'href="1.279/"' in older
    assert 'href="1.0/"' in older


def test_users_are_shown_with_their_status() -> None:
    """Who uses a project is shown with a word for what is deprecated, archived or yanked."""
    used_by = (ProjectFacts(NormalizedName("old"), status="deprecated"), *users("web"))
    page = shown_project(project(file()), used_by=used_by)
    assert "Used by old deprecated web" in in_text(page)


def test_many_users_are_counted() -> None:
    """A project that hundreds depend on names some of them, and counts the others."""
    page = shown_project(project(file()), used_by=users(*(f"p{number}" for number in range(120))))
    assert 'href="../p49/"' in page
    assert 'href="../p50/"' not in page
    assert "And 70 more." in in_text(page)


HOSTILE = "\"'><img src=x onerror=alert(1)></title><script>alert(1)</script>{{ 7 * 7 }}"
FIELDS = (
    *("Summary", "License", "Author", "Author-Email", "Maintainer", "Maintainer-Email"),
    *("Keywords", "Classifier", "Home-page", "Download-URL", "Project-URL", "Platform"),
)


@pytest.mark.parametrize("field", FIELDS)
def test_markup_in_metadata_is_text(field: str) -> None:
    """Markup in any field of core metadata is shown, not obeyed."""
    page = shown_project(project(file()), core(f"{field}: {HOSTILE}"))
    assert "<img src=x" not in page
    assert "<script>" not in page
    assert "49" not in in_text(page)
    if field != "Platform":  # which is not shown
        assert "alert(1)" in in_text(page)


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
    """An address that is not of the web is shown and not linked (P02)."""
    lines = (f"Project-URL: Bad, {url}", "Project-URL: Good, https://g.example")
    page = shown_project(project(file()), core(*lines))

    assert url in in_text(page)
    assert f'href="{url}"' not in page
    assert 'href="https://g.example"' in page


def test_quarantined_project_shows_no_file() -> None:
    """The page of a quarantined project names none of its files, and says so."""
    text = in_text(shown_project(project(file(), status=Status.QUARANTINED)))

    assert "demo-1.0" not in text
