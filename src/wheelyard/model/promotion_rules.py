"""The rules by which an index takes releases from others."""

from msgspec import Struct


class PromotionRules(Struct, frozen=True, kw_only=True):
    """What an index demands of a release before the release is promoted to the index."""

    promote_only: bool = False
    """Whether the index takes no uploads and no imports, so that each release is promoted."""
    promote_from: tuple[str, ...] = ()
    """The indexes from which the index takes releases, or () for all indexes."""


NO_RULES = PromotionRules()
