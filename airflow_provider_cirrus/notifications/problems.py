"""What went wrong with a notice, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_cirrus.api.errors import InvalidInput
    from airflow_provider_cirrus.delivery.engine.result import DeliveryResult


def problems_of(result: DeliveryResult | None, wrong: Sequence[InvalidInput]) -> list[str]:
    """
    Return what is to be said of notices that were not accepted.

    :param result: None: nothing was sent
    :param wrong: who could not be written to, and why
    """
    problems = [str(error) for error in wrong]
    if result is None or not (bad := result.total - result.counts["accepted"]):
        return problems
    # Late, as most notices are accepted.
    from airflow_provider_cirrus.delivery.report.summary import complaints

    what = complaints(result)
    said = [f"{bad} of {result.total} notices were not accepted: {what}."]
    if result.error is not None and result.error.message not in what:
        said.append(str(result.error))
    return [*said, *problems]
