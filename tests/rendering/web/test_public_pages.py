"""The pages of public projects, of which an upstream index may say little."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.rendering.examples import NOON, TEXT, file, project
from tests.rendering.web.pages import (
    ENVIRONMENT,
    core,
    release_content,
    release_head,
    shown_files,
    shown_project,
)
from tests.rendering.web.test_project_page import HOSTILE, in_text
from wheelyard.model.public_packages import Decision, Verdict
from wheelyard.rendering.listing import HiddenFiles, Origin, ShownFile, ShownProject
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.project_overview import History, change_by
from wheelyard.rendering.web.public_package import HIDDEN_SHOWN, OriginNotes
from wheelyard.rendering.web.release_page import ReleaseHead, release_page
from wheelyard.rendering.web.releases_page import ReleasesContent, releases_page
from wheelyard.rendering.web.viewer import ANYONE
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

DEMO = NormalizedName("demo")
PYPI = Origin(label="pypi")
PUBLIC = OriginNotes(PYPI)


def bare_file(version: str = "1.0", **more: object) -> UpstreamFile:
    """Return an sdist of which only the name and the URL are known, and perhaps `more`."""
    filename = f"demo-{version}.tar.gz"
    url = "https://files.example.com/demo"
    return UpstreamFile(filename=filename, version=version, url=url, **more)  # type: ignore[arg-type]


def page(*files: UpstreamFile) -> UpstreamPage:
    """Return the page of the project demo at its upstream index."""
    return UpstreamPage(name=DEMO, upstream="pypi-0", fetched_at=NOON, files=files)


def head_of(project: UpstreamPage, version: str = "", **more: object) -> ReleaseHead:
    """Return what the pages about a public release have in common."""
    return release_head(project, version, **{"public": PUBLIC, **more})


def shown_release(project: UpstreamPage, **more: object) -> str:
    """Return the HTML of the page of the latest release."""
    head = head_of(project, project.files[0].version, **more)
    return release_page(ENVIRONMENT, ANYONE, release_content(head)).decode()


def hidden(*versions: str) -> tuple[HiddenFiles, ...]:
    """Return a file of each version that is not shown."""
    return tuple(HiddenFiles(version, 1, f"{version} is <too> young.") for version in versions)


def test_pages_say_what_is_known() -> None:
    """A file without size, time, digest and metadata is on the pages, which say what they lack."""
    project = page(bare_file())
    first, files = shown_project(project, public=PUBLIC), shown_files(head_of(project))
    for shown in (first, shown_release(project), files):
        assert 'files/demo/demo-1.0.tar.gz"' in shown
        assert "SHA-256" not in shown
        assert "--hash" not in shown
        assert ".metadata" not in shown
        assert (
            "A public package of the upstream index pypi. It was not published to this index"
            in in_text(shown)
        )
    assert "source code not known not known" in in_text(files)
    assert "Released not known" in in_text(first)


def test_a_public_project_looks_as_a_private_one() -> None:
    """A public project's page has its core metadata and releases, but no uploader, feed or form."""
    metadata = core("Summary: A demo", "License: MIT", "Requires-Dist: base>=2", "Author: Ann")
    known = bare_file(size=5, uploaded_at=NOON, sha256="a" * 64)
    shown = shown_project(page(known), metadata, public=PUBLIC)
    text = in_text(shown)
    for wanted in (
        "demo 1.0 public A demo",
        "Released 2026-11-20",
        "License MIT",
        "base >=2",
        "Author Ann",
    ):
        assert wanted in text
    files = in_text(shown_files(head_of(page(known))))
    assert f"SHA-256 SHA-256 {'a' * 64} 5 bytes 2026-11-20 12:00 UTC" in files
    links = ("1.0/", "../../project/demo/history/", "../../simple/demo/", "../../pypi/demo/json")
    for link in links:
        assert f'href="{link}"' in shown
    for missing in ("feed.xml", "manage/"):
        assert missing not in shown
    assert "UTC by" not in text


def test_hidden_versions_have_reasons() -> None:
    """The list of releases says of all versions what is hidden and why, a release of its own."""
    public = OriginNotes(PYPI, hidden=hidden("2.0", "1.0.0"))
    project = page(bare_file("1"))
    content = ReleasesContent(head=head_of(project, public=public), releases=())
    listed = releases_page(ENVIRONMENT, ANYONE, content).decode()
    whole, one = in_text(listed), in_text(shown_release(project, public=public.of_release("1")))
    assert 'href="releases/#hidden"' in shown_project(project, public=public)
    assert "Not shown Version Files Why 2.0 1 file 2.0 is <too> young. 1.0.0 1 file" in whole
    assert "1.0.0 is <too> young." in one
    assert "2.0 is" not in one
    nothing = in_text(shown_project(page(), public=public))
    assert "There are no files to install: all of them are hidden." in nothing


def test_many_hidden_versions_are_folded() -> None:
    """Of many hidden versions the newest are shown, and the others unfold."""
    public = OriginNotes(PYPI, hidden=hidden(*(f"{number}.0" for number in range(300))))
    recent, _, older = shown_project(page(), public=public).partition("<summary>280 more</summary>")
    assert recent.count("young") == HIDDEN_SHOWN
    assert older.count("young") == 280


