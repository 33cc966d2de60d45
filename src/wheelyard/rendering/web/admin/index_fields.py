"""The fields of the form of an index, one for each key that it may have."""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct


class IndexField(Struct, frozen=True):
    """A field of the form."""

    key: str
    label: str
    hint: str = ""
    is_rare: bool = True
    """Whether it is hidden until somebody wants it."""
    is_flag: bool = False
    """Whether it is true or false, and so a box to tick."""
    choices: tuple[tuple[str, str], ...] = ()
    """The values that there are, each with its words; the first is the default."""


FIELDS: Final = (
    IndexField(
        "layers",
        "Layers",
        "Names with commas, in the order in which a project is looked for: the name of this index "
        "for its own packages, other indexes such as main, upstream, and labels of upstream "
        "indexes. Empty means its own packages alone.",
        is_rare=False,
    ),
    IndexField(
        "read",
        "Who may read it",
        is_rare=False,
        choices=(
            ("granted", "Whoever has a right in it."),
            ("anyone", "Anybody, also without a credential, unless the settings say private."),
        ),
    ),
    IndexField(
        "merge",
        "Merge",
        "Projects whose files come from all layers, such as acme-*: private ones from all indexes, "
        "public ones from all upstream indexes. Of others, the first layer that has the name "
        "counts.",
        is_rare=False,
    ),
    IndexField(
        "cooldown_days",
        "Cooldown in days",
        "Files that were uploaded, or promoted to this index, later than so many days ago are "
        "hidden.",
    ),
    IndexField(
        "cooldown_allow", "Without cooldown", "Names, patterns or NAME==VERSION, with commas."
    ),
    IndexField(
        "cooldown_missing",
        "Files without a time of upload",
        choices=(
            ("", "They are hidden while there is a cooldown."),
            ("first_seen", "Their cooldown counts from when they were first seen here."),
        ),
    ),
    IndexField(
        "min_cvss",
        "Lowest CVSS score that hides",
        "Public versions with a known vulnerability of at least this score are hidden, and known "
        "malware.",
    ),
    IndexField(
        "allowed_licenses",
        "Allowed licences",
        "SPDX ids with commas, such as MIT, BSD-*. Others are hidden. With unknown in the list, "
        "releases without a known licence are not.",
    ),
    IndexField(
        "blocked_licenses",
        "Blocked licences",
        "SPDX ids with commas, such as GPL-*. Releases without a known licence are hidden as well.",
    ),
    IndexField("approval", "Public files are hidden that nobody has approved.", is_flag=True),
    IndexField("attested", "Files without listed attestations are hidden.", is_flag=True),
    IndexField(
        "prereleases",
        "Pre-releases",
        choices=(("", "They are shown."), ("false", "They are hidden.")),
    ),
    IndexField(
        "yanked", "Yanked files", choices=(("", "They are shown."), ("false", "They are hidden."))
    ),
    IndexField("allow", "Allowed names", "The only names that are shown, such as acme-*."),
    IndexField("deny", "Denied names", "Names that are hidden, such as left-pad."),
    IndexField(
        "versions",
        "Versions of names",
        "Which versions are shown, with semicolons: numpy = <2; acme-* = >=1.4.",
    ),
    IndexField(
        "snapshot",
        "Snapshot",
        "Files that were uploaded after this date (UTC) are hidden, such as 2026-10-31.",
    ),
    IndexField(
        "promote_from", "Promote from", "Indexes from which releases are promoted, with commas."
    ),
    IndexField("promote_only", "It takes promoted releases alone, and no uploads.", is_flag=True),
    IndexField("index_size", "Most MiB of the index"),
    IndexField("index_files", "Most files of the index"),
    IndexField("project_size", "Most MiB of a project"),
    IndexField("project_files", "Most files of a project"),
)


OF_MAIN: Final = (
    IndexField(
        "read",
        "Who may read it",
        is_rare=False,
        choices=(
            ("anyone", "Anybody, also without a credential, unless the settings say private."),
            ("granted", "Whoever has a right in it."),
        ),
    ),
    IndexField(
        "promote_only",
        "Uploads",
        is_rare=False,
        choices=(
            ("", "It takes none while nothing was published in it and another index has packages."),
            ("false", "It takes them."),
            ("true", "It takes promoted releases alone."),
        ),
    ),
)
"""Those that are others for main."""
NOT_OF_MAIN: Final = frozenset({"layers", "merge"})
"""Keys that main cannot have."""


def index_fields(keys: Iterable[str], *, is_main: bool) -> Iterator[IndexField]:
    """Yield the fields of all keys but the name, first those that are in `FIELDS`."""
    wanted = [key for key in keys if key != "name" and not (is_main and key in NOT_OF_MAIN)]
    named = {field.key: field for field in FIELDS}
    if is_main:
        named |= {field.key: field for field in OF_MAIN}
    yield from (field for key, field in named.items() if key in wanted)
    for key in wanted:
        if key not in named:
            yield IndexField(key, key.replace("_", " ").capitalize())
