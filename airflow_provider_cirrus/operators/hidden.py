"""What Airflow shows of an argument is not what is sent: numbers are masked there, and codes are not shown at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

#: Names under which a code stands that is nobody's but its recipient's.
_SECRET = "authentication_code"  # noqa: S105  (the name, not the code)
#: What stands for one.
STARS = "***"


class Hidden:
    """
    The value of an argument, which Airflow shows and keeps masked.

    Airflow serialises what is no plain value by ``serialize``, and 2.11 by ``str``.

    :ivar value: what is sent
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any, *, is_secret: bool = False, shows: Callable[[], bool] | None = None) -> None:
        self.value = value
        self._is_secret = is_secret
        self._shows = shows

    def serialize(self) -> Any:
        """Return what Airflow may show."""
        if self._is_secret:
            return STARS
        found = plain_or_shown(self.value) if self._shows is not None and self._shows() else masked(self.value)
        # Airflow 3.0 asks for its length.
        return found if isinstance(found, str | list | dict) else str(found)

    def __str__(self) -> str:
        return str(self.serialize())

    def __repr__(self) -> str:
        return f"Hidden({self.serialize()!r})"

    def __eq__(self, other: object) -> bool:
        return bool(self.value == unhidden(other))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.value)

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]


def unhidden(value: Any) -> Any:
    """Return what is sent."""
    return value.value if isinstance(value, Hidden) else value


def plain_or_shown(value: Any) -> Any:
    """Return a value as JSON has it; what JSON does not know as text."""
    if isinstance(value, Mapping):
        return {str(key): plain_or_shown(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [plain_or_shown(inner) for inner in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def masked(value: Any) -> Any:
    """
    Return a value as it may be shown: every phone number in it masked, and codes not at all.

    :param value: a number, a list of them, messages, rows or rules; a frame is told by its kind
    """
    # Late, as a DAG file imports the operators, and the parser shows nothing.
    from airflow_provider_cirrus.api.phone import could_be_number, mask, mask_all
    from airflow_provider_cirrus.api.values import plain

    if isinstance(value, Mapping):
        return {
            str(key): STARS if key == _SECRET and inner is not None else masked(inner) for key, inner in value.items()
        }
    if isinstance(value, list | tuple | AbstractSet):
        return [masked(inner) for inner in value]
    value = plain(value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return mask(str(value)) if could_be_number(str(value)) else value
    if isinstance(value, str):
        if not any(map(str.isalpha, value)):
            return mask(value) if could_be_number(value) else value
        # A path's dates are no numbers.
        return value if "/" in value and " " not in value else mask_all(value)
    return f"<{type(value).__name__}>" if not hasattr(value, "__fspath__") else str(value)
