"""The pages of public projects, of which an upstream index may say little."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from packaging.utils import NormalizedName

from tests.rendering.examples import NOON, TEXT
from tests.rendering.web.pages import ENVIRONMENT, core
from tests.rendering.web.test_project_page import HOSTILE, in_text
from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.public_packages import Decision, Verdict
from wheelyard.rendering.listing import HiddenFiles, Origin
from wheelyard.rendering.project_facts import latest_release, releases_of
from wheelyard.rendering.web.environment import ANYONE
from wheelyard.rendering.web.project_pages import History, ProjectContent, change_by, project_page
from wheelyard.rendering.web.release_page import (
    HIDDEN_SHOWN,
    PublicPackage,
    ReleaseContent,
    file_list,
    files_page,
    release_page,
)
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

DEMO = NormalizedName("demo")
PYPI = Origin(label="pypi")
PUBLIC = PublicPackage(PYPI)


def bare_file(version: str = "1.0", **more: object) -> UpstreamFile:
    """Return an sdist of which only the name and the URL are known, and perhaps `more`."""
    filename = f"demo-{version}.tar.gz"
    url = "https://files.example.com/demo"
    return UpstreamFile(filename=filename, version=version, url=url, **more)  # type: ignore[arg-type]


def page(*files: UpstreamFile) -> UpstreamPage:
    """Return the page of the project demo at its upstream index."""
    return UpstreamPage(name=DEMO, upstream="pypi-0", fetched_at=NOON, files=files)


def release_content(
    project: UpstreamPage,
    public: PublicPackage = PUBLIC,
    metadata: CoreMetadata | None = None,
    *,
    lacks_core: bool = False,
) -> ReleaseContent:
    """Return what is shown of the latest release."""
    latest = latest_release(releases_of(project))
    assert latest is not None
    return ReleaseContent(
        project=project,
        release=latest,
        latest=latest.version,
        core=metadata or core(),
        description=Markup(),
        public=public,
        lacks_core=lacks_core,
    )


def shown_project(
    project: UpstreamPage, public: PublicPackage = PUBLIC, metadata: CoreMetadata | None = None
) -> str:
    """Return the HTML of the page of a project."""
    releases = releases_of(project)
    content = ProjectContent(
        project=project,
        releases=releases,
        latest=release_content(project, public, metadata) if releases else None,
        public=public,
    )
    return project_page(ENVIRONMENT, ANYONE, content).decode()


def shown_release(project: UpstreamPage, public: PublicPackage = PUBLIC) -> str:
    """Return the HTML of the page of the latest release."""
    return release_page(ENVIRONMENT, ANYONE, release_content(project, public)).decode()


def hidden(*versions: str) -> tuple[HiddenFiles, ...]:
    """Return a file of each version that is not shown."""
    return tuple(HiddenFiles(version, 1, f"{version} is <too> young.") for version in versions)


def test_pages_say_what_is_known() -> None:
    """A file without size, time, digest and metadata is on the pages, which say what they lack."""
    project = page(bare_file())
    files = file_list(releases_of(project)[0])
    assert files is not None
    further = files_page(ENVIRONMENT, ANYONE, project, releases_of(project)[0], files).decode()
    for shown in (shown_project(project), shown_release(project), further):
        text = in_text(shown)
        assert 'files/demo/demo-1.0.tar.gz"' in shown
        assert "sdist not known not known" in text
        assert "SHA-256" not in text
        assert ".metadata" not in shown
    assert "Released not known" in in_text(shown_project(project))
    assert "A public package of the upstream index pypi. Nobody" in in_text(shown_project(project))


def test_a_public_project_looks_as_a_private_one() -> None:
    """Its page has what core metadata say, links to its releases, but no uploader, feed or form."""
    metadata = core("Summary: A demo", "License: MIT", "Requires-Dist: base>=2", "Author: Ann")
    known = bare_file(size=5, uploaded_at=NOON, sha256="a" * 64)
    shown = shown_project(page(known), metadata=metadata)
    text = in_text(shown)
    for wanted in (
        *("demo 1.0 A demo Released on 2026-11-20, MIT", "base >=2", "Author Ann"),
        *("sdist 5 bytes 2026-11-20 12:00 UTC", f"SHA-256 {'a' * 64}"),
    ):
        assert wanted in text
    for link in ("1.0/", "history/", "../../simple/demo/", "../../pypi/demo/json"):
        assert f'href="{link}"' in shown
    for missing in ("feed.xml", "manage/"):
        assert missing not in shown
    assert "UTC by" not in text


def test_hidden_versions_have_reasons() -> None:
    """A project's page says of all its versions what is hidden and why, a release's of its own."""
    public = PublicPackage(PYPI, hidden=hidden("2.0", "1.0.0"))
    project = page(bare_file("1"))
    whole, one = (
        in_text(shown_project(project, public)),
        in_text(shown_release(project, public.of_release("1"))),
    )
    assert "Not shown Version Files Why 2.0 1 file 2.0 is <too> young. 1.0.0 1 file" in whole
    assert "1.0.0 is <too> young." in one
    assert "2.0 is" not in one
    assert "There are no files to install: none of them is shown." in in_text(
        shown_project(page(), public)
    )


def test_many_hidden_versions_are_folded() -> None:
    """Of many hidden versions the newest are shown, and the others unfold."""
    public = PublicPackage(PYPI, hidden=hidden(*(f"{number}.0" for number in range(300))))
    recent, _, older = shown_project(page(), public).partition("<summary>280 more</summary>")
    assert recent.count("young") == HIDDEN_SHOWN
    assert older.count("young") == 280


def test_hidden_release_says_why() -> None:
    """The answer to a release without a file that is shown says why; or that there is none."""

    def missing(public: PublicPackage) -> str:
        values = {"name": DEMO, "version": "2.0", "public": public}
        page = ENVIRONMENT.render("missing_release.html", ANYONE, "../../../", **values)
        return in_text(page.decode())

    why = missing(PublicPackage(PYPI, hidden=hidden("2.0")))
    assert "No file of the release 2.0 of demo is shown here. Not shown" in why
    assert "2.0 is <too> young." in why
    assert "demo has no release 2.0 at its upstream index, or nothing of it is" in missing(PUBLIC)


def test_page_says_what_is_missing() -> None:
    """Pages say that nothing is shown, that the index does not answer, and what it has not sent."""
    refused = in_text(shown_project(page(), PublicPackage(Origin(refusal="It is blocked."))))
    assert "A public package. Nobody has published it here." in refused
    assert "Nothing of it is shown. It is blocked." in refused
    assert "no files to install" not in refused

    stale = PublicPackage(
        Origin(is_stale=True, confirmed_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    )
    assert "This is what it had on 2026-01-02 03:04 UTC." in in_text(
        shown_release(page(bare_file()), stale)
    )

    content = release_content(page(bare_file()), lacks_core=True)
    lacking = in_text(release_page(ENVIRONMENT, ANYONE, content).decode())
    assert "could not be read from the upstream index" in lacking


def decision(at: datetime = NOON, **more: object) -> Decision:
    """Return a decision about the project demo."""
    values = {"by": "local:ana", "verdict": Verdict.BLOCKED, "project": DEMO, **more}
    return Decision(at=at, **values)  # type: ignore[arg-type]


def shown_history(decisions: list[Decision], *, is_whole: bool = True) -> str:
    """Return the page of decisions about the project demo."""
    changes = [change_by(decision) for decision in decisions]
    page = History(name=DEMO, changes=changes, is_public=True, is_whole=is_whole)
    return ENVIRONMENT.render("history.html", ANYONE, page.links.root, history=page).decode()


def test_decisions_are_on_page_and_history() -> None:
    """The page of a project has the decisions in force, its history those that were made."""
    made = decision(version="1.0", reason=HOSTILE)
    shown = shown_project(page(), PublicPackage(PYPI, decisions=[made]))
    history = shown_history([made])
    for each in (shown, history):
        assert "local:ana blocked demo 1.0" in in_text(each)
        assert "<img src=x" not in each
        assert "feed.xml" not in each
    assert "2026-11-20 12:00 UTC" in in_text(history)
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
    public = PublicPackage(PYPI, hidden=[HiddenFiles("3.0", 1, reason) for reason in reasons])
    project = page(*files)
    shown = shown_project(project, public)
    assert "<h1>demo" in shown
    assert "<script>" not in shown
    if files:
        assert "<h1>demo" in shown_release(project, public)
