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
    """The release's normalised version."""
    url: str
    """The absolute URL of the file at its upstream. It is never shown to clients."""
    sha256: str = ""
    """64 lower-case hexadecimal digits, or empty if the page has none, and it was never fetched."""
    other_hashes: tuple[str, ...] = ()
    """The other digests that the page says, each as `ALGORITHM=HEX`, by names of `hashlib`."""
    size: int | None = None
    """Bytes, or None if the page does not say."""
    uploaded_at: datetime | None = None
    """UTC, or None if the page does not say."""
    first_seen: datetime | None = None
    """UTC: when this index saw the file first. It is only kept where `uploaded_at` is missing."""
    core_metadata: str = ""
    """SHA-256 of the core metadata, or empty if the page has none."""
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
        """Whether clients can download its provenance, whose statements are about its SHA-256."""
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
    """Normalised, as far as the filename says it."""


class UpstreamPage(Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """The page of a project, as the upstream that has this name has sent it."""

    name: NormalizedName
    upstream: str
    """The id of the upstream: its label and eight digits of the digest of its URL."""
    fetched_at: datetime
    """UTC: when the upstream last confirmed this page."""
    url: str = ""
    """The URL after redirects, which relative links are resolved against."""
    etag: str = ""
    reading: str = ""
    """What `UpstreamServer.reading` was when the page was parsed."""
    status: Status = Status.ACTIVE
    reason: str = ""
    files: tuple[UpstreamFile, ...] = ()
    """Sorted by filename."""
    variants: tuple[UpstreamFile, ...] = ()
    """
    The documents about the wheels with a label, one of each release that has some (PEP 825).

    They may change with these wheels, and are no files of the project.
    """
    other_formats: tuple[OtherFormat, ...] = ()
    """For `wheelyard upstream why`. Sorted by filename."""
    unused_links: tuple[UnusedLink, ...] = ()
    """The first links that cannot be used. For `wheelyard upstream why`, in the page's order."""
    unused_link_count: int = 0
    """All links that cannot be used."""
    empty_versions: tuple[str, ...] = ()
    """Versions that the page lists, and of which it has no file, normalised, in its order."""
    alternate_locations: tuple[str, ...] = ()
    """What PEP 708 calls so. They are shown by `wheelyard upstream why`, and never followed."""

    refused_hosts: tuple[str, ...] = ()
    """Hosts that files may not be fetched from. The page has lost those that are on them."""
    changed: tuple[UpstreamFile, ...] = ()
    """Files whose digest has changed, as they were before. They are not among `files`."""
    removed: tuple[UpstreamFile, ...] = ()
    """Files that an earlier page has listed, and this one does not, as they were then."""
    is_gone: bool = False
    """Whether nothing is shown, as the upstream has no such project any more."""
    is_unowned: bool = False
    """
    Whether it is no sign that its upstream owns the name among all upstream indexes.

    Only for an index with labels as layers, or beside the owner, was it asked for.
    """
    moved_to: str = ""
    is_contested: bool = False
    """What `Ownership` says now, of all upstream indexes, as earlier versions have written it."""

    @cached_property
    def version(self) -> str:
        """A text that no other page of the project has, while one of both is in memory."""
        return f"{id(self)} {self.fetched_at}"

    @cached_property
    def has_all_digests(self) -> bool:
        """Whether the page says the digest of each of its files."""
        return all(file.sha256 for file in self.files)

    @cached_property
    def by_filename(self) -> dict[str, UpstreamFile]:
        """The files, by filename."""
        return {file.filename: file for file in self.files}


def gains_digests(fresh: UpstreamPage, last: UpstreamPage) -> bool:
    """Return whether a page says the SHA-256 of a file for which the one before said none."""
    remembered = _files_to_remember(last)
    for file in fresh.files:
        earlier = remembered.get(file.filename)
        if file.sha256 and earlier is not None and not earlier.sha256:
            return True
    return False


class MergedPage(NamedTuple):
    """A new page with what the page before it tells."""

    page: UpstreamPage
    new_changes: tuple[str, ...]
    """The names of files whose digest is another one since this page, which must not be."""


def merge(
    fresh: UpstreamPage,
    last: UpstreamPage | None,
    now: datetime,
    first_fetched: Mapping[str, str] = NO_DIGESTS,
) -> MergedPage:
    """
    Return the page `fresh`, which came at `now`, with what the `last` one before it tells, if any.

    A new file without an upload time is seen first at `now`. One that has another digest than
    before is left out, and is among `changed` as it was. One that is not listed any more is among
    `removed`. `first_fetched` has the SHA-256 of fetched files, by filename: that of a file for
    which the last page says none.
    """
    remembered = dict[str, UpstreamFile]()
    if last is not None:
        remembered = _files_to_remember(last)
    files = list[UpstreamFile]()
    changed = list[UpstreamFile]()
    for file in fresh.files:
        earlier = remembered.pop(file.filename, None)
        if earlier is not None and file.sha256 and not earlier.sha256:
            # compare with the bytes that were fetched while no page said a digest
            earlier = replace(earlier, sha256=first_fetched.get(file.filename, ""))
        if earlier is None:
            # a cooldown counts from the upload, or else from now
            files.append(file if file.uploaded_at else replace(file, first_seen=now))
        elif _has_other_bytes(file, earlier):
            # nobody gets either of them: the record stays that of the bytes that came first
            changed.append(earlier)
        else:
            files.append(_with_earlier(file, earlier, now))
    page = replace(
        fresh,
        files=tuple(files),
        changed=tuple(changed),
        # what is left: the fresh page does not list it
        removed=tuple(remembered.values())[:MAX_REMEMBERED],
    )
    changed_before = frozenset[str]()
    if last is not None:
        page = with_owner_of(page, last)
        changed_before = frozenset(file.filename for file in last.changed)

    # a change is reported once, and not whenever the page is fetched again
    new_changes = tuple(file.filename for file in changed if file.filename not in changed_before)
    return MergedPage(page, new_changes)


def _has_other_bytes(file: UpstreamFile, earlier: UpstreamFile) -> bool:
    """Return whether the digests of a file show that it has other bytes than before."""
    if earlier.sha256 and file.sha256:
        return earlier.sha256 != file.sha256
    # without both SHA-256, all algorithms count that both pages say
    digests_before = dict(text.split("=", 1) for text in earlier.other_hashes)
    for text in file.other_hashes:
        algorithm, digest = text.split("=", 1)
        if digests_before.get(algorithm, digest) != digest:
            return True
    return False


def _with_earlier(file: UpstreamFile, earlier: UpstreamFile, now: datetime) -> UpstreamFile:
    """Return a file with what an earlier page said of it and the new one does not."""
    if file.sha256 and file.sha256 == earlier.sha256 and file.uploaded_at:
        return file
    first_seen = None
    if not file.uploaded_at:
        first_seen = earlier.first_seen or now
    return replace(
        file,
        # a digest that was said once holds, also if the page leaves it out now
        sha256=file.sha256 or earlier.sha256,
        other_hashes=file.other_hashes or earlier.other_hashes,
        first_seen=first_seen,
    )


def remembered_page(last: UpstreamPage, now: datetime) -> UpstreamPage:
    """Return what is remembered of a page that is not shown any more."""
    page = UpstreamPage(
        name=last.name,
        upstream=last.upstream,
        fetched_at=now,
        removed=tuple(_files_to_remember(last).values())[:MAX_REMEMBERED],
        is_gone=True,
    )
    return with_owner_of(page, last)


def with_owner_of(page: UpstreamPage, last: UpstreamPage) -> UpstreamPage:
    """Return a page with what the one before it says about the owner of the name."""
    page = replace(page, is_unowned=last.is_unowned)
    # else an earlier version has seen that the name had moved, and was the only one to know it
    if not last.is_contested:
        return page
    return replace(page, moved_to=last.moved_to, is_contested=True)


def _files_to_remember(page: UpstreamPage) -> dict[str, UpstreamFile]:
    """Return the files that a page has or has had, by filename: of two, the one listed now."""
    files = page.removed + page.changed + page.files
    return {file.filename: file for file in files}


def places_of_files(pages: Sequence[UpstreamPage]) -> dict[str, int]:
    """
    Return which of several pages of a project decides about a file, by filename.

    `pages` are in the order of their indexes, and the result has positions in them. A page decides
    about no file that one before it has listed with another digest. A file about which no page
    decides is left out.
    """
    places = dict[str, int]()
    earlier_digests = dict[str, set[str]]()
    for number, page in enumerate(pages):
        for file in page.files:
            digests = earlier_digests.get(file.filename)
            # else the same filename is now another file, as if the first index had changed it
            if digests is None or file.sha256 in digests:
                places.setdefault(file.filename, number)
        for file in page.changed + page.removed:
            earlier_digests.setdefault(file.filename, set()).add(file.sha256)
    return places
