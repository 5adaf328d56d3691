"""Messages as their recipients see them: bubbles with the template filled in, where it is defined."""

from __future__ import annotations

from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cirrus.templates.render import ButtonPreview, HeaderPreview, Preview
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

    def preview(self, message: dict[str, Any]) -> Preview | str | None:
        """
        Return what the recipient of a message sees.

        :param message: as the store keeps it
        :return: None where its template is not defined; a text where the definition cannot be read, which says why
        """
        if self._folder is None:
            return None
        # Late, as above.
        from airflow_provider_cirrus.api.errors import InvalidInput
        from airflow_provider_cirrus.templates.render import render

        try:
            definition = self._templates.find(message["template"], message["language"])
        except InvalidInput as error:
            return str(error)
        return None if definition is None else render(definition, message["components"])

    def text(self, message: dict[str, Any]) -> str | None:
        """Return it as text; None where it is not known."""
        found = self.preview(message)
        return None if found is None or isinstance(found, str) else found.text()

    def html(self, message: dict[str, Any], answer_at: str | None = None) -> str | None:
        """
        Return it as an element; None where it is not known. Every character of a message is escaped.

        :param answer_at: where a quick reply is posted to; None: its buttons cannot be pressed
        """
        found = self.preview(message)
        if found is None:
            return None
        if isinstance(found, str):
            return f'<p class="problem">{escape(found)}</p>'
        # Each part finds its own direction: a name in Hebrew turns no English sentence.
        direction = "rtl" if found.is_right_to_left else "ltr"
        return f'<div class="bubble" dir="{direction}">{_inside(found, answer_at)}</div>'


def _inside(preview: Preview, answer_at: str | None) -> str:
    from airflow_provider_cirrus.templates.markup import to_html

    parts = [] if preview.header is None else [_header(preview.header)]
    parts += [f'<div class="offer">{escape(preview.offer)}</div>'] if preview.offer else []
    parts += [f'<div class="body">{to_html(preview.body)}</div>'] if preview.body else []
    parts += [f'<div class="footer">{escape(preview.footer)}</div>'] if preview.footer else []
    parts += [_button(button, answer_at) for button in preview.buttons]
    if preview.cards:
        parts.append(
            '<div class="cards">' + "".join(f'<div class="card">{_inside(c, answer_at)}</div>' for c in preview.cards)
        )
        parts.append("</div>")
    return "".join(parts)


def _header(header: HeaderPreview) -> str:
    if header.kind == "text":
        return f'<div class="header"><bdi>{escape(header.text)}</bdi></div>'
    name = header.filename or header.source
    return f'<div class="media">{escape(header.kind)} <bdi>{escape(name)}</bdi></div>'


def _button(button: ButtonPreview, answer_at: str | None) -> str:
    if answer_at is not None and button.kind == "quick_reply":
        label = escape(button.label)
        return (
            f'<form class="button" method="post" action="{escape(answer_at)}">'
            f'<button name="text" value="{label}"><bdi>{label}</bdi></button></form>'
        )
    value = f" <small><bdi>{escape(button.value)}</bdi></small>" if button.value else ""
    return f'<div class="button"><bdi>{escape(button.label)}</bdi>{value}</div>'
