"""Metrics of webhooks. Their labels are the names of webhooks, and no URL."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge

from wheelyard.model.webhook_state import DeliveryAttempt, WebhookState


class WebhookMetrics:
    """Counts the tries of this process, and says how long something waits. Threads may share it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._deliveries = Counter(
            "wheelyard_webhook_deliveries",
            "Tries to deliver a message to a webhook.",
            ("webhook", "result"),
            registry=self.registry,
        )
        self._waiting = Gauge(
            "wheelyard_webhook_oldest_waiting_seconds",
            "How long the oldest message waits that a webhook has not taken.",
            ("webhook",),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._dead = Gauge(
            "wheelyard_webhook_dead_letters",
            "Messages that were given up.",
            ("webhook",),
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )

        self._names = set[str]()
        """The webhooks of which something was noted."""

    def count(self, name: str, attempt: DeliveryAttempt) -> None:
        """Count a try."""
        result = "failed"
        if attempt.is_delivered:
            result = "delivered"
        self._deliveries.labels(name, result).inc()

    def note(self, states: Mapping[str, WebhookState], now: datetime) -> None:
        """Note what waits for each webhook, and forget those that are no more."""
        # else a deleted webhook would look like one that is stuck
        for name in self._names - states.keys():
            self._waiting.remove(name)
            self._dead.remove(name)
        self._names = set(states)
        for name, state in states.items():
            since = [journal.since for journal in state.waiting.values()]
            age = timedelta()
            if since:
                age = max(now - min(since), age)
            self._waiting.labels(name).set(age.total_seconds())
            self._dead.labels(name).set(len(state.dead))
