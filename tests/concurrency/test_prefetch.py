"""Work that is done ahead of whoever wants its results."""

from collections.abc import Iterator

import pytest

from wheelyard.concurrency.threads import prefetch_map


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fault_of_the_input_hides_no_result(threads: int) -> None:
    """Where the input breaks off, all results before that come first, and then the error."""

    def numbers() -> Iterator[int]:
        yield from range(7)
        raise OSError("the folder cannot be read")

    results = prefetch_map(str, numbers(), threads)

    assert [next(results) for _ in range(7)] == list("0123456")
    with pytest.raises(OSError, match="cannot be read"):
        next(results)