def test_nobody_asks_for_what_a_view_hides() -> None:
    """A release has a button to ask for it if the policy hides it, and none if only a view does."""
    asker, by_view = replace(ANYONE, may_ask=True), HiddenFiles("2.0", 1, "old", is_by_view=True)
    for files, is_offered in (((by_view,), False), ((by_view, *hidden("1.0")), True)):
        text = shown_project(page(), viewer=asker, public=OriginNotes(PYPI, hidden=files))
        assert ("Ask for it" in text) == is_offered


def test_hidden_release_says_why() -> None:
    """The answer to a release without a file that is shown says why; or that there is none."""

    def missing(public: OriginNotes) -> str:
        values = {"name": DEMO, "version": "2.0", "public": public, "not_shown": public}
        page = ENVIRONMENT.render("missing_release.html", ANYONE, "../../../", **values)
        return in_text(page.decode())

    why = missing(OriginNotes(PYPI, hidden=hidden("2.0")))
    assert "No file of the release 2.0 of demo is shown here. Not shown" in why
    assert "2.0 is <too> young." in why
    assert "demo has no release 2.0 at its upstream index, or nothing of it is" in missing(PUBLIC)


def test_page_says_what_is_missing() -> None:
    """Pages say that nothing is shown, that the index does not answer, and what it has not sent."""
    blocked = OriginNotes(Origin(refusal="It is blocked."))
    refused = in_text(shown_project(page(), public=blocked))
    assert "A public package. It was not published to this index." in refused
    assert "Nothing of it is shown. It is blocked." in refused
    assert "no files to install" not in refused

    stale = OriginNotes(Origin(is_stale=True, confirmed_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC)))
    said = in_text(shown_release(page(bare_file()), public=stale))
    assert "This is what it had on 2026-01-02 03:04 UTC." in said

    lacking = in_text(shown_release(page(bare_file()), lacks_core=True))
    assert "could not be read from the upstream index" in lacking


@pytest.mark.parametrize(
    ("shown", "public", "leads_there"),
    [
        (project(file()), None, True),
        (project(), None, True),
        (page(bare_file()), PUBLIC, False),
        (page(), PUBLIC, False),
    ],
    ids=["private", "private-without-files", "public", "public-without-files"],
)
def test_downloads_of_private_projects_have_a_tab(
    shown: ShownProject[ShownFile], public: OriginNotes | None, *, leads_there: bool
) -> None:
    """Downloads of private projects have a tab, also without a file, and those of others none."""
    counting = PageEnvironment("http://index.example/simple/", counts_downloads=True)
    html = shown_project(shown, public=public, environment=counting)

    assert ('href="../../project/demo/downloads/"' in html) is leads_there


def decision(at: datetime = NOON, **more: object) -> Decision:
    """Return a decision about the project demo."""
    values = {"by": "local:ana", "verdict": Verdict.BLOCKED, "project": DEMO, **more}
    return Decision(at=at, **values)  # type: ignore[arg-type]


def shown_history(decisions: list[Decision], *, is_whole: bool = True) -> str:
    """Return the page of decisions about the project demo."""
    changes = [change_by(decision) for decision in decisions]
    page = History(name=DEMO, changes=changes, is_public=True, is_whole=is_whole)
    return page.render(ENVIRONMENT, ANYONE).decode()


def test_decisions_are_on_page_and_history() -> None:
    """The page of a project has the decisions in force, its history those that were made."""
    made = decision(version="1.0", reason=HOSTILE)
    shown = shown_project(page(), public=OriginNotes(PYPI, decisions=[made]))
    history = shown_history([made])
    assert "ana, on the command line blocked demo 1.0" in in_text(shown)
    assert "blocked demo 1.0" in in_text(history)
    assert "ana, on the command line at 12:00 UTC" in in_text(history)
    for each in (shown, history):
        assert "<img src=x" not in each
        assert "feed.xml" not in each
    assert "among the last ones" not in history
    empty = shown_history([], is_whole=False)
    assert "Nobody has decided anything about it." in in_text(empty)
    assert "among the last ones" in empty


FILES = st.builds(
    bare_file,
    st.sampled_from(["1.0", "1!2.0", "1.0+cu121", "2.0rc1", "0.1.dev3"]),
    sha256=st.sampled_from(["", "a" * 64]),
    size=st.none() | st.integers(min_value=0),
    uploaded_at=st.none() | st.just(NOON),
    has_metadata=st.booleans(),
    requires_python=st.none() | TEXT,
    yanked=st.none() | TEXT,
)


@given(st.lists(FILES, max_size=6), st.lists(TEXT))
def test_any_project_has_pages(files: list[UpstreamFile], reasons: list[str]) -> None:
    """Whatever an upstream index says, the pages can be made, and repeat no markup."""
    public = OriginNotes(PYPI, hidden=[HiddenFiles("3.0", 1, reason) for reason in reasons])
    project = page(*files)
    shown = [shown_project(project, public=public)]
    if files:
        shown += [shown_release(project, public=public), shown_files(head_of(project))]
    for text in shown:
        assert "<h1>demo" in text
        assert "<script>" not in text
