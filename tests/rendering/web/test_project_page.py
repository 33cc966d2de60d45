"""The page of a project, and the release that describes it."""

import pytest
from hypothesis import given

from tests.rendering.examples import PROJECTS, file, project
from wheelyard.model.project import Project
from wheelyard.rendering.releases import latest_release, releases_of
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.error_page import ErrorFacts, error_page, plain_error_page
from wheelyard.rendering.web.project_page import project_page, readable_size
from wheelyard.rendering.web.viewer import ANYONE

ENVIRONMENT = PageEnvironment("http://index.example/simple/")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 1024**2, "5.0 MiB"),
        (3 * 1024**3, "3.0 GiB"),
        (5000 * 1024**3, "5000.0 GiB"),
    ],
)
def test_size(size: int, text: str) -> None:
    """Sizes are shown in the largest unit that fits."""
    assert readable_size(size) == text


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
def test_which_release_speaks(versions: list[str], yanked: list[str], speaks: str | None) -> None:
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
    releases = releases_of(project)
    latest = latest_release(releases)
    text = project_page(ENVIRONMENT, ANYONE, project, releases, latest, None).decode()
    assert "<h1>demo" in text
    assert text.count("<script") == 1  # our own


def test_hostile_text_is_escaped() -> None:
    """Markup in a reason is shown, not obeyed, and a lone surrogate does no harm."""
    hostile = project(file(yanked='<img src=x onerror="1">\ud800'), reason="")
    releases = releases_of(hostile)
    text = project_page(ENVIRONMENT, ANYONE, hostile, releases, releases[0], None).decode()
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=&quot;1&quot;&gt;?" in text


def test_refusal_is_a_page() -> None:
    """A refusal is shown with its title and its message, escaped."""
    facts = ErrorFacts(
        status=404, code="not_found", phrase="Not Found", message="There is no '<b>'."
    )
    pages = (error_page(ENVIRONMENT, ANYONE, "../", facts), plain_error_page("../", facts))

    for text in (page.decode() for page in pages):
        assert "<h1>Not found</h1>" in text
        assert "There is no &#" in text
        assert "&lt;b&gt;" in text
