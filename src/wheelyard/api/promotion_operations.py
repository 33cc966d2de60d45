"""
Operations that promote releases from the index of the call to another one, and approve that.

Each raises NotFound if there is no such other index. Each raises as
`ReadPolicy.require_project_read` in this one, and as `operations/promotion.py` says.
"""

from msgspec import Struct
from msgspec.structs import asdict
from packaging.utils import NormalizedName

from wheelyard.api.operation import Call, IndexName, Version
from wheelyard.api.project_operations import FileAnswer
from wheelyard.authentication.rights import CurrentRights
from wheelyard.model.distribution_filename import parse_version
from wheelyard.operations.promotion import IndexSide, Promotion


class ReleasePromotion(Struct, frozen=True, forbid_unknown_fields=True):
    """Which release is promoted, and to which index."""

    version: Version
    to: IndexName = ""
    dry_run: bool = False
    """Whether nothing is changed, and the response says what would be."""


class PromotionApproval(Struct, frozen=True, forbid_unknown_fields=True):
    """The promotion of which release is approved, and to which index."""

    version: Version
    to: IndexName = ""


class ReleaseInIndexes(Struct, frozen=True, kw_only=True, rename={"source": "from"}):
    """A release, the index that it comes from, and the one that it is promoted to."""

    name: NormalizedName
    version: str
    source: str
    """Empty for the index without a name."""
    to: str


class PromotedRelease(ReleaseInIndexes, frozen=True, kw_only=True):
    """A release that is in the other index now."""

    promoted: tuple[FileAnswer, ...]
    """The files that are new there; in a dry run those that would be."""
    present: tuple[FileAnswer, ...]
    """Those that were there already."""
    warnings: tuple[str, ...]


class ApprovedPromotion(ReleaseInIndexes, frozen=True, kw_only=True):
    """A release whose promotion is approved."""

    files: tuple[FileAnswer, ...]
    """As they were before: what is approved."""
    is_new: bool
    """Whether the caller had not approved it before."""


def promote(call: Call, name: NormalizedName, body: ReleasePromotion) -> PromotedRelease:
    """Promote a release of this index to another one."""
    call.index.read_policy.require_project_read(call.caller, name)
    version = parse_version(body.version)
    promoted = promotion_to(call, body.to).promote(name, version, dry_run=body.dry_run)
    return PromotedRelease(
        **asdict(_release(call, name, body)),
        promoted=tuple(map(FileAnswer.of, promoted.new)),
        present=tuple(map(FileAnswer.of, promoted.present)),
        warnings=promoted.warnings,
    )


def approve_promotion(
    call: Call, name: NormalizedName, body: PromotionApproval
) -> ApprovedPromotion:
    """Approve that a release of this index is promoted to another one."""
    call.index.read_policy.require_project_read(call.caller, name)
    approved = promotion_to(call, body.to).approve(name, parse_version(body.version))
    return ApprovedPromotion(
        **asdict(_release(call, name, body)),
        files=tuple(map(FileAnswer.of, approved.files)),
        is_new=approved.is_new,
    )


def promotion_to(call: Call, name: str) -> Promotion:
    """
    Return what promotes releases from the index of a call to the index of a name.

    Raises NotFound if there is none.
    """
    index, target = call.index, call.index.named(name)
    return Promotion(
        source=IndexSide(uploads=index.uploads, caller=call.caller),
        target=IndexSide(uploads=target.uploads, caller=call.caller_in(target)),
        tokens=index.tokens.records,
        approvers=CurrentRights(target.authenticator),
        runtime=index.runtime,
    )


def _release(
    call: Call, name: NormalizedName, body: ReleasePromotion | PromotionApproval
) -> ReleaseInIndexes:
    version = str(parse_version(body.version))
    return ReleaseInIndexes(name=name, version=version, source=call.index.name, to=body.to)
