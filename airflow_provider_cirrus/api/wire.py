"""
Messages to requests, responses to outcomes: pure functions, shared by the sync and the async client. One room, however
long, as each call of the API has its two halves beside each other.

Nothing here does I/O. Facts: cirrus-api ("Transport", "Send", "Upload", "Validate", "Conversations").
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

from pydantic import ValidationError

from airflow_provider_cirrus.api import errors
from airflow_provider_cirrus.api.answers import clean, data_of, envelope_of, error_for, quoted, unexpected
from airflow_provider_cirrus.api.campaign import Campaign
from airflow_provider_cirrus.api.errors import CirrusError, Disposition, InvalidInput
from airflow_provider_cirrus.api.exchange import Request, Response
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.multipart import MultipartFile
from airflow_provider_cirrus.api.phone import other_spelling
from airflow_provider_cirrus.api.results import (
    ContactCheck,
    Conversation,
    Envelope,
    Outcome,
    Result,
    SendResult,
    Upload,
)
from airflow_provider_cirrus.api.text import cut, without_controls

#: Most messages in one request.
MAX_BATCH = 20

# Characters of an id that are kept.
_ID = 256
# What fits into a database's largest integer.
_LARGEST_CODE = 2**63 - 1


@lru_cache(maxsize=256)
def encode_id(identifier: str) -> str:
    """
    Return an id for a path, percent-encoded exactly once.

    The console shows stream ids already encoded (``…%3d%3d``), and people paste either form.
    """
    return quote(unquote(identifier), safe="")


# ---- send


def send_request(messages: Sequence[Message], stream_id: str, api_version: str = "") -> Request:
    """
    Return the request that sends 1 to 20 messages.

    :param stream_id: encoded or not
    :param api_version: ``""`` or ``"v2"``
    :raises InvalidInput: no messages, or more than fit
    """
    if not 1 <= len(messages) <= MAX_BATCH:
        raise InvalidInput("messages", f"{len(messages)} in one request.", hint=f"Send 1 to {MAX_BATCH} at a time.")
    prefix = f"/{api_version}" if api_version else ""
    return Request(
        "POST",
        f"{prefix}/whatsapp/sendtemplatedmessage/{encode_id(stream_id)}",
        headers={"Content-Type": "application/json"},
        body=f'{{"data": [{", ".join(map(wire_entry, messages))}]}}'.encode(),
        side_effect=True,
    )


def wire_entry(message: Message) -> str:
    """Return one message as it stands in the request's ``data``, as JSON."""
    parts = [] if message.schedule is None else [f'"schedule": {message.schedule}']
    parts.append(f'"template_data": {{"to": "{message.to}", "template": {message.template.wire_text}}}')
    if message.object_data:
        parts.append(f'"object_data": {message.object_data.wire_text}')
    return f"{{{', '.join(parts)}}}"


def read_send(messages: Sequence[Message], response: Response, *, hide: Sequence[str] = ()) -> SendResult:
    """
    Return what a send came to: one result per message, whatever the answer.

    :param messages: those of the request, in its order
    :param hide: secrets that must not stand in any reason
    """
    envelope = envelope_of(response)
    if response.status in (200, 206, 400) and envelope and _has_entries(envelope):
        return _all_accepted(messages, envelope.data) or _judge_each(messages, envelope.data, hide)
    if response.status in (200, 206):
        error: CirrusError = errors.UnreadableAnswer(
            f"Cirrus answered {response.status} without saying what became of the messages"
            f"{quoted(envelope, response, hide)}.",
            hint="Check that the host is Cirrus itself and not a proxy's page.",
            status=response.status,
        )
    else:
        error = error_for(response, hide=hide)
    return failed_send(messages, error)


