"""Values of rules that are wrong, as errors show them."""

from __future__ import annotations

from typing import Any

from airflow_provider_cirrus.api.phone import mask_all


def shown(value: Any) -> str:
    """Return a value for an error: short, and without the number that stands in the wrong column."""
    text = mask_all(repr(value))
    return text if len(text) <= 60 else f"{text[:60]}…"
