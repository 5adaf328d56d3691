"""The calls that read: contact validation, conversations, availability, status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox.answers import Answer, bad_request
from airflow_provider_cirrus.sandbox.shapes import is_number
from airflow_provider_cirrus.sandbox.suffixes import suffix_of

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.conversations import Conversations
    from airflow_provider_cirrus.sandbox.routes import Route
    from airflow_provider_cirrus.sandbox.settings import Settings
    from airflow_provider_cirrus.sandbox.store import Store


class Reader:
    """Serves the calls that read."""

    def __init__(self, settings: Settings, store: Store, conversations: Conversations) -> None:
        self._settings = settings
        self._store = store
        self._conversations = conversations

    def answer(self, route: Route, query: dict[str, str], request: int, *, older_contacts: bool) -> Answer:
        """
        Answer one call.

        :param query: the query parameters, decoded.
        :param request: the number of the request.
        :param older_contacts: answer a validation as older deployments do.
        """
        if route.operation == "validate":
            older = older_contacts or self._settings.contact_format == "contacts"
            return self._validate(route.item, request, older=older)
        if route.operation == "object":
            found = self._conversations.get(route.item, query.get("includeChilds") == "true")
            if found is None:
                return Answer(404, description=f"No object {route.item!r}.", page=True)
            return Answer(200, [found])
        if route.operation == "objects":
            return self._objects(query)
        if route.operation == "availability":
            # The data of this call and the next are not documented; only the envelope is to be relied on.
            return Answer(200, {"isAvailable": True})
        return Answer(200, {"systemStatus": "up"})

    def _validate(self, number: str, request: int, *, older: bool) -> Answer:
        if not is_number(number):
            return bad_request("PHONE_NUMBER must be 8 to 15 digits with country code: no '+', no leading 0")
        valid = suffix_of(number).valid
        self._store.add_validation(number, valid, request)
        if not older:
            return Answer(200, {"valid": valid})
        contact: dict[str, Any] = {"input": number, "status": "valid" if valid else "invalid"}
        if valid:
            contact["wa_id"] = number
        return Answer(200, {"contacts": [contact]})

    def _objects(self, query: dict[str, str]) -> Answer:
        span = []
        for name in ("unixStartTime", "unixEndTime"):
            text = query.get(name)
            if text is None:
                return bad_request(f"Missing parameter {name}")
            if not text.isascii() or not text.isdigit() or len(text) > 10:
                return bad_request(f"{name} must be Unix seconds")
            span.append(int(text))
        return Answer(200, self._conversations.between(*span))
