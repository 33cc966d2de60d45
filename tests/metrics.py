"""Reads metrics where they are made."""

from prometheus_client.registry import Collector


def samples(collector: Collector, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric's samples, by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in collector.collect()
        for sample in metric.samples
        if sample.name == name
    }
