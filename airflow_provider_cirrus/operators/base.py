"""What all operators share: connection, stream and retry policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseOperator

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.arguments import is_literal
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.operators.hidden import Hidden
from airflow_provider_cirrus.retries import policy_or_default

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.delivery.options import Rules


class CirrusOperator(BaseOperator):
    """
    Base of all operators.

    :param stream: name of a stream in the connection, or an encrypted stream id; None: the connection's own
    :param cirrus_conn_id: the connection
    """

    ui_color = "#dcf8c6"

    #: Arguments that hold somebody's number, or a code: Airflow shows and keeps them masked. docs/privacy.md
    hidden_fields: ClassVar[Sequence[str]] = ()

    #: Arguments in which a template that renders to None is an error.
    text_fields: ClassVar[Sequence[str]] = ()

    _is_made = False

    def __init__(
        self, *, stream: str | None = None, cirrus_conn_id: str | None = CirrusHook.default_conn_name, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        # Only now it is known whether the DAG has one in its default_args. Airflow before 3.3 has none at all.
        if getattr(self, "retry_policy", self) is None:
            self.retry_policy = policy_or_default(None)
        self.stream = stream
        # What is given as None, in a mapped task or by a template, is not given.
        self.cirrus_conn_id = CirrusHook.default_conn_name if cirrus_conn_id is None else cirrus_conn_id

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Return what :meth:`expand` maps; a code that is written out is in no serialised DAG here either."""
        return super().partial(**{name: cls._hidden(name, value) for name, value in kwargs.items()})

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a value; in a text that somebody reads, None is an error: Jinja would write the word."""
        own = self.__dict__
        name = next((name for name in self.text_fields if content is own.get(name) and content is not None), None)
        if name is None:
            return super().render_template(content, context, jinja_env, seen_oids)
        env = jinja_env or self.get_template_env()
        # A whole argument that is None, in a DAG of native objects, is one that is not given.
        if not (isinstance(content, str) and _is_native(env)):
            env = env.overlay(finalize=_not_none(name))
        return super().render_template(content, context, env, seen_oids)

    def __setattr__(self, key: str, value: Any) -> None:
        value = self._hidden(key, value)
        if key in self.hidden_fields and not isinstance(value, Hidden | bool | None) and self._is_rendered:
            value = Hidden(value, shows=self._shows_recipients)
        super().__setattr__(key, value)

    @classmethod
    def _hidden(cls, name: str, value: Any) -> Any:
        """Return the value of an argument, hidden where it is a code that is written out."""
        is_code = name == "authentication_code" and name in cls.hidden_fields
        if is_code and not isinstance(value, Hidden | bool | None) and is_literal(value):
            return Hidden(value, is_secret=True)
        return value

    @contextmanager
    def _checking(self) -> Iterator[None]:
        """
        Check what is written out, the last thing in making an operator: a slip fails the parse of the DAG file.

        Of a mapped task it shows when the task runs, and then no retry would mend it.
        """
        try:
            yield
            self._is_made = True
        except InvalidInput as error:
            if self.__dict__.get("_BaseOperator__from_mapped"):
                raise AirflowFailException(f"{error} Nothing was sent.") from error
            raise

    @property
    def _is_rendered(self) -> bool:
        """Whether what is set now comes from rendering: in the copy that runs, or in a mapped task after it is made."""
        own = self.__dict__
        return bool(own.get("_lock_for_execution") or (own.get("_BaseOperator__from_mapped") and own.get("_is_made")))

    def _shows_recipients(self) -> bool:
        try:
            return self.hook.show_recipients
        except (CirrusError, AirflowException):
            # The connection cannot be had, or says something else that is wrong: the send tells it.
            return False

    @cached_property
    def hook(self) -> CirrusHook:
        """The hook for the connection and the stream."""
        return CirrusHook(self.cirrus_conn_id, self.stream)


def _not_none(field: str) -> Callable[[Any], Any]:
    """
    Return what Jinja asks of each value before it writes it.

    :param field: how errors name the argument
    """

    def finalize(value: Any) -> Any:
        if value is None:
            raise AirflowFailException(
                f"{field}: a template in it renders to None, and the message would hold that word. Write what stands "
                "there then, such as {{ value or '-' }}. Nothing was sent."
            )
        return value

    return finalize


def _is_native(env: Any) -> bool:
    """Return whether an environment renders to objects rather than to texts."""
    from jinja2.nativetypes import NativeEnvironment

    return isinstance(env, NativeEnvironment)


def with_any_category(rules: Rules) -> Rules:
    """
    Return rules with a category that their opt-in knows, where they have none.

    For checking them while a DAG is parsed: the category is that of a definition which is not read yet.
    """
    if rules.category is not None or rules.opt_in is None or not is_literal(rules.opt_in):
        return rules
    # Late, as few opt-ins differ by category.
    from airflow_provider_cirrus.delivery.rules.consent import OptIn

    known = OptIn.of(rules.opt_in).by_category
    return replace(rules, category=next(iter(known))) if known else rules
