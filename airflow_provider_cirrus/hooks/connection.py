"""From an Airflow connection to what a client, a ledger and a send are made with; shared by the sync and async ways."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.text import closest
from airflow_provider_cirrus.delivery.options import Delivery, Options, options_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

# Encrypted ids look like this, with what base64 fills up with; anything else given as a stream is a name, or a slip in
# one. Without the filling it takes 20 characters, and small and capital letters and digits among them: no name has all.
_STREAM_ID = re.compile(
    r"[A-Za-z0-9_+/\-]{16,}(={1,2}|(%3[dD]){1,2})|.*%[0-9A-Fa-f]{2}.*"
    r"|(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9_+/\-]{20,}"
)


def ledger_conn_id_of(extra: Mapping[str, Any]) -> str | None:
    """
    Return the connection of the database that remembers.

    :raises InvalidInput: what stands there is no id
    """
    value = extra.get("ledger_conn_id")
    if value in (None, ""):
        return connection_options(extra, Delivery, "delivery").ledger_conn_id
    if not isinstance(value, str) or value != value.strip():
        raise InvalidInput("ledger_conn_id", f"{value!r} is no id of a connection.")
    return value


def connection_options(extra: Mapping[str, Any], kind: type[Options], name: str) -> Options:
    """
    Return the options that a connection gives to every send.

    :param extra: of the connection
    :param kind: ``Rules`` or ``Delivery``
    :param name: under which they stand there
    :raises InvalidInput: they are none
    """
    value = extra.get(name)
    if isinstance(value, str):
        # As forms and connection URIs hold it.
        try:
            value = json.loads(value) if value.strip() else None
        except ValueError:
            raise InvalidInput(name, "in the connection is no JSON object.", hint='Write {"…": …}.') from None
    options = options_of(kind, value, name)
    options.check()
    return options


def task_scope(ti: Any) -> str:
    """Return what is the same for all tries of one task and no other."""
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"


def _streams(value: Any) -> dict[str, str]:
    if not value:
        return {}
    if isinstance(value, str):
        # The forms of Airflow 2.11 to 3.1, and connection URIs, hold it as text.
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, Mapping) or not all(isinstance(stream, str) and stream for stream in value.values()):
        raise InvalidInput(
            "streams", "is no JSON object of names and ids.", hint='Write {"support": "<encrypted ID>"}.'
        )
    return dict(value)


def _base_url(connection: Connection) -> str | None:
    # Late, as a DAG file imports this module, and needs no address.
    from airflow_provider_cirrus.api.endpoint import is_loopback

    if not connection.host:
        return None
    host: str = connection.host.strip()
    if "://" not in host:
        # A connection URI holds the scheme as its path: cirrus://:token@127.0.0.1:8787/http
        bare = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        if not connection.schema and is_loopback(_name_in(bare)):
            raise InvalidInput(
                "host",
                f"{host!r} has no scheme.",
                hint="Write http:// before it for a server of this machine without TLS, such as the sandbox, or "
                "https://.",
            )
        host = f"{connection.schema or 'https'}://{bare}"
    return _with_port(host, connection.port) if connection.port else host


def _name_in(place: str) -> str:
    """Return the host's name without port and path; nothing where it cannot be read, which the client refuses."""
    try:
        return urlsplit(f"//{place}").hostname or ""
    except ValueError:
        return ""


def _with_port(url: str, port: int) -> str:
    """Return an address with a port behind its host, wherever the path begins."""
    try:
        parts = urlsplit(url)
        own = parts.port
    except ValueError:
        raise InvalidInput("host", "is no address that can be read.") from None
    if own is not None and own != port:
        raise InvalidInput("port", f"{port} is another than that of the host, {own}.", hint="Give one of them.")
    place = parts.netloc if own is not None else f"{parts.netloc}:{port}"
    return urlunsplit(parts._replace(netloc=place)).rstrip("/")


