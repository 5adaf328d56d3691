"""Whatever comes in from outside: one clear error or a result that adds up; never a crash, never a message less."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cirrus.api import wire
from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.exchange import Response
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery import deliver
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.rows import RejectedRow
from airflow_provider_cirrus.delivery.ledger import state_log
from airflow_provider_cirrus.delivery.ledger.base import Entry
from airflow_provider_cirrus.delivery.report import page
from airflow_provider_cirrus.delivery.report.formats import Line
from airflow_provider_cirrus.delivery.report.writer import ReportFile

MESSAGES = [
    Message.build(f"4477009001{place:02d}", {"name": "order_update", "language": "en"}) for place in (1, 2, 2, 3)
]
texts = st.text(max_size=40)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "recipient": st.one_of(st.sampled_from([message.to for message in MESSAGES]), values),
        "status": st.one_of(st.sampled_from([200, 400, "200", "400"]), values),
        "id": values,
        "object_id": values,
        "failed": st.one_of(st.sampled_from(["(#130429) Rate limit", {"code": 131026}]), values),
    },
)
bodies = st.one_of(
    st.binary(max_size=200),
    values.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda data, more: json.dumps({"data": data, **more}).encode(),
        st.lists(st.one_of(entries, values), max_size=6),
        st.dictionaries(st.sampled_from(["status", "description", "message"]), values, max_size=3),
    ),
)
statuses = st.sampled_from([200, 206, 400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 302, 418])
headers = st.dictionaries(st.sampled_from(["Retry-After", "Date", "Content-Type"]), texts, max_size=3)


@given(statuses, headers, bodies)
@settings(max_examples=400, deadline=None)
def test_every_message_has_an_outcome_whatever_the_server_answers(
    status: int, given_headers: dict[str, str], body: bytes
) -> None:
    response = Response(status, given_headers, body)
    try:
        found = wire.read_send(MESSAGES, response)
    except CirrusError as error:
        found = wire.failed_send(MESSAGES, error)
    assert [one.recipient for one in found.results] == [message.to for message in MESSAGES]
    assert all(isinstance(one.outcome, Outcome) for one in found.results)
    for one in found.results:
        # What a database and every file can hold.
        json.dumps(one.as_dict()).encode()
        (one.reason or "").encode()


@pytest.mark.parametrize(
    "read",
    [wire.read_upload, wire.read_campaign, wire.read_validate, wire.read_conversation, wire.read_conversations],
)
@given(statuses, bodies)
@settings(max_examples=150, deadline=None)
def test_other_answers_are_read_or_refused(read: Any, status: int, body: bytes) -> None:
    try:
        read(Response(status, {}, body))
    except CirrusError as error:
        str(error).encode()


def counted(path: Path) -> Counter[str]:
    """What an audience comes to, row by row; raises CirrusError where it is none."""
    columns = Columns(to="phone", body=["name"])
    messages, _ = deliver.messages_of({"template": "hello", "language": "en"}, audience=str(path), columns=columns)
    return Counter("row" if isinstance(one, RejectedRow) else "message" for _, one in messages)


@given(st.lists(st.tuples(st.one_of(st.just("+447700900101"), texts), texts), max_size=8), st.sampled_from(",;\t|"))
@settings(max_examples=150, deadline=None)
def test_every_row_of_a_csv_counts(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "audience.csv"
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    # What no file can hold is not the reader's to read.
    kept = [tuple(cell.replace("\0", "").encode("utf-8", "replace").decode() for cell in row) for row in rows]
    writer.writerows([("phone", "name"), *kept])
    path.write_bytes(out.getvalue().encode())
    if delimiter == ",":
        assert counted(path).total() >= len(kept)
    else:
        with pytest.raises(CirrusError, match="delimiter="):
            counted(path)
    columns = Columns(to="phone", body=["name"], delimiter=delimiter)
    messages, _ = deliver.messages_of({"template": "hello", "language": "en"}, audience=str(path), columns=columns)
    # A cell that holds what may be rows of its own counts for as many: each of them may be somebody.
    assert sum(1 for _ in messages) >= len(kept)


endings = st.sampled_from([".csv", ".jsonl", ".csv.gz", ".jsonl.gz", ".parquet", ".xlsx"])


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=400).map(gzip.compress)), endings)
@settings(max_examples=200, deadline=None)
def test_a_file_of_anything_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / f"audience{ending}"
    path.write_bytes(content)
    try:
        counted(path)
    except CirrusError as error:
        str(error).encode()


@given(st.lists(values, max_size=6))
@settings(max_examples=150, deadline=None)
def test_every_line_of_json_counts(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "audience.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        found = counted(path)
    except CirrusError:
        return
    assert found.total() == len(rows)


keys = st.binary(min_size=12, max_size=12)
kept = st.builds(
    Entry,
    st.sampled_from([Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN, Outcome.UNSENT]),
    st.one_of(st.none(), texts),
    st.one_of(st.none(), texts),
    st.one_of(st.none(), st.integers(0, 2**31)),
    st.one_of(st.none(), texts),
    st.integers(1, 9),
    st.floats(1e9, 2e9).map(lambda at: round(at, 1)),
)


@given(st.lists(keys, min_size=1, max_size=6, unique=True), st.data())
@settings(max_examples=150, deadline=None)
def test_a_segment_says_what_was_written_or_that_it_is_broken(intents: list[bytes], data: st.DataObject) -> None:
    outcomes = [(key, data.draw(kept)) for key in intents]
    places = state_log.Places()
    items = places.items(intents, [])
    places.take(intents, [])
    items = [*items, *places.items([], outcomes)]
    value = json.loads(json.dumps(state_log.pack("s1", state_log.log_of(items))))
    reading = state_log.Reading()
    found = dict(reading.entries(state_log.unpack("s1", value)))
    assert {key: entry.outcome for key, entry in found.items()} == {key: entry.outcome for key, entry in outcomes}
    # Any other value under the same name: what is found then is an error, and never another past.
    spoiled = data.draw(values)
    name = data.draw(st.sampled_from(sorted(value)))
    if value[name] == spoiled and type(value[name]) is type(spoiled):
        return
    try:
        again = state_log.unpack("s1", {**value, name: spoiled})
    except CirrusError:
        return
    assert list(state_log.Reading().entries(again)) == list(state_log.Reading().entries(state_log.unpack("s1", value)))


@given(st.binary(max_size=300), st.sampled_from([".csv", ".jsonl", ".parquet"]))
@settings(max_examples=120, deadline=None)
def test_a_report_that_is_none_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / f"report{ending}"
    path.write_bytes(content)
    try:
        page.page_of(str(path))
    except CirrusError as error:
        str(error).encode()


@given(st.lists(texts, min_size=1, max_size=5), st.sampled_from([".csv", ".jsonl"]))
@settings(max_examples=80, deadline=None)
def test_what_is_reported_is_counted_again(
    tmp_path_factory: pytest.TempPathFactory, said: list[str], ending: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / f"report{ending}"
    with ReportFile(str(path)) as report:
        report.write(
            [
                Line(place, f"4477009001{place:02d}", "00", Outcome.REJECTED, None, None, None, reason, 1, 1.7e9)
                for place, reason in enumerate(said)
            ]
        )
    assert f"{len(said)}" in page.page_of(str(path))
