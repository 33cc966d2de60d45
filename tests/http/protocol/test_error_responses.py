"""The response to each error: what its header asks for, its text says."""

import ast
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode

from tests.clients.harness import REPOSITORY
from wheelyard import errors
from wheelyard.errors import MESSAGE_LIMIT, Unavailable, WheelyardError
from wheelyard.http.error_responses import STATUS_BY_CODE, error_response_for, with_body
from wheelyard.http.messages import Response

SECONDS = re.compile(r"Try again in (\d+) seconds?\.$")
CODES = (None, *STATUS_BY_CODE)


def seconds_of(response: Response) -> tuple[str | None, str | None]:
    """Return the seconds to wait by the header of a response, and by its text."""
    header = dict(response.header_list).get(b"retry-after")
    assert isinstance(response.content, bytes)
    text = SECONDS.search(decode(response.content)["message"])
    return header.decode() if header else None, text[1] if text else None


@given(
    st.text(max_size=2 * MESSAGE_LIMIT),
    st.sampled_from(CODES),
    st.none() | st.integers(1, 10**6),
)
def test_the_text_says_what_the_header_asks_for(
    message: str, code: str | None, seconds: int | None
) -> None:
    """Whoever is to wait is told the same number of seconds by the header and by the text."""
    error = Unavailable(f"{message}.", code=code, retry_after=seconds)

    response = error_response_for(error)

    wanted = None if seconds is None else str(seconds)
    assert seconds_of(response) == (wanted, wanted)
    assert len(error.message) <= MESSAGE_LIMIT
    page = with_body(response, b"text/html", b"<p>", (b"x-frame-options", b"DENY"))
    assert dict(page.header_list).get(b"retry-after") == dict(response.header_list).get(
        b"retry-after"
    )


@pytest.mark.parametrize(
    "kind", [errors.Invalid, errors.Unauthenticated, errors.Forbidden, errors.NotFound]
)
def test_nobody_waits_in_vain(kind: type[WheelyardError]) -> None:
    """Where waiting does not help, nobody is asked to wait."""
    assert seconds_of(error_response_for(kind("No."))) == (None, None)


def sentences() -> Iterator[tuple[str, str]]:
    """Yield the texts with which the code raises Unavailable, and where."""
    for path in sorted((REPOSITORY / "src" / "wheelyard").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "Unavailable" and node.args:
                yield f"{path.name}:{node.lineno}", ast.unparse(node.args[0])


@pytest.mark.slow
def test_no_error_says_another_time() -> None:
    """No error has words of its own for when to try again, beside those that the header has."""
    vague = re.compile(r"[Tt]ry again (in|later|soon)|wait a (minute|moment)")

    raised = list(sentences())

    assert len(raised) > 30
    assert [where for where, text in raised if vague.search(text)] == []
