from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.contact_lists.spec import ConsentRecord, FileNumbers
from airflow_provider_cirrus.delivery.errors import LookupFailed
from airflow_provider_cirrus.delivery.rules.consent import Consent, OptIn, Suppression
from tests.unit.delivery.people import ANN, BOB, CAT, NONE, checked


def test_suppression_goes_before_opt_in() -> None:
    found = checked(Consent([ANN, BOB], {BOB, CAT}), ANN, BOB, CAT, "447700900104")
    assert found == [ConsentRecord(), "suppression: on the list", "suppression: on the list", NONE]


def test_an_argentine_number_is_suppressed_in_either_spelling_and_opted_in_in_its_own_alone() -> None:
    """Both are valid numbers; that WhatsApp may have one account for them goes to the safe side."""
    plain, mobile = "541123456789", "5491123456789"
    assert checked(Consent(suppression=[plain]), plain, mobile) == ["suppression: on the list"] * 2
    assert checked(Consent(suppression=[mobile]), plain, mobile) == ["suppression: on the list"] * 2
    assert checked(Consent([mobile]), plain, mobile) == [NONE, ConsentRecord()]


def test_a_landline_and_a_mobile_of_brazil_are_two_people() -> None:
    mobile, landline = "5511934567890", "551134567890"
    assert checked(Consent([mobile]), mobile, landline) == [ConsentRecord(), NONE]
    assert checked(Consent(suppression=[landline]), mobile, landline) == [ConsentRecord(), "suppression: on the list"]


def test_without_any_rule_everybody_passes() -> None:
    assert checked(Consent(), ANN) == [ConsentRecord()]


@pytest.mark.parametrize(
    ("value", "where"),
    [
        pytest.param([ANN, "07700 900123"], r"opt_in\[1\]: has no country code.*\+07", id="list"),
        pytest.param({"nobody"}, "opt_in, an entry: holds a letter", id="set"),
        pytest.param(True, "opt_in: is of type bool", id="bool"),
        pytest.param("", "opt_in: is empty", id="empty-path"),
        pytest.param({"sql": "SELECT 1"}, "opt_in.conn_id: is missing", id="no-connection"),
        pytest.param({"colum": "agreed"}, "opt_in: has no 'colum'", id="slip"),
        pytest.param({"path": "a.csv", "phone": "x"}, "opt_in: has no 'phone'", id="slip-in-file"),
        pytest.param({}, "exactly one of numbers, column, by_category", id="nothing"),
        pytest.param({"marketing": {"utility": [ANN]}}, "another dict by category", id="nested"),
        pytest.param({"numbers": [ANN], "time_column": "at"}, "goes with column", id="column-of-no-row"),
    ],
)
def test_a_value_that_is_no_opt_in(value: Any, where: str) -> None:
    with pytest.raises(InvalidInput, match=where):
        OptIn.of(value)


def test_no_number_stands_in_the_text_of_a_value() -> None:
    assert ANN not in repr(OptIn.of([ANN])) + repr(Suppression.of({ANN})) + repr(
        OptIn.of({"sql": "SELECT :n AS phone", "conn_id": "c", "parameters": {"n": ANN}})
    )


def test_a_function_answers_with_a_bool_or_a_proof() -> None:
    answers = {ANN: True, BOB: {"source": "call", "time": date(2026, 3, 1)}, CAT: None}
    assert checked(Consent(answers.get), ANN, BOB, CAT) == [ConsentRecord(), ConsentRecord("call", "2026-03-01"), NONE]


@pytest.mark.parametrize("answer", ["no", 0, {}, {"src": "x"}])
def test_any_other_answer_of_a_function_is_an_error(answer: Any) -> None:
    with pytest.raises(InvalidInput, match=r"returns a value of type \w+ for \+44\*+0101"):
        checked(Consent(lambda digits: answer), ANN)


def test_a_function_that_fails_lets_nobody_pass_and_names_nobody() -> None:
    def ask(digits: str) -> bool:
        raise KeyError(digits)

    with pytest.raises(LookupFailed, match=r"for \+44\*+0101 \(KeyError") as caught:
        checked(Consent(suppression=ask), ANN)
    assert ANN not in str(caught.value)
    assert caught.value.__suppress_context__


# ---- columns of the rows


