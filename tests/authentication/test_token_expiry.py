"""Warnings before API tokens expire: which tokens, how often, and at what cost."""

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from tests.fake_store import FakeStore, Fault
from tests.fake_store import FaultKind as Kind
from tests.operations.in_memory_index import IndexHarness
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.http.instrumentation import expiring_tokens
from wheelyard.model.api_token import ApiToken, TokenRecord


def create_token(
    harness: IndexHarness, days: int, name: str = "ci"
) -> tuple[ApiToken, TokenRecord]:
    """Make a token that lives for some days."""
    request = TokenRequest(name=name, lifetime=timedelta(days=days))
    return harness.index.tokens.create(request, by="local:alice")


def test_active_tokens_are_reported_two_weeks_before_they_expire(harness: IndexHarness) -> None:
    """Active tokens are reported two weeks before they expire; rotated and jobs' ones never."""
    later, soon = create_token(harness, 15)[1], create_token(harness, 14)[1]
    revoked, rotated = create_token(harness, 3)[1], create_token(harness, 2)[1]
    create_token(harness, 1)
    records = harness.index.tokens.records
    records.create(replace(soon, id="0123456789", publishers=("ci",)))
    harness.index.tokens.revoke(revoked.id, by="local:bob")
    new = harness.index.tokens.rotate(rotated, timedelta(hours=1), by="local:bob").new
    assert len(harness.index.tokens.expiring()) == 3
    harness.clock.advance(days=1)

    assert harness.index.tokens.expiring() == [new, soon, later]


def test_a_rotated_token_is_reported_if_its_successor_is_revoked(harness: IndexHarness) -> None:
    """A rotated token whose new token was revoked is reported: it ends, and nothing follows it."""
    record = create_token(harness, 90)[1]
    tokens = harness.index.tokens
    result = tokens.rotate(record, timedelta(hours=24), by="local:bob")
    assert tokens.expiring() == []

    tokens.revoke(result.new.id, by="local:bob")

    assert tokens.expiring() == [result.old]


def test_a_used_token_that_soon_expires_is_logged_once_a_day(
    harness: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that is used shortly before it expires is logged once a day, and unused ones not."""
    token, record = create_token(harness, 16, "laptop")
    unused, _ = create_token(harness, 10)

    def lines() -> list[str]:
        return [message for message in caplog.messages if "is in use and expires" in message]

    harness.index.tokens.get(token)
    assert lines() == []
    for day in (1, 2):
        harness.clock.advance(days=2)
        for _ in range(3):
            harness.index.tokens.get(token)
        assert len(lines()) == day
    assert lines()[0] == (
        f"the token {record.id} (laptop) is in use and expires 2026-01-17 00:00 UTC: rotate it, "
        "which makes the next one"
    )
    assert caplog.records[-1].levelno == logging.WARNING
    assert token.text[14:46] not in caplog.text
    assert unused.id not in caplog.text


def test_expiring_tokens_are_counted_once_an_hour(harness: IndexHarness) -> None:
    """The tokens are counted when somebody asks, once an hour, and an outage keeps the count."""
    create_token(harness, 5)
    faults = (Fault(Kind.NOT_DONE, "list", "credentials/*", nth=2),)
    store = FakeStore(harness.store, *faults)
    index = harness.opened(7, store)
    begun = list[Callable[[], None]]()
    registry = CollectorRegistry()
    counter = expiring_tokens(index.tokens, registry, begun.append)

    def counted() -> float | None:
        counter.refresh()
        while begun:
            begun.pop()()
        return registry.get_sample_value("wheelyard_expiring_tokens")

    calls = len(store.calls)
    assert counted() == 1
    create_token(harness, 5)
    assert counted() == 1
    assert [verb for verb, _ in store.calls[calls:]] == ["list", "get"]
    harness.clock.advance(hours=1)
    assert counted() == 1
    harness.clock.advance(hours=1)
    assert counted() == 2
