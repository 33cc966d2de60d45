"""The page that compares two releases of a project: their facts, dependencies, links and files."""

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

MAX_OFFERED_VERSIONS: Final = 300
"""The most versions that a field offers, of which it has the newest."""
MAX_ITEMS: Final = 500
"""The most items of a list that the page shows of a release: metadata may have ten thousand."""
UNFOLDED_ITEMS: Final = 10
"""With more items that both releases have, a list with differences folds these items."""

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
"""The titles of the facts, in the order of `_fact_texts`."""
_DAY_LENGTH: Final = len("2026-01-31")
"""Characters of a time in ISO 8601 that are its day."""


class ComparedRelease(Struct, frozen=True):
    """A release and its core metadata."""

    release: ReleaseOf[ShownFile]
    core: CoreMetadata
    is_known: bool
    """Whether `core` is the stored metadata, and not a minimum in place of lost metadata."""


class ComparedFact(Struct, frozen=True):
    """A fact of which a release has one value, such as its summary, for both releases."""

    title: str
    old: str
    new: str

    @property
    def differs(self) -> bool:
        """Whether the releases differ in this fact."""
        return self.old != self.new


class ComparedItem(Struct, frozen=True):
    """An item of a list that a release has, such as a dependency."""

    text: str
    note: str = ""
    """A text that stands beside the item, and is not compared."""
    differs: bool = False
    """Whether the other release lacks the item."""


class ComparedList(Struct, frozen=True, kw_only=True):
    """A list of items, such as the dependencies, for both releases: at most `MAX_ITEMS` of each."""

    title: str
    old: tuple[ComparedItem, ...]
    new: tuple[ComparedItem, ...]
    added: int
    removed: int
    common: int
    """How many items both releases have."""
    left_out: int
    """How many items of both releases together are not shown."""

    @property
    def differs(self) -> bool:
        """Whether one release has an item that the other release lacks."""
        return bool(self.added or self.removed)

    @property
    def is_folded(self) -> bool:
        """Whether the items of both releases are folded, as they would hide the differences."""
        return self.differs and self.common > UNFOLDED_ITEMS

    @property
    def difference(self) -> str:
        """How the lists differ, in words."""
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
    Return the bytes of the page.

    `compared` are the older and the newer release, or None if the project has one release alone:
    then the page compares nothing. `releases` are all releases of the project, newest first.
    """
    values: dict[str, object] = {
        # people can still type an older version into the URL
        "versions": [release.version for release in releases[:MAX_OFFERED_VERSIONS]],
        "compared": compared,
    }
    if compared is not None:
        values["facts"] = _compare_facts(*compared)
        values["lists"] = _compare_lists(*compared)
    return head.render(environment, viewer, COMPARE, "compare.html", **values)


def _compare_facts(old: ComparedRelease, new: ComparedRelease) -> list[ComparedFact]:
    """Return the facts of two releases, without facts that both releases lack."""
    facts: list[ComparedFact] = []
    for title, old_text, new_text in zip(_TITLES, _fact_texts(old), _fact_texts(new), strict=True):
        if old_text or new_text:
            facts.append(ComparedFact(title, old_text, new_text))
    return facts


def _fact_texts(compared: ComparedRelease) -> tuple[str, ...]:
    """Return the text of each fact of a release, in the order of `_TITLES`."""
    release = compared.release
    core = compared.core
    yanked = ""
    if release.is_yanked:
        yanked = release.yanked_reason or "yes"
    return (
        # the day alone, as the time differs in any case
        release_date(release)[:_DAY_LENGTH],
        yanked,
        release.metadata_file.requires_python or "",
        license_of(core),
        size_in_words(release.size),
        core.summary or "",
        core.keywords or "",
        core.author or core.author_email or "",
        core.maintainer or core.maintainer_email or "",
    )


def _compare_lists(old: ComparedRelease, new: ComparedRelease) -> list[ComparedList]:
    """Return the lists of two releases, without lists that are empty for both."""
    old_lists = _items_by_title(old)
    new_lists = _items_by_title(new)
    lists: list[ComparedList] = []
    for title, old_items in old_lists.items():
        new_items = new_lists[title]
        if old_items or new_items:
            lists.append(_compare_items(title, old_items, new_items))
    return lists


def _compare_items(
    title: str, old: tuple[ComparedItem, ...], new: tuple[ComparedItem, ...]
) -> ComparedList:
    """Return the comparison of the items that two releases have in one list."""
    # metadata may repeat a text, which counts once
    old_texts = {compared_item.text for compared_item in old}
    new_texts = {compared_item.text for compared_item in new}
    return ComparedList(
        title=title,
        old=_mark_differences(old, new_texts),
        new=_mark_differences(new, old_texts),
        added=len(new_texts - old_texts),
        removed=len(old_texts - new_texts),
        common=len(old_texts & new_texts),
        left_out=len(old[MAX_ITEMS:]) + len(new[MAX_ITEMS:]),
    )


def _mark_differences(
    items: tuple[ComparedItem, ...], other_texts: Container[str]
) -> tuple[ComparedItem, ...]:
    """
    Return at most `MAX_ITEMS` items, and mark those whose text is not among `other_texts`.

    If there are more items, the marked ones come first, so that the page shows the differences.
    """
    marked_items = [
        replace(compared_item, differs=compared_item.text not in other_texts)
        for compared_item in items
    ]
    if len(marked_items) > MAX_ITEMS:
        # False sorts before True
        marked_items.sort(key=lambda compared_item: not compared_item.differs)
    return tuple(marked_items[:MAX_ITEMS])


def _items_by_title(compared: ComparedRelease) -> dict[str, tuple[ComparedItem, ...]]:
    """Return the items of each list of a release, by the title of the list."""
    core = compared.core
    # sorted, as each build tool writes dependencies in an order of its own
    dependencies = sorted(map(parse_dependency, core.requires_dist), key=attrgetter("spelling"))
    texts: dict[str, Iterable[str]] = {
        "Dependencies": (dependency.in_words for dependency in dependencies),
        "Extras": core.provides_extra,
        "Classifiers": core.classifiers,
        "Links": starmap(_link_in_words, core.project_urls),
    }
    items = {"Files": tuple(map(_file_item, compared.release.files))}
    for title, lines in texts.items():
        items[title] = tuple(map(ComparedItem, lines))
    return items


def _link_in_words(label: str, url: str) -> str:
    """Return a project URL with its label, if the label is not empty."""
    if not label:
        return url
    return f"{label}: {url}"


def _file_item(file: ShownFile) -> ComparedItem:
    """
    Return the item of a file, whose text says what the file is for.

    The filename has the version, and would differ in any case.
    """
    compatibility = compatibility_of(file.filename)
    text = compatibility.text or compatibility.kind
    return ComparedItem(text, size_in_words(file.size))
