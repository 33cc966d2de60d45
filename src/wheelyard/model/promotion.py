"""The rules by which an index takes releases from others."""

from msgspec import Struct


class PromotionRules(Struct, frozen=True, kw_only=True):
    """What an index demands of a release before it is promoted to there."""

    promote_only: bool = False
    """Whether it takes no uploads and no imports, so that nobody can go round the other rules."""
    promote_from: tuple[str, ...] = ()
    """The indexes that it takes releases from, of which "" is that without a name; () for all."""


NO_RULES = PromotionRules()


def describe_index(name: str) -> str:
    """Return the name of an index, or words for the one without a name."""
    return name or "the index without a name"


def subject_of(name: str) -> str:
    """Return an index in words as the beginning of a sentence."""
    return f"The index {name}" if name else "The index without a name"
