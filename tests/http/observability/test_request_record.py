"""Which trace a request belongs to, by what its headers say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.http.logs import TraceContext, parse_trace

ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("traceparent", f"00-{ID}-{SPAN}-01", TraceContext(ID, SPAN, is_sampled=True)),
        ("traceparent", f"00-{ID}-{SPAN}-00", TraceContext(ID, SPAN, is_sampled=False)),
        ("traceparent", f"01-{ID}-{SPAN}-03-more", TraceContext(ID, SPAN, is_sampled=True)),
        ("traceparent", f"ff-{ID}-{SPAN}-01", None),
        ("traceparent", f"00-{'0' * 32}-{SPAN}-01", None),
        ("traceparent", f"00-{ID}-{'0' * 16}-01", None),
        ("traceparent", f"00-{ID.upper()}-{SPAN}-01", None),
        ("traceparent", f"00-{ID}-{SPAN}", None),
        ("x-cloud-trace-context", f"{ID}/1;o=1", TraceContext(ID, "0" * 15 + "1", is_sampled=True)),
        (
            "x-cloud-trace-context",
            f"{ID}/13235353014750950193",
            TraceContext(ID, SPAN, is_sampled=False),
        ),
        ("x-cloud-trace-context", f"{ID.upper()};o=0", TraceContext(ID, "", is_sampled=False)),
        ("x-cloud-trace-context", f"{ID}/{2**64};o=1", TraceContext(ID, "", is_sampled=True)),
        ("x-cloud-trace-context", "0" * 32, None),
        ("x-cloud-trace-context", "a log line\n", None),
    ],
)
def test_both_trace_headers_are_understood(
    name: str, value: str, expected: TraceContext | None
) -> None:
    """Both headers for traces are understood, and a malformed one is no trace."""
    assert parse_trace({name.encode(): value.encode()}) == expected


def test_the_standard_comes_first() -> None:
    """Where both headers are there, the standard's counts."""
    headers = {
        b"traceparent": f"00-{ID}-{SPAN}-01".encode(),
        b"x-cloud-trace-context": f"{'1' * 32}/1;o=0".encode(),
    }
    assert parse_trace(headers) == TraceContext(ID, SPAN, is_sampled=True)


@given(st.binary(max_size=80))
def test_no_trace_header_breaks_a_request(value: bytes) -> None:
    """Nothing that a client sends in a header for traces breaks a request."""
    for name in (b"traceparent", b"x-cloud-trace-context"):
        found = parse_trace({name: value})
        assert found is None or len(found.id) == 32
