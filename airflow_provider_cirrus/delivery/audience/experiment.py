"""Who gets which variant of a message, and who gets none, by a hash that is the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import account_of
from airflow_provider_cirrus.arguments import from_names
from airflow_provider_cirrus.delivery.audience.fields import TEMPLATE_FIELDS

#: The variant of those who get nothing.
HOLDOUT = "holdout"
_MOST, _LONGEST = 20, 60
_HINT = 'Such as Experiment("summer", variants={"a": {}, "b": {"template": "summer_short"}}, holdout=0.1).'


@dataclass(frozen=True)
class Experiment:
    """
    Variants of a message, each for a part of the audience; and a part that gets none, to compare with.

    Who gets which is decided by a hash of the account and of the name: in every run, on every machine and in every
    shard the same, and in an experiment of another name another. A variant that is added or reweighted moves people.

    :ivar name: of the experiment; it salts the hash
    :ivar variants: what each has in place of what all messages share: ``template``, ``language``, ``header``, ``body``,
        ``buttons``, ``components``; ``{}`` changes nothing
    :ivar weights: how many of each, as numbers above 0 by the variants' names; None: as many of each
    :ivar holdout: share of the audience that gets nothing, from 0 to below 1
    """

    name: str
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: Mapping[str, float] | None = None
    holdout: float = 0.0

    @classmethod
    def of(cls, value: Any) -> Experiment:
        """
        Return an experiment from what an argument may hold.

        :param value: one, or a dict of its arguments
        :raises InvalidInput: anything else, or parts that are none
        """
        made = from_names(cls, value, "experiment", needed=("name",), hint=_HINT)
        made._check()
        return made

    def _check(self) -> None:
        if not (isinstance(self.name, str) and 0 < len(self.name) <= 200):
            raise InvalidInput("experiment.name", "is no text of 1 to 200 characters.", hint=_HINT)
        if not isinstance(self.variants, Mapping) or len(self.variants) > _MOST:
            raise InvalidInput("experiment.variants", f"is no dict of up to {_MOST} variants.", hint=_HINT)
        for name, changes in self.variants.items():
            where = f"experiment.variants[{name!r:.60}]"
            if not (isinstance(name, str) and 0 < len(name) <= _LONGEST) or name == HOLDOUT:
                raise InvalidInput(where, f"is no name of 1 to {_LONGEST} characters, other than {HOLDOUT!r}.")
            if not isinstance(changes, Mapping):
                raise InvalidInput(where, f"is of type {type(changes).__name__}.", hint=_HINT)
            if strange := [one for one in changes if one not in TEMPLATE_FIELDS]:
                raise InvalidInput(
                    where, f"has {str(strange[0])[:40]!r}.", hint=f"A variant may have {', '.join(TEMPLATE_FIELDS)}."
                )
        _check_share(self.holdout)
        if not self.variants and not self.holdout:
            raise InvalidInput("experiment", "has neither variants nor a holdout.", hint=_HINT)
        if self.weights is not None:
            self._check_weights(self.weights)

    def _check_weights(self, weights: Any) -> None:
        if not isinstance(weights, Mapping) or set(weights) != set(self.variants):
            raise InvalidInput("experiment.weights", "has not exactly the names of the variants.", hint=_HINT)
        for name, weight in weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1e9:
                raise InvalidInput(f"experiment.weights[{name!r:.60}]", f"{weight!r:.40} is no number above 0.")

    def variant_of(self, digits: str) -> str:
        """
        Return the variant of a recipient; :data:`HOLDOUT` of those who get nothing, empty where there are none.

        :param digits: as :func:`~airflow_provider_cirrus.api.phone.to_digits` returns them; both spellings of an
            account have the same
        """
        hashed = hashlib.blake2b(account_of(digits).encode(), digest_size=8, key=self._salt).digest()
        # From 0 to below 1; 53 bits are what a float has.
        place = (int.from_bytes(hashed, "big") >> 11) / 2**53
        for name, end in self._ends:
            if place < end:
                return name
        return self._ends[-1][0] if self.variants else ""

    @cached_property
    def _salt(self) -> bytes:
        return hashlib.blake2b(
            self.name.encode("utf-8", "surrogatepass"), digest_size=16, person=b"experiment"
        ).digest()

    @cached_property
    def _ends(self) -> list[tuple[str, float]]:
        ends = [(HOLDOUT, float(self.holdout))]
        weights = self.weights or dict.fromkeys(self.variants, 1.0)
        total, so_far = sum(weights.values()), 0.0
        for name in self.variants:
            so_far += weights[name]
            ends.append((name, self.holdout + (1 - self.holdout) * so_far / total))
        return ends

    def held_out(self, digits: str) -> str | None:
        """Return why somebody gets nothing, for the outcome; None where they get their variant."""
        return f"{HOLDOUT}: held out of {self.name!r}" if self.variant_of(digits) == HOLDOUT else None


def _check_share(share: Any) -> None:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise InvalidInput("experiment.holdout", f"{share!r:.40} is no share from 0 to below 1.", hint=_HINT)
