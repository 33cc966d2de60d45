"""The rules by which an index takes releases from others."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct

Days = Annotated[int, Meta(ge=0, le=3650, title="a number of days, from 0 to 3650")]
Approvals = Annotated[int, Meta(ge=0, le=10, title="a number of people, from 0 to 10")]


class PromotionRules(Struct, frozen=True, kw_only=True):
    """What an index demands of a release before it is promoted to there."""

    promote_only: bool = False
    """Whether it takes no uploads and no imports, so that nobody can go round the other rules."""
    promote_from: tuple[str, ...] = ()
    """The indexes that it takes releases from, of which "" is that without a name; () for all."""
    promote_other_person: bool = False
    """Whether nobody may promote what they have uploaded themselves."""
    promote_min_age_days: Days = 0
    """How many days every file of the release has to be in the other index."""
    promote_approvals: Approvals = 0
    """How many people have to approve it who have neither uploaded it, nor promote it."""

    @property
    def min_age(self) -> timedelta:
        """`promote_min_age_days` as a duration."""
        return timedelta(days=self.promote_min_age_days)


NO_RULES = PromotionRules()


def describe_index(name: str) -> str:
    """Return the name of an index, or words for the one without a name."""
    return name or "the index without a name"


def subject_of(name: str) -> str:
    """Return an index in words as the beginning of a sentence."""
    return f"The index {name}" if name else "The index without a name"
