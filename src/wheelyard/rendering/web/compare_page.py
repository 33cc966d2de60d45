"""The page that compares two releases of a project: what they need, what they are, their files."""

from collections.abc import Container, Iterable, Sequence
from itertools import starmap
from operator import attrgetter
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.model.metadata import CoreMetadata
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import ReleaseOf
from wheelyard.rendering.web.compatibility import compatibility_of
from wheelyard.rendering.web.core_metadata import parse_dependency
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.file_list import size_in_words
from wheelyard.rendering.web.project_frame import COMPARE
from wheelyard.rendering.web.release_page import ReleaseHead, license_of, release_date
from wheelyard.rendering.web.viewer import Viewer

MAX_OFFERED: Final = 300
"""The most versions that a field offers: the newest."""
MAX_ITEMS: Final = 500
"""The most items of a list that are shown of a release: metadata may have ten thousand."""
UNFOLDED_ITEMS: Final = 10
"""Of a list that differs, more items that both releases have are folded."""

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


class ComparedRelease(Struct, frozen=True):
    """A release and its core metadata."""

    release: ReleaseOf[ShownFile]
    core: CoreMetadata
    is_known: bool
    """Whether the metadata was there, and not a minimum in its place."""


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
    differs: bool = False
    """Whether the other release lacks it."""


class ComparedList(Struct, frozen=True, kw_only=True):
    """Things of which each release has several, at most `MAX_ITEMS` of each."""

    title: str
    old: tuple[ComparedItem, ...]
    new: tuple[ComparedItem, ...]
    added: int
    removed: int
    common: int
    """How many items both have."""
    left_out: int
    """How many items of both are not shown."""

    @property
    def differs(self) -> bool:
        """Whether one of them lacks something that the other has."""
        return bool(self.added or self.removed)

    @property
    def is_folded(self) -> bool:
        """Whether what both have is apart from the differences, as it would hide them."""
        return self.differs and self.common > UNFOLDED_ITEMS

    @property
    def words(self) -> str:
        """How they differ, in words."""
        if not self.differs:
            return "No difference."
        return f"{self.added} added, {self.removed} removed."


def compare_page(
    environment: PageEnvironment,
    viewer: Viewer,
    head: ReleaseHead,
    releases: Sequence[ReleaseOf[ShownFile]],
    compared: tuple[ComparedRelease, ComparedRelease] | None,
) -> bytes:
    """
    Return the bytes of the page, which compares nothing if there is one release alone.

    Then `compared` is None, else the older and the newer release. `releases` are all of the
    project, newest first.
    """
    values: dict[str, object] = {
        # somebody can still type an older one into the URL
        "versions": [release.version for release in releases[:MAX_OFFERED]],
        "compared": compared,
    }
    if compared is not None:
        values["facts"] = _facts(*compared)
        values["lists"] = _lists(*compared)
    return head.render(environment, viewer, COMPARE, "compare.html", **values)


def _facts(old: ComparedRelease, new: ComparedRelease) -> list[ComparedFact]:
    """Return what each release has once, as far as one of them has it."""
    facts: list[ComparedFact] = []
    for title, text, new_text in zip(_TITLES, _texts_of(old), _texts_of(new), strict=True):
        if text or new_text:
            facts.append(ComparedFact(title, text, new_text))
    return facts


def _texts_of(compared: ComparedRelease) -> tuple[str, ...]:
    """Return the texts of a release for `_TITLES`."""
    release = compared.release
    core = compared.core
    yanked = ""
    if release.is_yanked:
        yanked = release.yanked_reason or "yes"
    return (
        release_date(release)[:10],  # the day: the time differs in any case
        yanked,
        release.metadata_file.requires_python or "",
        license_of(core),
        size_in_words(release.size),
        core.summary or "",
        core.keywords or "",
        core.author or core.author_email or "",
        core.maintainer or core.maintainer_email or "",
    )


def _lists(old: ComparedRelease, new: ComparedRelease) -> list[ComparedList]:
    """Return what each release has several of, as far as one of them has some."""
    new_items = _items_of(new)
    lists = [_compared(title, items, new_items[title]) for title, items in _items_of(old).items()]
    return [compared for compared in lists if compared.old or compared.new]


def _compared(
    title: str, old: tuple[ComparedItem, ...], new: tuple[ComparedItem, ...]
) -> ComparedList:
    # metadata may repeat a text, which counts once
    old_texts = {listed.text for listed in old}
    new_texts = {listed.text for listed in new}
    return ComparedList(
        title=title,
        old=_marked(old, new_texts),
        new=_marked(new, old_texts),
        added=len(new_texts - old_texts),
        removed=len(old_texts - new_texts),
        common=len(old_texts & new_texts),
        left_out=len(old[MAX_ITEMS:]) + len(new[MAX_ITEMS:]),
    )


def _marked(
    items: tuple[ComparedItem, ...], other_texts: Container[str]
) -> tuple[ComparedItem, ...]:
    """Return the items that are shown: of many, first those that the other release lacks."""
    marked = [replace(listed, differs=listed.text not in other_texts) for listed in items]
    if len(marked) > MAX_ITEMS:
        # a difference is left out only if there are more than so many
        marked.sort(key=lambda listed: not listed.differs)
    return tuple(marked[:MAX_ITEMS])


def _items_of(compared: ComparedRelease) -> dict[str, tuple[ComparedItem, ...]]:
    core = compared.core
    # sorted, as build tools write them in an order of their own
    dependencies = sorted(map(parse_dependency, core.requires_dist), key=attrgetter("spelling"))
    texts: dict[str, Iterable[str]] = {
        "Dependencies": (dependency.in_words for dependency in dependencies),
        "Extras": core.provides_extra,
        "Classifiers": core.classifiers,
        "Links": starmap(_link_in_words, core.project_urls),
    }
    items = {"Files": tuple(map(_item_of, compared.release.files))}
    for title, lines in texts.items():
        items[title] = tuple(map(ComparedItem, lines))
    return items


def _link_in_words(label: str, url: str) -> str:
    if not label:
        return url
    return f"{label}: {url}"


def _item_of(file: ShownFile) -> ComparedItem:
    """Return a file by what it is for: its name has the version, which differs anyway."""
    compatibility = compatibility_of(file.filename)
    words = compatibility.text or compatibility.kind
    return ComparedItem(words, size_in_words(file.size))
