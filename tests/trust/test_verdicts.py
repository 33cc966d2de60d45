"""Which verdicts about credentials are forgotten first."""

from tests.operations.world import Clock
from wheelyard.trust.verifier import Verdicts


def test_a_verdict_that_is_given_again_is_kept_longest() -> None:
    """Where there is no room for all, a verdict that was just given again outlives older ones."""
    verdicts = Verdicts[str](bytes(32), Clock().seconds, capacity=2)
    first, second, third = (verdicts.mark(name) for name in ("first", "second", "third"))

    verdicts.put(first, "yes", 60)
    verdicts.put(second, "yes", 60)
    verdicts.put(first, "no", 60)
    verdicts.put(third, "yes", 60)

    assert [verdicts.get(each) for each in (first, second, third)] == ["no", None, "yes"]
