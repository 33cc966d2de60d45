"""The fields of the form of an index, one for each key that an index may have."""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from wheelyard.model.index_definition import NOT_OF_MAIN
from wheelyard.rendering.web.admin.form_fields import FormField

NAME_FIELD: Final = FormField(
    "name",
    "Name",
    "The beginning of its paths, such as dev: letters a-z, digits and hyphens. It stays as it is.",
    is_required=True,
    limit=40,
)
FIELDS: Final = (
    FormField(
        "layers",
        "Layers",
        "Names with commas, in the order in which a project is looked for: the name of this index "
        "for its own packages, other indexes such as main, upstream, and labels of upstream "
        "indexes. Empty means its own packages alone.",
    ),
    FormField(
        "read",
        "Who may read it",
        choices=(
            ("granted", "Whoever has a right in it."),
            ("anyone", "Anybody, also without a credential, unless the settings say private."),
        ),
        control="radio",
    ),
    FormField(
        "merge",
        "Merge",
        "Projects whose files come from all layers, such as acme-*: private ones from all indexes, "
        "public ones from all upstream indexes. Of others, the first layer that has the name "
        "counts.",
    ),
    FormField(
        "cooldown_days",
        "Cooldown in days",
        "Files that were uploaded, or promoted to this index, later than so many days ago are "
        "hidden.",
        is_rare=True,
    ),
    FormField(
        "cooldown_allow",
        "Without cooldown",
        "Names, patterns or NAME==VERSION, with commas.",
        is_rare=True,
    ),
    FormField(
        "cooldown_missing",
        "Files without a time of upload",
        choices=(
            ("", "They are hidden while there is a cooldown."),
            ("first_seen", "Their cooldown counts from when they were first seen here."),
        ),
        is_rare=True,
        control="radio",
    ),
    FormField(
        "min_cvss",
        "Lowest CVSS score that hides",
        "Public versions with a known vulnerability of at least this score are hidden, and known "
        "malware.",
        is_rare=True,
    ),
    FormField(
        "allowed_licenses",
        "Allowed licences",
        "SPDX ids with commas, such as MIT, BSD-*. Others are hidden. With unknown in the list, "
        "releases without a known licence are not.",
        is_rare=True,
    ),
    FormField(
        "blocked_licenses",
        "Blocked licences",
        "SPDX ids with commas, such as GPL-*. Releases without a known licence are hidden as well.",
        is_rare=True,
    ),
    FormField(
        "approval",
        "Public files are hidden that nobody has approved.",
        is_rare=True,
        control="tick",
    ),
    FormField(
        "attested", "Files without listed attestations are hidden.", is_rare=True, control="tick"
    ),
    FormField(
        "verified",
        "Files whose attestations do not hold, or that have none, are hidden.",
        is_rare=True,
        control="tick",
    ),
    FormField(
        "prereleases",
        "Pre-releases",
        choices=(("", "They are shown."), ("false", "They are hidden.")),
        is_rare=True,
        control="radio",
    ),
    FormField(
        "yanked",
        "Yanked files",
        choices=(("", "They are shown."), ("false", "They are hidden.")),
        is_rare=True,
        control="radio",
    ),
    FormField(
        "allow", "Allowed names", "The only names that are shown, such as acme-*.", is_rare=True
    ),
    FormField("deny", "Denied names", "Names that are hidden, such as left-pad.", is_rare=True),
    FormField(
        "versions",
        "Versions of names",
        "Which versions are shown, with semicolons: numpy = <2; acme-* = >=1.4.",
        is_rare=True,
    ),
    FormField(
        "snapshot",
        "Snapshot",
        "Files that were uploaded after this date (UTC) are hidden, such as 2026-10-31.",
        is_rare=True,
    ),
    FormField(
        "promote_from",
        "Promote from",
        "Indexes from which releases are promoted, with commas.",
        is_rare=True,
    ),
    FormField(
        "promote_only",
        "It takes promoted releases alone, and no uploads.",
        is_rare=True,
        control="tick",
    ),
    FormField("index_size", "Most MiB of the index", is_rare=True),
    FormField("index_files", "Most files of the index", is_rare=True),
    FormField("project_size", "Most MiB of a project", is_rare=True),
    FormField("project_files", "Most files of a project", is_rare=True),
)


MAIN_FIELDS: Final = (
    FormField(
        "read",
        "Who may read it",
        choices=(
            ("anyone", "Anybody, also without a credential, unless the settings say private."),
            ("granted", "Whoever has a right in it."),
        ),
        control="radio",
    ),
    FormField(
        "promote_only",
        "Uploads",
        choices=(
            ("", "It takes none while nothing was published in it and another index has packages."),
            ("false", "It takes them."),
            ("true", "It takes promoted releases alone."),
        ),
        control="radio",
    ),
)
"""The fields for main that take the place of the fields in `FIELDS` with the same keys."""


def index_fields(keys: Iterable[str], *, is_main: bool, says_read: bool) -> Iterator[FormField]:
    """
    Yield the fields of all keys but the name, first the fields that are in `FIELDS`.

    `says_read` is whether the index has the key `read`. Without it, the form sends the key only if
    somebody has chosen another value than the default.
    """
    offered_keys = [key for key in keys if key != "name"]
    fields = {field.key: field for field in FIELDS}
    if is_main:
        offered_keys = [key for key in offered_keys if key not in NOT_OF_MAIN]
        fields |= {field.key: field for field in MAIN_FIELDS}
    if not says_read:
        # the default gets an empty value, with which a form leaves the key out
        (_, default), *choices = fields["read"].choices
        fields["read"] = replace(fields["read"], choices=(("", default), *choices))
    for key, field in fields.items():
        if key in offered_keys:
            yield field
    for key in offered_keys:
        # a new key without words in `FIELDS` has a plain field
        if key not in fields:
            yield FormField(key, key.replace("_", " ").capitalize(), is_rare=True)
