"""The page of a project of an upstream index, and what an earlier one tells of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.project import Status
from wheelyard.model.public_packages import UnusedLink

MAX_REMEMBERED: Final = 10_000
"""Files that are remembered although a page does not list them any more."""
NO_DIGESTS: Final = MappingProxyType[str, str]({})


class UpstreamFile(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A file that an upstream index lists."""

    filename: str
    version: str
    """The normalised version of the file's release."""
    url: str
    """The absolute URL of the file at its upstream. It is never shown to clients."""
    sha256: str = ""
    """
    64 lower-case hexadecimal digits.

    Empty if the page does not say the digest, and the file was never fetched.
    """
    other_hashes: tuple[str, ...] = ()
    """The other digests that the page says, each as `ALGORITHM=HEX`, by names of `hashlib`."""
    size: int | None = None
    """Bytes, or None if the page does not say."""
    uploaded_at: datetime | None = None
    """UTC, or None if the page does not say."""
    first_seen: datetime | None = None
    """UTC: when this index saw the file first. It is only kept where `uploaded_at` is missing."""
    core_metadata: str = ""
    """SHA-256 of the core metadata, or empty if the page does not say it."""
    other_metadata_hashes: tuple[str, ...] = ()
    """The other digests of the core metadata, each as `ALGORITHM=HEX`."""
    has_metadata: bool = False
    """Whether the page says that core metadata is there, with or without its digest."""
    requires_python: str | None = None
    yanked: str | None = None
    """The reason, perhaps empty, if the file is yanked. Else None."""
    is_attested: bool = False
    """Whether the page names a provenance of the file (PEP 740), which nobody has verified."""
    provenance_url: str = ""
    """The absolute URL of that provenance, or empty if it may not be fetched."""

    @property
    def has_provenance(self) -> bool:
        """Whether clients can download a provenance of the file, which is about its SHA-256."""
        return bool(self.provenance_url and self.sha256)

    @property
    def is_wheel(self) -> bool:
        """Whether the file is a wheel."""
        return self.filename.endswith(".whl")

    @property
    def serves_metadata(self) -> bool:
        """Whether clients can download the file's core metadata (PEP 658): of wheels alone."""
        return self.is_wheel and self.has_metadata


class OtherFormat(Struct, frozen=True, gc=False):
    """A distribution of the project in a format that is not shown, such as an egg."""

    filename: str
    version: str
    """The normalised version, as far as the filename says it."""


