"""The rules by which an index takes releases from others."""

from msgspec import Struct


class PromotionRules(Struct, frozen=True, kw_only=True):
    """What an index demands of a release before it is promoted to there."""

    promote_only: bool = False
    """Whether it takes no uploads and no imports, so that nobody can go round the other rules."""
    promote_from: tuple[str, ...] = ()
    """The indexes that it takes releases from, or () for all."""


NO_RULES = PromotionRules()
