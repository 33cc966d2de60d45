"""The page that compares two releases of a project: what they need, what they are, their files."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from msgspec import Struct

from wheelyard.model.decoding import readable_size
from wheelyard.model.metadata import CoreMetadata
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import ReleaseOf
from wheelyard.rendering.web.core_metadata import parse_dependency
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.project_frame import COMPARE
from wheelyard.rendering.web.release_page import ReleaseHead, license_of, release_date
from wheelyard.rendering.web.tags import compatibility_of

MAX_OFFERED: Final = 300
"""The most versions that a field offers: the newest."""


class ComparedRelease(Struct, frozen=True):
    """A release and its core metadata."""

    release: ReleaseOf[ShownFile]
    core: CoreMetadata
    is_known: bool
    """Whether the metadata was there, and not a minimum in its place."""

    @property
    def size(self) -> int | None:
        """The bytes of all files, or None if that of one is not known."""
        sizes = [file.size for file in self.release.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.release.files) else None


class ComparedFact(Struct, frozen=True):
    """One thing that each release has once."""

    title: str
    old: str
    new: str

    @property
    def differs(self) -> bool:
        """Whether the releases differ in it."""
        return self.old != self.new


class ComparedItem(Struct, frozen=True):
    """One of several things that a release has."""

    text: str
    more: str = ""
    """What is said beside it, and not compared."""


class ComparedList(Struct, frozen=True):
    """Things of which each release has several."""

    title: str
    old: tuple[ComparedItem, ...]
    new: tuple[ComparedItem, ...]

    @property
    def removed(self) -> frozenset[str]:
        """The texts that only the older release has."""
        return self._texts(self.old) - self._texts(self.new)

    @property
    def added(self) -> frozenset[str]:
        """The texts that only the newer release has."""
        return self._texts(self.new) - self._texts(self.old)

    @property
    def words(self) -> str:
        """How they differ, in words."""
        if not self.added and not self.removed:
            return "No difference."
        return f"{len(self.added)} added, {len(self.removed)} removed."

    @staticmethod
    def _texts(items: Iterable[ComparedItem]) -> frozenset[str]:
        return frozenset(listed.text for listed in items)


def compare_page(
    environment: PageEnvironment,
    viewer: Viewer,
    head: ReleaseHead,
    releases: Sequence[ReleaseOf[ShownFile]],
    compared: tuple[ComparedRelease, ComparedRelease] | None,
) -> bytes:
    """Return the bytes of the page, which compares nothing if there is one release alone."""
    values: dict[str, object] = {
        "versions": [release.version for release in releases[:MAX_OFFERED]],
        "compared": compared,
    }
    if compared is not None:
        values["facts"] = _facts(*compared)
        values["lists"] = _lists(*compared)
    return head.render(environment, viewer, COMPARE, "compare.html", **values)


def _facts(old: ComparedRelease, new: ComparedRelease) -> list[ComparedFact]:
    """Return what each release has once, as far as one of them has it."""
    facts = [
        ComparedFact(title, texts[0], texts[1])
        for title, *texts in zip(_TITLES, _texts_of(old), _texts_of(new), strict=True)
    ]
    return [fact for fact in facts if fact.old or fact.new]


_TITLES: Final = (
    "Released",
    "Yanked",
    "Python",
    "License",
    "Size",
    "Summary",
    "Keywords",
    "Author",
    "Maintainer",
)


def _texts_of(compared: ComparedRelease) -> tuple[str, ...]:
    """Return the texts of a release for `_TITLES`."""
    release, core = compared.release, compared.core
    yanked = ""
    if release.is_yanked:
        yanked = release.yanked_reason or "yes"
    size = compared.size
    return (
        release_date(release)[:10],
        yanked,
        release.metadata_file.requires_python or "",
        license_of(core),
        "" if size is None else readable_size(size),
        core.summary or "",
        core.keywords or "",
        core.author or core.author_email or "",
        core.maintainer or core.maintainer_email or "",
    )


def _lists(old: ComparedRelease, new: ComparedRelease) -> list[ComparedList]:
    """Return what each release has several of, as far as one of them has some."""
    of_old = _items_of(old)
    of_new = _items_of(new)
    lists = [ComparedList(title, of_old[title], of_new[title]) for title in of_old]
    return [compared for compared in lists if compared.old or compared.new]


def _items_of(compared: ComparedRelease) -> dict[str, tuple[ComparedItem, ...]]:
    core = compared.core
    dependencies = sorted(map(parse_dependency, core.requires_dist), key=attrgetter("shown"))
    texts: dict[str, Iterable[str]] = {
        "Dependencies": (dependency.in_words for dependency in dependencies),
        "Extras": core.provides_extra,
        "Classifiers": core.classifiers,
        "Links": (f"{label}: {url}" if label else url for label, url in core.project_urls),
    }
    files = tuple(_item_of(file) for file in compared.release.files)
    items = {"Files": files}
    for title, lines in texts.items():
        items[title] = tuple(ComparedItem(line) for line in lines)
    return items


def _item_of(file: ShownFile) -> ComparedItem:
    """Return a file by what it is for: its name has the version, which differs anyway."""
    compatibility = compatibility_of(file.filename)
    words = compatibility.text or compatibility.kind
    return ComparedItem(words, "" if file.size is None else readable_size(file.size))
