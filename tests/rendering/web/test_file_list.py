"""The files of a release: rows, pages, and pages of some of them."""

import gzip
import re
from hashlib import sha256
from html import unescape

import pytest
from msgspec.structs import replace

from tests.rendering.examples import file, project
from tests.rendering.web.pages import ENVIRONMENT, many_files, shown_project, shown_release
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import ReleaseOf
from wheelyard.rendering.web.environment import ANYONE
from wheelyard.rendering.web.release_page import (
    FILES_PER_PAGE,
    MAX_FACETS,
    file_list,
    file_pages,
    file_rows,
    files_page,
    readable_size,
)


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
def test_size_has_the_largest_unit(size: int, text: str) -> None:
    """Sizes are shown in the largest unit that fits."""
    assert readable_size(size) == text


def test_row_has_all_that_is_known() -> None:
    """A row has all that is known of a file, and links to the file and to its core metadata."""
    shown = replace(
        file(yanked="<b>bad</b>"),
        uploaded_by="token:abc",
        uploaded_by_name="<i>ci</i>",
        waived_rules=("duplicate_member",),
    )
    row = file_rows([shown], project().name, "../../files")
    url = f"../../files/demo/{shown.sha256}/{shown.filename}"
    assert f'<a href="{url}">{shown.filename}</a>' in row
    assert f'<a href="{url}.metadata">metadata</a>' in row
    text = unescape(re.sub(r"<[^>]*>", " ", row))
    for wanted in ("wheel", "any Python 3", "1.3 KiB", "2026-11-20 12:00 UTC", shown.sha256):
        assert wanted in text
    for wanted in ("token:abc (<i>ci</i>)", "<b>bad</b>", "imported as it is: duplicate_member"):
        assert wanted in text


def test_few_files_have_one_page() -> None:
    """A release with few files has nothing to select, and no other pages."""
    release = ReleaseOf("1.0", tuple(many_files(FILES_PER_PAGE)))
    found = file_list(release)
    assert found is not None
    assert (len(found.shown), found.pages, found.interpreters) == (FILES_PER_PAGE, (), ())
    assert list(file_pages(release)) == []
    assert file_list(release, "cp312") is None
    assert file_list(release, "", 2) is None


def test_files_for_most_people_come_first() -> None:
    """Files that suit most people come first, then new Python versions, then source code."""
    ordered = ["py3-none-any", "cp312-none-any", "cp39-none-any", "pp310-none-any"]
    names = [f"demo-1.0-{tags}.whl" for tags in sorted(ordered)]
    files = [replace(file(), filename=name) for name in names]
    found = file_list(ReleaseOf("1.0", (file(is_wheel=False), *files)))
    assert found is not None
    expected = [*(f"demo-1.0-{tags}.whl" for tags in ordered), "demo-1.0.tar.gz"]
    assert [each.filename for each in found.shown] == expected


def test_every_file_is_on_the_pages() -> None:
    """Each file is on one page of all files, and on those for its Python and its platform."""
    release = ReleaseOf("1.0", tuple(many_files(450)))
    listed: dict[str, list[ShownFile]] = {}
    first = file_list(release)
    assert first is not None
    pages = [first.selection, *file_pages(release)]
    assert len({each.path for each in pages}) == len(pages)
    for selection in pages:
        facet = selection.facet.path if selection.facet else ""
        page = file_list(release, facet, selection.number)
        assert page is not None
        assert page.selection == selection
        assert 0 < len(page.shown) <= FILES_PER_PAGE
        listed.setdefault(facet, []).extend(page.shown)
        assert page.last - page.first + 1 == len(page.shown)
    assert sorted(listed.pop(""), key=lambda each: each.filename) == list(release.files)
    assert all(
        f"-{facet}-" in file.filename
        for facet, files in listed.items()
        if facet.startswith("cp")
        for file in files
    )
    assert sum(len(files) for facet, files in listed.items() if facet.startswith("on-")) == 450


def test_pages_are_limited() -> None:
    """However odd the tags of its files are, a release has a limited number of pages."""
    odd = [f"demo-1.0-x{number}-none-y{number}.whl" for number in range(100, 300)]
    release = ReleaseOf("1.0", tuple(replace(file(), filename=each) for each in odd))
    assert len(list(file_pages(release))) == 1 + MAX_FACETS + 2  # all have one platform, "other"


def test_pages_of_thousands_of_files_are_small() -> None:
    """The pages of a project with 2,000 files in a release are small, and lead to all of them."""
    files = many_files(2000)
    for index, each in enumerate(files):  # digests do not compress
        files[index] = replace(each, sha256=sha256(each.filename.encode()).hexdigest())
    whole = project(*files)
    release = ReleaseOf("1.0", tuple(files))
    page = file_list(release, "cp312", 2)
    assert page is not None
    texts = [
        shown_project(whole),
        shown_release(whole, "1.0"),
        files_page(ENVIRONMENT, ANYONE, whole, release, page).decode(),
    ]
    for text in texts:
        assert len(gzip.compress(text.encode(), 6)) < 25_000
        assert text.count("<tr>") <= FILES_PER_PAGE + 3  # heads, and a release
    assert 'href="1.0/files/20/"' in texts[0]
    assert 'href="./files/on-macos/"' in texts[1]
    assert "Files 101 to 200 of 200 for CPython 3.12." in texts[2]
    assert 'href="../../../../../../files/demo/' in texts[2]
    assert 'href="../../../files/cp312/" aria-current' in texts[2]