def failed_send(messages: Sequence[Message], error: CirrusError) -> SendResult:
    """
    Return the results of a request that failed as a whole.

    What certainly had no effect leaves its messages unsent, and everything else leaves them unknown: they may have
    been sent. A 400 rejects the message that was alone in its request. Of several it does not say which is wrong:
    they are unsent, and to be sent again in halves.
    """
    outcome = outcome_of(error)
    split = outcome is Outcome.REJECTED and len(messages) > 1
    if split:
        outcome = Outcome.UNSENT
    return SendResult(
        tuple(Result(recipient=m.to, outcome=outcome, reason=error.message) for m in messages),
        error,
        stop=isinstance(error, errors.Unauthorized | errors.NotFound | errors.WrongVersion | errors.TlsFailed),
        split=split,
    )


def outcome_of(error: CirrusError) -> Outcome:
    """Return what became of all that was in a request which failed as a whole."""
    if isinstance(error, errors.BadRequest) and not isinstance(error, errors.WrongVersion):
        return Outcome.REJECTED
    return Outcome.UNSENT if error.not_sent else Outcome.UNKNOWN


def _has_entries(envelope: Envelope) -> bool:
    return isinstance(envelope.data, list) and any(isinstance(entry, Mapping) for entry in envelope.data)


def _all_accepted(messages: Sequence[Message], entries: Sequence[Any]) -> SendResult | None:
    """
    Return what :func:`_judge_each` would, in half the time, of an answer as nearly all are.

    :return: None: not each message has one entry, of its own number, that says accepted; look closely
    """
    if len(entries) != len(messages):
        return None
    by_number = {str(entry.get("recipient")): entry for entry in entries if isinstance(entry, dict)}
    results: list[Result] = []
    for message in messages:
        # What is taken is gone: of two messages to one number, the second finds none.
        entry = by_number.pop(message.to, None)
        if entry is None or not _verdict(entry):
            return None
        results.append(_accepted(message, entry))
    return SendResult(tuple(results))


def _judge_each(messages: Sequence[Message], entries: Sequence[Any], hide: Sequence[str]) -> SendResult:
    # By the digits of the number, never by position: the order of the answer is not documented.
    answered: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        if isinstance(entry, dict):
            answered[_digits(str(entry.get("recipient", "")))].append(entry)
    asked = Counter([message.to for message in messages])
    results: list[Result] = []
    stop = False
    blocked: set[tuple[str, str]] = set()
    for message in messages:
        to = message.to
        mine = answered[to]
        # Cirrus may name an account by its other spelling; whose that is is plain where nobody was written to by it.
        if len(mine) < asked[to] and (other := other_spelling(to)) is not None and other not in asked:
            mine = [*mine, *answered[other]]
        if len(mine) == asked[to] and (len(mine) == 1 or len({_verdict(entry) for entry in mine}) == 1):
            # Several messages to one number with one verdict: which entry is whose makes no difference.
            taken = mine[0] if len(mine) == 1 else mine[sum(result.recipient == to for result in results)]
            result, disposition = _read_entry(message, taken, hide)
            if disposition is Disposition.STOP:
                stop = True
            elif disposition is Disposition.STOP_TEMPLATE:
                blocked.add((message.template.name, message.template.language))
        elif not mine:
            result = _unknown(message, "Cirrus did not mention it in its answer.")
        else:
            result = _unknown(
                message,
                f"Cirrus answered {len(mine)} times for {asked[to]} messages to this number, and not which is which.",
            )
        results.append(result)
    return SendResult(tuple(results), stop=stop, blocked=frozenset(blocked))


def _digits(text: str) -> str:
    return text if text.isascii() and text.isdecimal() else "".join(c for c in text if c.isdecimal())


def _verdict(entry: Mapping[str, Any]) -> bool:
    status = entry.get("status")
    return (status == "200" or str(status) == "200") and not entry.get("failed")


