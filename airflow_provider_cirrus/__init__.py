"""Apache Airflow provider for Cirrus, a WhatsApp Business platform."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.audience.columns import Columns as Columns
    from airflow_provider_cirrus.delivery.audience.experiment import Experiment as Experiment
    from airflow_provider_cirrus.delivery.circuit_breaker import CircuitBreaker as CircuitBreaker
    from airflow_provider_cirrus.delivery.contact_lists.spec import FileNumbers as FileNumbers
    from airflow_provider_cirrus.delivery.contact_lists.spec import SqlNumbers as SqlNumbers
    from airflow_provider_cirrus.delivery.options import Delivery as Delivery
    from airflow_provider_cirrus.delivery.options import Report as Report
    from airflow_provider_cirrus.delivery.options import Rules as Rules
    from airflow_provider_cirrus.delivery.plan.rate_card import RateCard as RateCard
    from airflow_provider_cirrus.delivery.rules.consent import OptIn as OptIn
    from airflow_provider_cirrus.delivery.rules.consent import Suppression as Suppression
    from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget as DailyBudget
    from airflow_provider_cirrus.delivery.rules.daily_budget import Ramp as Ramp
    from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap as FrequencyCap
    from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours as QuietHours

__version__ = "0.1.0"

# Loaded when they are first used: Airflow imports this package to know the provider, and needs none of them.
_ROOMS = {
    "CircuitBreaker": "circuit_breaker",
    "Columns": "audience.columns",
    "DailyBudget": "rules.daily_budget",
    "Delivery": "options",
    "Experiment": "audience.experiment",
    "FileNumbers": "contact_lists.spec",
    "FrequencyCap": "rules.frequency_cap",
    "OptIn": "rules.consent",
    "QuietHours": "rules.quiet_hours",
    "Ramp": "rules.daily_budget",
    "RateCard": "plan.rate_card",
    "Report": "options",
    "Rules": "options",
    "SqlNumbers": "contact_lists.spec",
    "Suppression": "rules.consent",
}

__all__ = [
    "CircuitBreaker",
    "Columns",
    "DailyBudget",
    "Delivery",
    "Experiment",
    "FileNumbers",
    "FrequencyCap",
    "OptIn",
    "QuietHours",
    "Ramp",
    "RateCard",
    "Report",
    "Rules",
    "SqlNumbers",
    "Suppression",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.delivery.{_ROOMS[name]}"), name)
