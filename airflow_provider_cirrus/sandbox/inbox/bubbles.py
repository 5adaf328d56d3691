"""Messages as their recipients see them: with the template filled in, where it is defined."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.records import MessageRecord
    from airflow_provider_cirrus.templates.render import Preview
    from airflow_provider_cirrus.templates.store import Templates


class Bubbles:
    """
    Shows messages by the definitions of a folder, as they are when they are first needed; without one, shows none.

    :param folder: of the definitions
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder

    @cached_property
    def _templates(self) -> Templates:
        # Late: without definitions the sandbox stands on its own, so that it cannot share the client's mistakes.
        from airflow_provider_cirrus.templates.store import Templates

        assert self._folder is not None
        return Templates(self._folder)

    def preview(self, message: MessageRecord, language: str | None = None) -> Preview | str | None:
        """
        Return what the recipient of a message sees.

        :param language: as if it were sent in this one; None: in its own
        :return: None where its template is not defined; a text where the definition cannot be read, which says why
        """
        if self._folder is None:
            return None
        # Late, as above.
        from airflow_provider_cirrus.api.errors import InvalidInput
        from airflow_provider_cirrus.templates.render import render

        try:
            definition = self._templates.find(message.template, language or message.language)
        except InvalidInput as error:
            return str(error)
        return None if definition is None else render(definition, message.components)

    def languages(self, message: MessageRecord) -> list[str]:
        """Return the languages in which a message's template is defined, its own first."""
        if self._folder is None:
            return []
        # Late, as above.
        from airflow_provider_cirrus.api.errors import InvalidInput

        try:
            defined = self._templates.languages_of(message.template)
        except InvalidInput:
            # A file that cannot be read may define any of them: the message itself shows why.
            return []
        return sorted(defined, key=lambda one: (one != message.language, one))

    def text(self, message: MessageRecord) -> str | None:
        """Return it as text; None where it is not known."""
        found = self.preview(message)
        return None if found is None or isinstance(found, str) else found.text()

    def seen(self, record: MessageRecord) -> str:
        """Return it as text, remembered as long as the definition stays; nothing where it is not known."""
        if self._folder is None:
            return ""
        # Late, as above.
        from airflow_provider_cirrus.api.errors import InvalidInput
        from airflow_provider_cirrus.templates.render import render

        try:
            definition = self._templates.find(record.template, record.language)
        except InvalidInput:
            return ""
        if definition is None:
            return ""
        if record.seen is None or record.seen[0] is not definition:
            record.seen = definition, render(definition, record.components).text()
        return record.seen[1]
