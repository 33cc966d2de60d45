"""JSON of objects with a long list."""

import json

import pytest

from wheelyard.rendering.simple_pages import ENTRIES_AT_ONCE, json_with_list


@pytest.mark.parametrize("count", [0, 1, ENTRIES_AT_ONCE, 2 * ENTRIES_AT_ONCE + 1])
def test_a_list_of_any_length_is_whole(count: int) -> None:
    """A document has all items of its list, in their order, however many pieces they need."""
    items = [{"filename": f"{number}"} for number in range(count)]

    assert json.loads(json_with_list({"name": "demo"}, "files", items)) == {
        "name": "demo",
        "files": items,
    }
