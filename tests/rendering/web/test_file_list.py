"""The files of a release: rows, filters, pages, and the pinned requirement."""

import gzip
import re
from hashlib import sha256
from html import unescape

import pytest
from msgspec.structs import replace

from tests.rendering.examples import file, project
from tests.rendering.web.pages import (
    many_files,
    release_head,
    shown_files,
    shown_project,
    shown_release,
)
from wheelyard.model.decoding import readable_size
from wheelyard.model.project import File
from wheelyard.rendering.project_facts import ReleaseOf, releases_of
from wheelyard.rendering.web.environment import ROWS_PER_PAGE
from wheelyard.rendering.web.file_list import (
    FILTERED_FILES,
    MAX_FACETS,
    REASON_IN_SHORT,
    FileFilter,
    file_list,
    has_requirements_file,
    pinned_requirement,
    yank_mark,
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
        (5000 * 1024**4, "5000.0 TiB"),
    ],
)
def test_size_has_the_largest_unit(size: int, text: str) -> None:
    """Sizes are shown in the largest unit that fits."""
    assert readable_size(size) == text


def names(release: ReleaseOf[File], **fields: str) -> list[str]:
    """Return the names of the files of a release that a filter finds, on all pages."""
    found, number = list[str](), 1
    while True:
        page = file_list(release, FileFilter(**fields), number)
        assert page is not None
        assert page.last - page.first + 1 == len(page.entries) or not page.entries
        found += [each.file.filename for each in page.entries]
        if number == page.pages:
            assert page.total == len(found)
            assert file_list(release, FileFilter(**fields), number + 1) is None
            return found
        number += 1


def test_row_has_all_that_is_known() -> None:
    """A row has all that is known of a file, and links to the file and to its core metadata."""
    shown = replace(
        file(yanked="<b>bad</b>"),
        uploaded_by="token:abc",
        uploaded_by_name="<i>ci</i>",
        waived_rules=("duplicate_member",),
    )
    page = shown_files(release_head(project(shown)))
    url = f"../../../files/demo/{shown.sha256}/{shown.filename}"
    assert f'<a href="{url}">{shown.filename}</a>' in page
    assert f'<a href="{url}.metadata">Metadata</a>' in page
    text = unescape(re.sub(r"<[^>]*>", " ", page))
    for wanted in ("Wheels", "any Python 3", "1.3 KiB", "2026-11-20 12:00 UTC", shown.sha256):
        assert wanted in text
    for wanted in ("the API token <i>ci</i>", "<b>bad</b>", "imported as it is: duplicate_member"):
        assert wanted in text


def test_a_file_without_a_digest_and_metadata_has_no_details() -> None:
    """The row of a file folds its digest and metadata, and nothing if it has neither."""
    described = shown_files(release_head(project(file())))
    bare = shown_files(release_head(project(replace(file(), sha256="", sidecars={}))))

    assert "<summary>SHA-256 and metadata</summary>" in described
    assert bare.count("<details") == described.count("<details") - 1


def test_few_files_need_no_filter() -> None:
    """A release with few files has one page, and nothing to filter."""
    few, more = (project(*many_files(count)) for count in (FILTERED_FILES, FILTERED_FILES + 1))
    assert 'name="python"' not in shown_files(release_head(few))
    assert 'name="python"' in shown_files(release_head(more))
    assert 'aria-label="Pages"' not in shown_files(release_head(project(*many_files(100))))


def test_source_is_apart_and_files_for_most_people_come_first() -> None:
    """Source comes first and apart, then wheels for most people, then new Python versions."""
    ordered = ["py3-none-any", "cp312-none-any", "cp39-none-any", "pp310-none-any"]
    files = [replace(file(), filename=f"demo-1.0-{tags}.whl") for tags in sorted(ordered)]
    release = ReleaseOf("1.0", (*files, file(is_wheel=False)))
    assert names(release) == ["demo-1.0.tar.gz", *(f"demo-1.0-{tags}.whl" for tags in ordered)]
    assert names(release, type="source") == ["demo-1.0.tar.gz"]
    page = shown_files(release_head(project(*release.files)))
    assert page.index("<h3>Source</h3>") < page.index("<h3>Wheels</h3>")


