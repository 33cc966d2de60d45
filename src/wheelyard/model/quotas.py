"""
Quotas: how many bytes and files an index, and each of its projects, may have.

The files that projects list count, without their core metadata. Deleted files whose bytes are still
kept do not count.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import asdict, replace

from wheelyard.errors import TooLarge, quoted
from wheelyard.model.decoding import counted, readable_size
from wheelyard.model.project import Project

MIB = 1024**2
LARGEST_QUOTA = 1_000_000_000
"""The largest quota, which is the largest number of the settings."""
FORM_BYTES = 64 * 1024
"""How many bytes an upload form may have beside its file, if its description is short."""
NEARLY_FULL = 0.8
"""The share of a quota from which on the quota needs attention."""
_OF_INDEX = "index"
"""The beginning of the names of the settings about all projects together."""


class ListedAmount(Struct, frozen=True):
    """How many bytes and files a project, or an index, lists."""

    bytes: int = 0
    files: int = 0

    def with_file(self, size: int) -> "ListedAmount":
        """Return the amount with one more file."""
        return ListedAmount(self.bytes + size, self.files + 1)


def used_by(project: Project) -> ListedAmount:
    """Return how much a project lists."""
    # a promoted file counts in each index that lists it, though its bytes are stored once
    return ListedAmount(sum(file.size for file in project.files), len(project.files))


class Quota(Struct, frozen=True):
    """The most bytes and files that something may have, where 0 is no limit."""

    bytes: int = 0
    files: int = 0

    @property
    def is_set(self) -> bool:
        """Whether there is any limit."""
        return bool(self.bytes or self.files)

    def share(self, used: ListedAmount) -> float | None:
        """Return how much of the quota is used, where 1 is all, or None without a limit."""
        shares = list[float]()
        if self.bytes:
            shares.append(used.bytes / self.bytes)
        if self.files:
            shares.append(used.files / self.files)
        return max(shares, default=None)


class Quotas(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The quotas in the keys of an index: 0 is no limit, and None is a key that is not set."""

    index_size: int | None = None
    """MiB."""
    index_files: int | None = None
    project_size: int | None = None
    """MiB, of each project."""
    project_files: int | None = None

    def overridden_by(self, own_quotas: "Quotas") -> "Quotas":
        """Return `own_quotas`, with these quotas where `own_quotas` has None."""
        # 0 is not None: it takes a limit of main away
        overriding = {
            name: value for name, value in asdict(own_quotas).items() if value is not None
        }
        return replace(self, **overriding)

    @property
    def index(self) -> Quota:
        """The quota of all projects together."""
        return Quota((self.index_size or 0) * MIB, self.index_files or 0)

    @property
    def project(self) -> Quota:
        """The quota of each project."""
        return Quota((self.project_size or 0) * MIB, self.project_files or 0)


class FileSize(Struct, frozen=True):
    """What is known of the size of a file that is coming, or of several together."""

    least: int = 1
    """The fewest bytes that the file can have."""
    described: str = ""
    """A clause such as `this file has 3.0 MiB`, or empty if nothing is known."""
    files: int = 1


UNKNOWN_SIZE = FileSize()


def size_of_file(size: int) -> FileSize:
    """Return what is known of a file of `size` bytes."""
    return FileSize(size, f"this file has {readable_size(size)}")


def size_of_files(sizes: Sequence[int]) -> FileSize:
    """Return what is known of files that come together, by the bytes of each."""
    if len(sizes) == 1:
        return size_of_file(sizes[0])
    size = sum(sizes)
    return FileSize(size, f"these {len(sizes)} files have {readable_size(size)}", len(sizes))


def size_in_form(content_length: int, fields: int = 0) -> FileSize:
    """
    Return what is known of the file in a form.

    `content_length` is how many bytes the form has, or 0 if that is not known. `fields` is how many
    bytes have come that do not belong to the file.
    """
    # a client that sends the body in chunks does not say the sum before
    if not content_length:
        return UNKNOWN_SIZE
    least = max(1, content_length - fields - FORM_BYTES)
    return FileSize(least, f"this upload has {readable_size(content_length)}")


class Room(Struct, frozen=True):
    """What a quota leaves for more files."""

    subject: str
    """The index or the project of the quota, at the beginning of a sentence."""
    prefix: str
    """The beginning of the names of the settings of the quota: `index` or `project`."""
    quota: Quota
    used: ListedAmount

    @property
    def is_of_index(self) -> bool:
        """Whether the quota is that of all projects together."""
        return self.prefix == _OF_INDEX

    @property
    def share(self) -> float | None:
        """How much of the quota is used, where 1 is all, or None without a limit."""
        return self.quota.share(self.used)

    def with_file(self, size: int) -> "Room":
        """Return what is left after one more file."""
        return replace(self, used=self.used.with_file(size))

    def refusal(self, size: FileSize) -> TooLarge | None:
        """
        Return the error (code `quota_exceeded`) if files that are coming are too large, or None.

        The files count with the least bytes that they can have: an upload is refused before its
        bytes have come.
        """
        quota = self.quota
        used = self.used
        if quota.files and used.files + size.files > quota.files:
            amount = counted(used.files, "file")
            limit = counted(quota.files, "file")
            more = f"these are {size.files} more"
            if size.files == 1:
                more = "this is one more"
            return self._quota_error("files", amount, limit, more)
        if quota.bytes and used.bytes + size.least > quota.bytes:
            amount = readable_size(used.bytes)
            limit = readable_size(quota.bytes)
            return self._quota_error("size", amount, limit, size.described or "is full")
        return None

    def _quota_error(self, key: str, amount: str, limit: str, why: str) -> TooLarge:
        fact = f"{self.subject} has {amount} of its quota of {limit}, and {why}."
        remedy = "Delete old releases, or ask the operator of the index for a higher"
        return TooLarge(f"{fact} {remedy} {self.prefix}_{key}.", code="quota_exceeded")


def index_room(index: str, quota: Quota, used: ListedAmount) -> Room:
    """Return what the quota of an index leaves."""
    return Room(f"The index {quoted(index)}", _OF_INDEX, quota, used)


def project_room(project: str, quota: Quota, used: ListedAmount) -> Room:
    """Return what the quota of a project leaves."""
    return Room(f"The project {quoted(project)}", "project", quota, used)