def _read_entry(message: Message, entry: Mapping[str, Any], hide: Sequence[str]) -> tuple[Result, Disposition | None]:
    if _verdict(entry):
        return _accepted(message, entry), None
    code, reason = _read_failed(entry.get("failed"), hide)
    status = str(entry.get("status", ""))
    if status.startswith(("2", "5")) or (not status.startswith("4") and not reason):
        said = clean(status, hide) or "none"
        return _unknown(message, reason or f"Cirrus answered for it with status {said}."), None
    disposition = Disposition.THROTTLE if status == "429" else errors.disposition(code)
    # Only a throttle is certain not to have been sent and certain to pass.
    outcome = Outcome.UNSENT if disposition is Disposition.THROTTLE else Outcome.REJECTED
    return Result(
        recipient=message.to, outcome=outcome, code=code, reason=reason or "refused without a reason"
    ), disposition


def _accepted(message: Message, entry: Mapping[str, Any]) -> Result:
    # By place: nearly every result is made here, and names take twice as long.
    return Result(message.to, Outcome.ACCEPTED, _opaque(entry.get("id")), _opaque(entry.get("object_id")))


def _read_failed(failed: Any, hide: Sequence[str]) -> tuple[int | None, str | None]:
    """Read ``failed``, which is documented as an object and shown as text."""
    if isinstance(failed, Mapping):
        code = failed.get("code")
        text = next(
            (str(failed[key]) for key in ("message", "title", "description", "reason") if failed.get(key)),
            json.dumps(failed, ensure_ascii=False),
        )
        return _code(code) if str(code).isdecimal() else errors.find_code(text), clean(text, hide)
    if failed in (None, ""):
        return None, None
    return errors.find_code(str(failed)), clean(str(failed), hide)


def _code(value: Any) -> int | None:
    """Return a code from what stands for one; None where it is larger than any database takes."""
    text = str(value)
    number = int(text) if len(text) < 20 else None
    return number if number is not None and number <= _LARGEST_CODE else None


def _unknown(message: Message, reason: str) -> Result:
    return Result(recipient=message.to, outcome=Outcome.UNKNOWN, reason=reason)


def _opaque(value: Any) -> str | None:
    if not value and value != 0:
        return None
    text = str(value)
    if text.isprintable() and len(text) <= _ID:
        # What every id is.
        return text
    return cut(without_controls(text).strip(), _ID) or None


# ---- upload


def upload_request(stream_id: str, file: BinaryIO, filename: str, media_type: str) -> Request:
    """
    Return the request that uploads a media file.

    :param file: open for reading in binary, seekable
    :param filename: as the recipient of a document sees it
    :param media_type: such as ``image/png``
    """
    size = file.seek(0, 2)
    # The file's field is called `pic`, whatever it holds.
    body = MultipartFile("pic", file, filename, media_type, size)
    return Request(
        "POST",
        f"/whatsapp/uploadmedia/{encode_id(stream_id)}",
        headers={"Content-Type": f"multipart/form-data; boundary={body.boundary}"},
        body=body,
        side_effect=True,
    )


def read_upload(response: Response, *, hide: Sequence[str] = ()) -> Upload:
    """
    Return the upload that Cirrus confirms.

    :raises CirrusError: it did not
    """
    data = data_of(response, hide)
    first = data[0] if isinstance(data, list) and data else data
    try:
        return Upload.model_validate(first)
    except ValidationError:
        raise unexpected(response, "an upload's id", hide) from None


# ---- campaign


def campaign_request(stream_id: str, campaign: Campaign, file: BinaryIO, filename: str, media_type: str) -> Request:
    """
    Return the request that starts a campaign.

    :param stream_id: encoded or not
    :param file: the audience, open for reading in binary, seekable
    :param filename: ends in ``.csv`` or ``.xlsx``
    :param media_type: such as ``text/csv``
    """
    size = file.seek(0, 2)
    body = MultipartFile("audience_file", file, filename, media_type, size, campaign.wire_fields(stream_id))
    return Request(
        "POST",
        # As for uploads, no /v2 of it is documented.
        "/whatsapp/campaign",
        headers={"Content-Type": f"multipart/form-data; boundary={body.boundary}"},
        body=body,
        side_effect=True,
    )


