"""
The operation that promotes releases from the index of the call to another one.

It raises NotFound if there is no such other index. It raises as
`ReadPolicy.require_project_read` in this one, and as `operations/promotion.py` says.
"""

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
    """Whether nothing is changed, and the response says what would be."""


class PromotedRelease(
    Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"source": "from"}
):
    """A release that is in the other index now."""

    name: NormalizedName
    version: str
    source: str
    """The index that it comes from."""
    to: str
    promoted: tuple[FileAnswer, ...]
    """The files that are new there. In a dry run those that would be."""
    present: tuple[FileAnswer, ...]
    """Those that were there already."""
    attested: tuple[str, ...] = ()
    """The names of those of `present` that got their attestations. In a dry run would get them."""
    warnings: tuple[str, ...]
    """Also which private requirements the other index does not show."""


def promote(call: Call, name: NormalizedName, body: ReleasePromotion) -> PromotedRelease:
    """Promote a release of this index to another one."""
    # here, as the checks of the promotion would tell whether the project exists
    call.index.read_policy.require_project_read(call.caller, name)
    version = parse_version(body.version)
    promotion = _promotion_to(call, body.to)
    promoted = promotion.promote(name, version, dry_run=body.dry_run)
    files = promoted.new + promoted.present
    # with the rights of the caller there: a warning must not tell of projects that they cannot see
    check = call.index.server.requirements(call.caller_in)
    unmet = check.of_promotion(call.index.name, promotion.target.name, name, files)
    return PromotedRelease(
        name=name,
        version=str(version),
        source=call.index.name,
        to=promotion.target.name,
        promoted=tuple(map(FileAnswer.of, promoted.new)),
        present=tuple(map(FileAnswer.of, promoted.present)),
        attested=promoted.attested,
        warnings=promoted.warnings + unmet,
    )


def _promotion_to(call: Call, name: str) -> Promotion:
    """
    Return what promotes releases from the index of a call to the index of a name.

    Raises Invalid if the name is empty, and NotFound if there is none.
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