@pytest.mark.parametrize("value", ["yes", " TRUE ", "1", True, 1, 1.0, Decimal(1), "On"])
def test_a_column_says_yes(value: Any) -> None:
    assert checked(Consent({"column": "agreed"}), ANN, agreed=value) == [ConsentRecord()]
    assert checked(Consent(suppression={"column": "gone"}), ANN, gone=value) == [
        "suppression: on the list (column 'gone')"
    ]


@pytest.mark.parametrize("value", ["no", "False", "0", "", " ", None, float("nan"), False, 0])
def test_a_column_says_no(value: Any) -> None:
    assert checked(Consent({"column": "agreed"}), ANN, agreed=value) == [f"{NONE} (column 'agreed')"]
    assert checked(Consent(suppression={"column": "gone"}), ANN, gone=value) == [ConsentRecord()]


@pytest.mark.parametrize("value", ["pending", "2", 2, "20260301", "2026-13-01", [True], ANN, "2999-01-01"])
def test_what_says_neither_holds_the_message_back(value: Any) -> None:
    for consent, rule in ((Consent({"column": "c"}), "opt_in"), (Consent(suppression={"column": "c"}), "suppression")):
        (found,) = checked(consent, ANN, c=value)
        assert isinstance(found, str)
        assert found.startswith(f"{rule}: column 'c' holds a ")
        assert str(value) not in found


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
        ("2026-03-01", "2026-03-01"),
        (datetime(2026, 3, 1, 10, tzinfo=UTC), "2026-03-01T10:00:00+00:00"),
        (date(2026, 3, 1), "2026-03-01"),
    ],
)
def test_a_time_is_a_yes_and_the_time_of_the_proof(value: Any, time: str) -> None:
    opt_in = OptIn(column="agreed", source="web form", version_column="wording")
    assert checked(Consent(opt_in), ANN, agreed=value, wording=" v2 ") == [ConsentRecord("web form", time, "v2")]


def test_a_row_without_the_column_is_held_back() -> None:
    assert checked(Consent({"column": "agreed"}), ANN) == ["opt_in: the row has no column 'agreed'"]
    assert checked(Consent(suppression={"column": "gone"}), ANN) == ["suppression: the row has no column 'gone'"]


def test_the_columns_that_it_reads_are_known_before_the_rows() -> None:
    with Consent(OptIn(column="agreed", time_column="at"), [Suppression(column="gone"), {"numbers": [ANN]}]) as consent:
        assert consent.needed() == {
            "opt_in.column": ["agreed"],
            "opt_in.time_column": ["at"],
            "suppression.column": ["gone"],
        }


# ---- categories


def test_each_category_has_its_own_source() -> None:
    opt_in = {"MARKETING": [ANN], "utility": {"numbers": [BOB], "source": "order"}}
    assert checked(Consent(opt_in, category="marketing"), ANN, BOB) == [ConsentRecord(), NONE]
    assert checked(Consent(opt_in, category="UTILITY"), ANN, BOB) == [NONE, ConsentRecord("order")]


@pytest.mark.parametrize(
    ("category", "problem"),
    [
        (None, "category: is missing"),
        ("authentication", "nothing for category"),
        ("news", "category: 'news' is unknown"),
    ],
)
def test_a_category_without_a_source_is_an_error(category: str | None, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        Consent({"marketing": [ANN], "utility": [ANN]}, category=category)


def test_naming_sources_in_a_dag_file_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from airflow_provider_cirrus.delivery.rules.consent import OptIn, Suppression\n"
        "from airflow_provider_cirrus.delivery.contact_lists.rejects import RejectSink\n"
        "OptIn.of({'sql': 'SELECT phone FROM c', 'conn_id': 'crm'}); Suppression.of('a.csv'); RejectSink.of('a.csv')\n"
        "print([name for name in ('sqlalchemy', 'phonenumbers', 'pyarrow', 'airflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_values_are_json(tmp_path: Path) -> None:
    value: Mapping[str, Any] = json.loads(
        json.dumps({"marketing": {"column": "agreed", "source": "web"}, "utility": {"path": "a.csv", "version": "v1"}})
    )
    found = OptIn.of(value)
    assert found.for_category("marketing") == OptIn(column="agreed", source="web")
    assert found.for_category("utility") == OptIn(FileNumbers("a.csv"), version="v1")
