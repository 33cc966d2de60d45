"""The operation that promotes releases from the index of the call to another one."""

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.api.operation import Call, IndexName, Version
from wheelyard.api.project_operations import FileAnswer
from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import parse_version
from wheelyard.operations.promotion import IndexSide, Promotion


class ReleasePromotion(Struct, frozen=True, forbid_unknown_fields=True):
    """Which release is promoted, and to which index."""

    version: Version
    to: IndexName
    dry_run: bool = False
    """Whether nothing is promoted, and the response says what would be promoted."""


class PromotedRelease(
    Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"source": "from"}
):
    """A release that is in the other index now."""

    name: NormalizedName
    version: str
    source: str
    """The index that the release comes from."""
    to: str
    promoted: tuple[FileAnswer, ...]
    """The files that are new in the other index, or in a dry run, that would be new there."""
    present: tuple[FileAnswer, ...]
    """The files that were in the other index already."""
    attested: tuple[str, ...] = ()
    """
    The names of files in `present` that got their attestations, or in a dry run, would get them.
    """
    warnings: tuple[str, ...]
    """Warnings, also about private requirements that the other index does not show."""


def promote(call: Call, name: NormalizedName, body: ReleasePromotion) -> PromotedRelease:
    """
    Promote a release of this index to another one.

    In a dry run nothing is written, and no upstream index is asked. Files that the other index has
    stay as they are, but get attestations that they lack. After Unavailable the release may have
    been promoted.

    Raises Unauthenticated, Forbidden or NotFound if the caller may not read the project in this
    index. Raises NotFound if there is no such other index, or this one has no such release of its
    own. Raises Invalid if the version is malformed, the other index is not named or is this one, or
    nobody may have the name. Raises Invalid (code `variant_conflict`) if a wheel with a label does
    not fit those there.

    Raises Forbidden if the caller may not upload to the project in the other index, or the project
    is in quarantine here or accepts no uploads there. Raises Forbidden if a file is yanked or a
    rule forbids it (code `promotion_refused`), if the other index has a rule that was removed (code
    `removed_rule`), or if an upstream index has the name (code `public_name`). Raises Conflict if
    the other index has other bytes under the name of a file or has deleted it, or if the release
    changes meanwhile. Raises TooLarge (code `quota_exceeded`) if a quota has no room. Raises
    Unavailable if the store does not answer, or no upstream index can say whether the name is free.
    """
    # checked first, as the checks of the promotion would tell whether the project exists
    call.index.read_policy.require_project_read(call.caller, name)
    version = parse_version(body.version)
    promotion = _promotion_to(call, body.to)
    promoted = promotion.promote(name, version, dry_run=body.dry_run)
    files = promoted.new + promoted.present
    # with the caller's rights there: a warning must not tell of projects that the caller cannot see
    check = call.index.server.requirements(call.caller_in)
    requirement_warnings = check.of_promotion(call.index.name, promotion.target.name, name, files)
    return PromotedRelease(
        name=name,
        version=str(version),
        source=call.index.name,
        to=promotion.target.name,
        promoted=tuple(map(FileAnswer.of, promoted.new)),
        present=tuple(map(FileAnswer.of, promoted.present)),
        attested=promoted.attested,
        warnings=promoted.warnings + requirement_warnings,
    )


def _promotion_to(call: Call, name: str) -> Promotion:
    """
    Return the promotion from the index of a call to the index of this name.

    Raises Invalid if the name is empty, and NotFound if there is no such index.
    """
    if not name:
        raise Invalid("The field to is empty. Name an index, such as main.", code="invalid_field")
    index = call.index
    target = index.named(name)
    return Promotion(
        source=IndexSide(uploads=index.uploads, caller=call.caller),
        target=IndexSide(uploads=target.uploads, caller=call.caller_in(target)),
        runtime=index.server.runtime,
    )
