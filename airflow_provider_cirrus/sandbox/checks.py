"""The numbers that were checked: whom a real account would be banned for."""

from __future__ import annotations

from typing import Any


class Checks:
    """Numbers that were checked, how often, and whether they were messaged afterwards."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, Any]] = {}

    def checked(self, number: str) -> None:
        """Record that a number was checked."""
        known = self._numbers.setdefault(number, {"number": number, "asked": 0, "messaged": False})
        known["asked"] += 1

    def messaged(self, number: str) -> None:
        """Record that a number was messaged."""
        if number in self._numbers:
            self._numbers[number]["messaged"] = True

    def warnings(self) -> list[dict[str, Any]]:
        """Return those that would endanger a real account, with the reason."""
        found = []
        for known in self._numbers.values():
            reasons = [f"checked {known['asked']} times"] if known["asked"] > 1 else []
            reasons += [] if known["messaged"] else ["checked but not messaged afterwards"]
            if reasons:
                found.append({**known, "warning": "; ".join(reasons)})
        return found