def test_filter_looks_at_every_file() -> None:
    """A filter looks at the files of all pages: by words, type, Python and platform."""
    release = ReleaseOf("1.0", (*many_files(450), file(is_wheel=False)))
    whole = file_list(release)
    assert whole is not None
    assert len(names(release)) == whole.unfiltered == 451
    found = names(release, python="cp312", platform="on-windows")
    assert len(found) == 2
    assert all("-cp312-win" in name for name in found)
    assert names(release, text="3.12 Windows") == found
    assert names(release, text="CP312 win_amd64") == [found[-1]]
    assert len(names(release, type="wheel")) == len(names(release, text="wheel")) == 450
    assert len(names(release, text="sdist")) == 1
    assert names(release, text="cp312 Windows x64") == [found[-1]]
    assert names(release, text="no such file") == []
    sums = [sum(len(names(release, python=one.path)) for one in whole.interpreters)]
    sums += [sum(len(names(release, platform=one.path)) for one in whole.platforms)]
    assert sums == [450, 450]


def test_long_reasons_are_folded() -> None:
    """A mark shows the whole of a short reason of a yank if there is one, and folds a long one."""
    assert yank_mark("") == '<span class="mark warning">yanked</span>'
    assert yank_mark("Leaks <b>") == (
        '<span class="mark warning">yanked: <bdi>Leaks &lt;b&gt;</bdi></span>'
    )
    folded = yank_mark("x" * 1024)
    assert folded.startswith("<details><summary>")
    assert f"<bdi>{'x' * REASON_IN_SHORT}…</bdi>" in folded
    assert f"<bdi>{'x' * 1024}</bdi></details>" in folded


def test_choices_are_limited() -> None:
    """However odd the tags of its files are, a form offers a limited number of choices."""
    odd = [f"demo-1.0-x{number}-none-y{number}.whl" for number in range(100, 300)]
    release = ReleaseOf("1.0", tuple(replace(file(), filename=each) for each in odd))
    page = file_list(release)
    assert page is not None
    assert (len(page.interpreters), len(page.platforms)) == (MAX_FACETS, 1)  # all are "other"


def test_pages_of_thousands_of_files_are_small() -> None:
    """The pages of a project with 2,000 files in a release are small, and lead to all of them."""
    files = many_files(2000)
    for index, each in enumerate(files):  # digests do not compress
        files[index] = replace(each, sha256=sha256(each.filename.encode()).hexdigest())
    whole = project(*files)
    texts = [
        shown_project(whole),
        shown_release(whole, "1.0"),
        shown_files(release_head(whole, "1.0"), FileFilter(python="cp312"), 2),
    ]
    for text in texts:
        assert len(gzip.compress(text.encode(), 6)) < 25_000
        assert text.count("<tr") <= ROWS_PER_PAGE + 1  # the head
    assert 'href="../../project/demo/files/">2000 wheels' in texts[0]
    assert 'href="1.0/requirements.txt"' in texts[0]
    assert 'href="../../../project/demo/1.0/files/"' in texts[1]
    assert "101 to 200 of 200 files that match, of 2,000" in texts[2]
    assert 'href="../../../../files/demo/' in texts[2]
    assert 'href="?python=cp312&amp;page=1" rel="prev"' in texts[2]


def test_pinned_requirement_has_each_file_that_installers_choose() -> None:
    """The pinned requirement has the hashes of the files that are not yanked, or else of all."""
    first, second = replace(file(), sha256="1" * 64), replace(file(is_wheel=False), sha256="2" * 64)
    yanked = replace(first, yanked="bad")
    both = f"demo==1.0 \\\n    --hash=sha256:{'1' * 64} \\\n    --hash=sha256:{'2' * 64}"
    for files, wanted in (
        ((first, second), both),
        ((yanked, second), f"demo==1.0 \\\n    --hash=sha256:{'2' * 64}"),
        ((yanked, replace(second, yanked="")), both),
    ):
        (release,) = releases_of(project(*files))
        assert pinned_requirement(project().name, release) == wanted
        assert not has_requirements_file(release)
        shown = wanted.replace("demo==", "<span data-package>demo</span>==")
        assert shown in unescape(shown_project(project(*files)))
