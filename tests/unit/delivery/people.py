"""Whom tests of consent are about, where they are on record, and how they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine

from airflow_provider_cirrus.delivery.contact_lists.spec import ConsentRecord
from airflow_provider_cirrus.delivery.rules.consent import Consent

ANN, BOB, CAT = "447700900101", "447700900102", "447700900103"
MEXICO, ARGENTINA, BRAZIL = ("525512345678", "5215512345678"), ("546707050761", "5496707050761"), (
    "551187654321",
    "5511987654321",
)  # fmt: skip
TWO_SPELLINGS = [MEXICO, ARGENTINA, BRAZIL]
NONE = "opt_in: no opt-in on record"
Connect = Callable[[str], Engine]


def checked(consent: Consent, *numbers: str, **row: Any) -> list[ConsentRecord | str]:
    with consent:
        return consent.check([(number, row) for number in numbers])


def written(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)
