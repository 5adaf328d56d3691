"""
What a send would do, before it does it: counts, time, cost, examples; and whether it is still what somebody approved.

``plan`` reads an audience once through every rule, ``digest`` tells two audiences apart without keeping either,
``markets`` and ``rate_card`` say what messages cost at most, ``approval`` compares a plan with what is there now,
``words`` writes it down for people. Nothing here sends, and nothing is remembered.
"""

from airflow_provider_cirrus.delivery.plan.plan import Plan
from airflow_provider_cirrus.delivery.plan.rate_card import RateCard

__all__ = ["Plan", "RateCard"]
