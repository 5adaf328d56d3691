"""Operators of the Cirrus provider; each is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cirrus.operators.approval import CirrusApprovalOperator as CirrusApprovalOperator
    from airflow_provider_cirrus.operators.campaign import CampaignOperator as CampaignOperator
    from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator as SendTemplateOperator
    from airflow_provider_cirrus.operators.cirrus import UploadMediaOperator as UploadMediaOperator
    from airflow_provider_cirrus.operators.cirrus import ValidateContactOperator as ValidateContactOperator
    from airflow_provider_cirrus.operators.plan import PlanSendOperator as PlanSendOperator

_ROOMS = {"CampaignOperator": "campaign", "CirrusApprovalOperator": "approval", "PlanSendOperator": "plan"}

__all__ = [
    "CampaignOperator",
    "CirrusApprovalOperator",
    "PlanSendOperator",
    "SendTemplateOperator",
    "UploadMediaOperator",
    "ValidateContactOperator",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS.get(name, 'cirrus')}"), name)