class UpstreamPage(Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """The page of a project, as an upstream index has sent it."""

    name: NormalizedName
    upstream: str
    """The id of the upstream: its label and eight digits of the digest of its URL."""
    fetched_at: datetime
    """UTC: when the upstream last confirmed this page."""
    url: str = ""
    """The URL after redirects, which relative links are resolved against."""
    etag: str = ""
    reading: str = ""
    """The value of `UpstreamServer.reading` when the page was parsed."""
    status: Status = Status.ACTIVE
    reason: str = ""
    files: tuple[UpstreamFile, ...] = ()
    """Sorted by filename."""
    variants: tuple[UpstreamFile, ...] = ()
    """
    The documents about wheels with a label, one of each release that has such wheels (PEP 825).

    A document may change with the wheels, and is no file of the project.
    """
    other_formats: tuple[OtherFormat, ...] = ()
    """For `wheelyard upstream why`. Sorted by filename."""
    unused_links: tuple[UnusedLink, ...] = ()
    """The first links that cannot be used. For `wheelyard upstream why`, in the page's order."""
    unused_link_count: int = 0
    """All links that cannot be used."""
    empty_versions: tuple[str, ...] = ()
    """The normalised versions that the page lists without a file, in the order of the page."""
    alternate_locations: tuple[str, ...] = ()
    """Locations by PEP 708. `wheelyard upstream why` shows them, and nothing follows them."""

    refused_hosts: tuple[str, ...] = ()
    """Hosts that files may not be fetched from. Files on these hosts are not among `files`."""
    changed: tuple[UpstreamFile, ...] = ()
    """Files whose digest has changed, as they were before. They are not among `files`."""
    removed: tuple[UpstreamFile, ...] = ()
    """Files that an earlier page has listed, and this one does not, as they were then."""
    is_gone: bool = False
    """Whether nothing is shown, as the upstream has no such project any more."""
    is_unowned: bool = False
    """
    Whether the page is no sign that its upstream index owns the name among all of them.

    Only a chain of labels has asked for it, or only to see whether the name has moved.
    """
    moved_to: str = ""
    is_contested: bool = False
    """These two are now in `Ownership`. Earlier versions have written them into the page."""

    @cached_property
    def version(self) -> str:
        """A text that no other page of the project has, as long as this page is in memory."""
        return f"{id(self)} {self.fetched_at}"

    @cached_property
    def has_all_digests(self) -> bool:
        """Whether the page says the digest of each of its files."""
        return all(file.sha256 for file in self.files)

    @cached_property
    def by_filename(self) -> dict[str, UpstreamFile]:
        """The files, by filename."""
        return {file.filename: file for file in self.files}


def gains_digests(fresh_page: UpstreamPage, last_page: UpstreamPage) -> bool:
    """Return whether a page says the SHA-256 of a file for which the last page said none."""
    known_files = _known_files(last_page)
    for file in fresh_page.files:
        known_file = known_files.get(file.filename)
        if file.sha256 and known_file is not None and not known_file.sha256:
            return True
    return False


class ContinuedPage(NamedTuple):
    """A new page with what the last page tells of its files."""

    page: UpstreamPage
    new_changes: tuple[str, ...]
    """The names of files whose digest this page is the first to change, which must not happen."""


def continue_page(
    fresh_page: UpstreamPage,
    last_page: UpstreamPage | None,
    now: datetime,
    fetched_digests: Mapping[str, str] = NO_DIGESTS,
) -> ContinuedPage:
    """
    Return a page that came at `now`, with what the last page before it tells, if there was one.

    A new file without an upload time is seen first at `now`. A file that has another digest than
    before is left out, and is among `changed` as it was. A file that is not listed any more is
    among `removed`. `fetched_digests` has the SHA-256 of fetched files for which the last page says
    none, by filename.
    """
    known_files = dict[str, UpstreamFile]()
    if last_page is not None:
        known_files = _known_files(last_page)
    files = list[UpstreamFile]()
    changed = list[UpstreamFile]()
    for file in fresh_page.files:
        known_file = known_files.pop(file.filename, None)
        if known_file is not None and file.sha256 and not known_file.sha256:
            # compare with the bytes that were fetched while no page said a digest
            known_file = replace(known_file, sha256=fetched_digests.get(file.filename, ""))
        if known_file is None:
            # a cooldown counts from the upload, or else from now
            files.append(file if file.uploaded_at else replace(file, first_seen=now))
        elif _has_other_bytes(file, known_file):
            # nobody gets either file: the record stays that of the bytes that came first
            changed.append(known_file)
        else:
            files.append(_with_known_facts(file, known_file, now))
    # the fresh page does not list the files that are left
    removed = tuple(known_files.values())[:MAX_REMEMBERED]
    page = replace(fresh_page, files=tuple(files), changed=tuple(changed), removed=removed)
    changed_before = frozenset[str]()
    if last_page is not None:
        page = with_owner_of(page, last_page)
        changed_before = frozenset(file.filename for file in last_page.changed)

    # a change is reported once, and not whenever the page is fetched again
    new_changes = tuple(file.filename for file in changed if file.filename not in changed_before)
    return ContinuedPage(page, new_changes)


def _has_other_bytes(file: UpstreamFile, known_file: UpstreamFile) -> bool:
    """Return whether the digests of a file show that it has other bytes than before."""
    if known_file.sha256 and file.sha256:
        return known_file.sha256 != file.sha256
    # without both SHA-256, all algorithms count that both pages say
    digests_before = dict(text.split("=", 1) for text in known_file.other_hashes)
    for text in file.other_hashes:
        algorithm, digest = text.split("=", 1)
        if digests_before.get(algorithm, digest) != digest:
            return True
    return False


def _with_known_facts(file: UpstreamFile, known_file: UpstreamFile, now: datetime) -> UpstreamFile:
    """Return a file with what an earlier page said of it and the new page does not."""
    if file.sha256 and file.sha256 == known_file.sha256 and file.uploaded_at:
        return file
    first_seen = None
    if not file.uploaded_at:
        first_seen = known_file.first_seen or now
    return replace(
        file,
        # a digest that was said once holds, also if the page leaves it out now
        sha256=file.sha256 or known_file.sha256,
        other_hashes=file.other_hashes or known_file.other_hashes,
        first_seen=first_seen,
    )


def gone_page(last_page: UpstreamPage, now: datetime) -> UpstreamPage:
    """Return the page that takes the place of the last one, as its index has it no more."""
    removed = tuple(_known_files(last_page).values())[:MAX_REMEMBERED]
    page = UpstreamPage(
        name=last_page.name,
        upstream=last_page.upstream,
        fetched_at=now,
        removed=removed,
        is_gone=True,
    )
    return with_owner_of(page, last_page)


def with_owner_of(page: UpstreamPage, last_page: UpstreamPage) -> UpstreamPage:
    """Return a page with what the last page says about the owner of the name."""
    page = replace(page, is_unowned=last_page.is_unowned)
    # a contest is only on the page if an earlier version has seen it
    if not last_page.is_contested:
        return page
    return replace(page, moved_to=last_page.moved_to, is_contested=True)


def _known_files(page: UpstreamPage) -> dict[str, UpstreamFile]:
    """Return the files that a page has or has had, by filename: of two, the one listed now."""
    files = page.removed + page.changed + page.files
    return {file.filename: file for file in files}


def deciding_pages(pages: Sequence[UpstreamPage]) -> dict[str, int]:
    """
    Return the position of the page of a project that decides about a file, by filename.

    `pages` are the pages of the project in the order of their indexes. A page does not decide about
    a file that a page before it has listed with another digest. A file about which no page decides
    is left out.
    """
    positions = dict[str, int]()
    earlier_digests = dict[str, set[str]]()
    for position, page in enumerate(pages):
        for file in page.files:
            digests = earlier_digests.get(file.filename)
            # with another digest, it is another file, as if the first index had changed it
            if digests is None or file.sha256 in digests:
                positions.setdefault(file.filename, position)
        for file in page.changed + page.removed:
            earlier_digests.setdefault(file.filename, set()).add(file.sha256)
    return positions
