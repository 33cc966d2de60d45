"""What counts as an answer in JSON."""

import pytest

from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.json_client import JsonResponse


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (404, b'{"message": "Not Found"}', "it answered 404"),
        (201, b"{}", "it answered 201"),
        (200, b"<html>", "its answer is not JSON"),
        (200, b"[" * 100_000, "its answer is not JSON"),
        (200, b"[]", "its answer is not a JSON object"),
    ],
)
def test_an_answer_that_is_none_says_why(status: int, body: bytes, why: str) -> None:
    """An error, whatever its body, and what is no object of JSON are no answer."""
    with pytest.raises(FetchError) as caught:
        JsonResponse(status, body).document()

    assert caught.value.why == why


def test_an_answer_is_its_object() -> None:
    """An answer with status 200 is the object in its body."""
    assert JsonResponse(200, b'{"id": 7}').document() == {"id": 7}
