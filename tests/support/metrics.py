"""Reading a metrics page as Prometheus does."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


def samples(page: str, name: str, **labels: str) -> list[Sample]:
    """Return the samples of `name` that have these labels."""
    return [
        sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def total(page: str, name: str, **labels: str) -> float:
    """Return their sum, 0 without any."""
    return sum(sample.value for sample in samples(page, name, **labels))
