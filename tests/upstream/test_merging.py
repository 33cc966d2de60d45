"""What an earlier page of a project tells of a later one."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from wheelyard.upstream.page import UpstreamFile, UpstreamPage, continue_page, gone_page

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NAME = canonicalize_name("acme-tool")
FILES = st.builds(
    UpstreamFile,
    filename=st.sampled_from(["a", "b", "c"]),
    version=st.just("1"),
    url=st.just("https://files.example.com/a"),
    sha256=st.sampled_from(["", "0" * 64, "1" * 64]),
    uploaded_at=st.none() | st.just(NOW),
)
ANSWERS = st.lists(
    st.none() | st.lists(FILES, unique_by=lambda file: file.filename), min_size=1, max_size=6
)


@given(ANSWERS)
def test_a_file_never_becomes_another_one(answers: list[list[UpstreamFile] | None]) -> None:
    """Whatever an index answers in turn, a file that is shown has the first digest it ever had."""
    page: UpstreamPage | None = None
    digests, seen = dict[str, str](), dict[str, datetime]()
    for number, answer in enumerate(answers):
        now = NOW + timedelta(days=number)
        if answer is None:
            page = page and gone_page(page, now)
            continue
        fresh = UpstreamPage(name=NAME, upstream="x", fetched_at=now, files=tuple(answer))
        page = continue_page(fresh, page, now)[0]
        for file in answer:
            digests[file.filename] = digests.get(file.filename) or file.sha256
            seen.setdefault(file.filename, now)

        shown = {file.filename: file for file in page.files}
        for file in answer:
            first = digests[file.filename]
            assert (file.filename in shown) is (file.sha256 in {"", first})
        assert all(file.sha256 == digests[name] for name, file in shown.items())
        assert all(
            file.first_seen is not None and file.first_seen >= seen[name]
            for name, file in shown.items()
            if file.uploaded_at is None
        )
        assert {file.filename for file in page.removed}.isdisjoint(shown)


def test_a_file_with_another_digest_than_sha256() -> None:
    """A file whose MD5 has changed is hidden, also if a page between did not say it."""
    page: UpstreamPage | None = None
    shown = list[bool]()
    for hashes in ("md5=aa", "", "md5=bb", "md5=aa"):
        url = "https://files.example.com/a"
        file = UpstreamFile(
            filename="a", version="1", url=url, other_hashes=(hashes,) if hashes else ()
        )
        fresh = UpstreamPage(name=NAME, upstream="x", fetched_at=NOW, files=(file,))
        page = continue_page(fresh, page, NOW)[0]
        shown.append(bool(page.files))

    assert shown == [True, True, False, True]


def test_a_digest_counts_on_after_a_page_that_said_another_kind() -> None:
    """A file whose MD5 has changed is hidden, also if a page between said its SHA-256 alone."""
    page: UpstreamPage | None = None
    shown = list[bool]()
    url = "https://files.example.com/a"
    for sha256, hashes in (("", ("md5=aa",)), ("0" * 64, ()), ("", ("md5=bb",))):
        file = UpstreamFile(
            filename="a", version="1", url=url, sha256=sha256, other_hashes=hashes, uploaded_at=NOW
        )
        fresh = UpstreamPage(name=NAME, upstream="x", fetched_at=NOW, files=(file,))
        page = continue_page(fresh, page, NOW)[0]
        shown.append(bool(page.files))

    assert shown == [True, True, False]
