"""The metrics of webhooks. Their labels are names of webhooks, and never a URL."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge

from wheelyard.model.webhook_state import DeliveryAttempt, WebhookState


class WebhookMetrics:
    """Counts tries of deliveries, and gauges how long messages wait. Threads may share it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._deliveries = Counter(
            "wheelyard_webhook_deliveries",
            "Tries to deliver a message to a webhook.",
            ("webhook", "result"),
            registry=self.registry,
        )
        self._oldest_waiting = Gauge(
            "wheelyard_webhook_oldest_waiting_seconds",
            "How long the oldest message waits that a webhook has not taken.",
            ("webhook",),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._dead_letters = Gauge(
            "wheelyard_webhook_dead_letters",
            "Messages that were given up.",
            ("webhook",),
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self._noted_webhooks = set[str]()
        """The names of the webhooks that have gauges."""

    def count(self, webhook: str, attempt: DeliveryAttempt) -> None:
        """Count a try to deliver to a webhook, by the name of the webhook and the result."""
        result = "failed"
        if attempt.is_delivered:
            result = "delivered"
        self._deliveries.labels(webhook, result).inc()

    def note(self, states: Mapping[str, WebhookState], now: datetime) -> None:
        """Set the gauges of each webhook from its state, and remove those of other webhooks."""
        # else a deleted webhook would look like one that is stuck
        for webhook in self._noted_webhooks - states.keys():
            self._oldest_waiting.remove(webhook)
            self._dead_letters.remove(webhook)
        self._noted_webhooks = set(states)
        for webhook, state in states.items():
            waiting_since = [journal.since for journal in state.waiting.values()]
            age = timedelta()
            if waiting_since:
                age = max(now - min(waiting_since), age)
            self._oldest_waiting.labels(webhook).set(age.total_seconds())
            self._dead_letters.labels(webhook).set(len(state.dead))