def database_url(connection: Connection, field: str = "ledger_conn_id", *, may_be_relative: bool = False) -> str:
    """
    Return the SQLAlchemy URL of a connection to one of the databases that a ledger can be in.

    :param field: how errors name the connection
    :param may_be_relative: whether a SQLite file may be another one in each working directory: not where something
        is to be remembered
    :raises InvalidInput: a connection of another type, or a SQLite file without an absolute path
    """
    from os.path import isabs

    from sqlalchemy.engine import URL

    drivers = {"sqlite": "sqlite", "postgres": "postgresql", "mysql": "mysql"}
    if connection.conn_type not in drivers:
        raise InvalidInput(
            field,
            f"leads to a connection of type {connection.conn_type!r}.",
            hint="Use SQLite, PostgreSQL or MySQL.",
        )
    if connection.conn_type == "sqlite":
        path = connection.host or connection.schema or ""
        if not may_be_relative and not isabs(path):
            raise InvalidInput(
                field,
                f"leads to a SQLite file by the relative path {path!r}: a worker that starts in another folder would "
                "find another ledger, and send everything again."
                if path not in ("", ":memory:")
                else "leads to a SQLite database that ends with the process: nothing would be remembered.",
                hint="Give the whole path, as in sqlite:////srv/airflow/ledger.db (with four slashes in a URI).",
            )
        return f"sqlite:///{path}"
    url = URL.create(
        drivers[connection.conn_type],
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
        query={name: value for name, value in connection.extra_dejson.items() if name.startswith("ssl")},
    )
    return url.render_as_string(hide_password=False)


def _number(value: Any, field: str) -> float | None:
    if value in (None, ""):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidInput(field, f"{value!r} is no number of seconds.") from None


def client_options(
    connection: Connection, extra: Mapping[str, Any], conn_id: str, stream: str | None
) -> dict[str, Any]:
    """
    Return the client's arguments: the argument first, then the connection's extra, then the client's default.

    :param extra: of the connection
    :param conn_id: how errors name the connection
    :param stream: name or id of a stream; None: the connection's own
    :raises InvalidInput: the connection lacks something, or something in it cannot be right
    """
    if not connection.password:
        raise InvalidInput(
            "token",
            f"is missing in connection {conn_id!r}.",
            hint="Put the API token into the connection's password.",
        )
    options = {
        "token": connection.password,
        "stream_id": _stream_id(extra, conn_id, stream),
        "base_url": _base_url(connection),
        "api_version": extra.get("api_version") or None,
        "timeout": _number(extra.get("timeout"), "timeout"),
        "baggage": _baggage() or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def _baggage() -> dict[str, str]:
    """Return of which task this is: Airflow says so in the environment of every task."""
    said = {"airflow.dag_id": "DAG_ID", "airflow.run_id": "DAG_RUN_ID", "airflow.task_id": "TASK_ID"}
    found = {name: os.environ.get(f"AIRFLOW_CTX_{variable}", "") for name, variable in said.items()}
    return {name: value for name, value in found.items() if value}


def _stream_id(extra: Mapping[str, Any], conn_id: str, stream: str | None) -> str:
    if not isinstance(stream, str | None):
        raise InvalidInput("stream", f"is of type {type(stream).__name__}.", hint="Give a stream's name or id as text.")
    streams = _streams(extra.get("streams"))
    where = f"connection {conn_id!r}"
    known = f"Known streams: {', '.join(sorted(streams))}." if streams else f"{where} names no streams."
    if not stream:
        stream_id = extra.get("stream_id")
        if not stream_id:
            raise InvalidInput(
                "stream",
                f"is missing: {where} has no stream_id.",
                hint=f"Put the encrypted stream id into the connection's extra, or pass stream=. {known}",
            )
        return str(stream_id)
    if stream in streams:
        return streams[stream]
    close = closest(stream, streams, cutoff=0.75)
    if _STREAM_ID.fullmatch(stream) and close is None:
        return stream
    meant = "" if close is None else f" Did you mean {close!r}?"
    raise InvalidInput("stream", f"{stream!r} is neither a name in {where} nor an id.", hint=f"{known}{meant}")
