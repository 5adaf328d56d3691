"""Texts of a notice as WhatsApp takes them: exceptions hold what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_cirrus.api.text import HEADER_LIMIT, URL_SUFFIX_LIMIT, clean_text, cut_together

#: Most characters of all parameters of a body: the rest of WhatsApp's 1,024 is for the template's own text, which is
#: unknown here.
BODY_BUDGET = 800


def cleaned(fields: Mapping[str, Any], max_length: int) -> dict[str, Any]:
    """Return the fields of a message with texts that WhatsApp takes; what is of a wrong shape stays so."""
    found = dict(fields)
    header = found.get("header")
    if isinstance(header, Mapping):
        if "text" in header:
            found["header"] = {**header, "text": clean_text(header["text"], HEADER_LIMIT)}
    elif header is not None and not isinstance(header, list | tuple):
        found["header"] = clean_text(header, HEADER_LIMIT)
    body = found.get("body")
    if isinstance(body, list | tuple | Mapping):
        values = body.values() if isinstance(body, Mapping) else body
        texts = [clean_text(value, max_length) for value in values]
        texts = cut_together(texts, max(BODY_BUDGET, max_length))
        found["body"] = dict(zip(body, texts, strict=True)) if isinstance(body, Mapping) else texts
    if isinstance(found.get("buttons"), list | tuple):
        found["buttons"] = [
            {**button, "text": clean_text(button["text"], URL_SUFFIX_LIMIT)}
            if isinstance(button, Mapping) and button.get("type") == "url" and "text" in button
            else button
            for button in found["buttons"]
        ]
    return found


def masked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the texts of a notice as Airflow's log shows them: exceptions quote passwords, and it knows these."""
    from airflow.providers.common.compat.sdk import redact

    # The code is what the message is for.
    kept = ("authentication_code", "object_data", "template", "language")

    def hide(value: Any) -> Any:
        # Text by text: of a dict, Airflow would hide whatever stands under a name such as "token".
        if isinstance(value, Mapping):
            return {key: hide(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [hide(inner) for inner in value]
        return value if value is None or isinstance(value, bool | int | float) else redact(str(value))

    return {name: value if name in kept else hide(value) for name, value in fields.items()}