def read_campaign(response: Response, *, hide: Sequence[str] = ()) -> None:
    """
    Return if Cirrus took the campaign; it gives no id.

    :raises CirrusError: it did not, or nobody can tell
    """
    data_of(response, hide)
    envelope = envelope_of(response)
    # What stands in its data is not documented, so the envelope's own status is all that says yes.
    if envelope is None or envelope.status != "200":
        raise unexpected(response, "a yes to the campaign", hide)


# ---- contacts


def validate_request(stream_id: str, number: str) -> Request:
    """Return the request that asks whether a number is on WhatsApp; asking too often gets a business banned."""
    return Request(
        "GET", f"/whatsapp/validatecontact/{encode_id(stream_id)}/{quote(number, safe='')}", side_effect=True
    )


def read_validate(response: Response, *, hide: Sequence[str] = ()) -> ContactCheck:
    """
    Return what Cirrus says of a number, in the documented form or in the older deployments' one.

    :raises CirrusError: it said nothing
    """
    data = data_of(response, hide)
    if isinstance(data, Mapping):
        if isinstance(data.get("valid"), bool):
            return ContactCheck(valid=data["valid"])
        contacts = data.get("contacts")
        if isinstance(contacts, list) and len(contacts) == 1 and isinstance(contacts[0], Mapping):
            status = clean(str(contacts[0].get("status")), hide)
            return ContactCheck(
                valid={"valid": True, "invalid": False}.get(status),
                status=status,
                wa_id=_opaque(contacts[0].get("wa_id")),
            )
    raise unexpected(response, "whether the number is valid", hide)


# ---- conversations and streams


def conversation_request(stream_id: str, object_id: str | int) -> Request:
    """Return the request that reads one conversation with its messages."""
    path = f"/streams/{encode_id(stream_id)}/objects/{encode_id(str(object_id))}"
    return Request("GET", f"{path}?includeChilds=true")


def read_conversation(response: Response, *, hide: Sequence[str] = ()) -> Conversation:
    """
    Return the conversation.

    :raises CirrusError: there is none to read
    """
    data = data_of(response, hide)
    first = data[0] if isinstance(data, list) and data else data
    if isinstance(first, Mapping):
        with suppress(ValidationError):
            return Conversation.read(first)
    raise unexpected(response, "the conversation", hide)


def conversations_request(stream_id: str, start: int, end: int) -> Request:
    """Return the request that lists at most 100 conversations of a span of Unix seconds."""
    return Request("GET", f"/streams/{encode_id(stream_id)}/objects?unixStartTime={start}&unixEndTime={end}")


def read_conversations(response: Response, *, hide: Sequence[str] = ()) -> tuple[list[Conversation], int]:
    """
    Return the conversations of a listing, and how many of its entries are none that can be read.

    Whether their messages are with them is not documented.

    :raises CirrusError: it is no listing
    """
    data = data_of(response, hide)
    # How an empty span is answered is not documented: null is taken for none.
    if not isinstance(data, list | None):
        raise unexpected(response, "a list of conversations", hide)
    found: list[Conversation] = []
    for item in data or ():
        if isinstance(item, Mapping):
            # One odd entry must not hide all others.
            with suppress(ValidationError):
                found.append(Conversation.read(item))
    return found, len(data or ()) - len(found)


def availability_request(stream_id: str) -> Request:
    """Return an authenticated read of the stream that has no side effect."""
    return Request("GET", f"/streams/{encode_id(stream_id)}/streamavailability")


def read_availability(response: Response, *, hide: Sequence[str] = ()) -> Any:
    """
    Return what Cirrus says of the stream; its shape is not documented.

    :raises CirrusError: token, stream or host are wrong
    """
    return data_of(response, hide)


# ---- answers in general
