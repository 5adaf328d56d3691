"""A state store for tests: what Airflow's keeps, without an Airflow."""

from __future__ import annotations

import json
from typing import Any


class Store(dict[str, Any]):
    """JSON values under short ASCII keys."""

    def set(self, key: str, value: Any) -> None:
        assert key.isascii()
        assert value is not None
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)
