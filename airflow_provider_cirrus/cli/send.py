"""``send``: one template to one recipient, for a person at a terminal."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any, TextIO

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import mask, mask_all
from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.api.wire import wire_entry
from airflow_provider_cirrus.cli.output import answer_only, write_line
from airflow_provider_cirrus.delivery.deliver import deliver

if TYPE_CHECKING:
    from airflow_provider_cirrus.api.client import CirrusClient
    from airflow_provider_cirrus.api.models import Message
    from airflow_provider_cirrus.api.results import Result
    from airflow_provider_cirrus.hooks.cirrus import CirrusHook


def run(options: Namespace) -> int:
    """
    Show the message, ask, and send it.

    What is for people goes to standard error; the last line of standard output is the outcome as JSON, unless there
    is no message to have one.

    :param options: as :func:`~airflow_provider_cirrus.cli.definition.add_send_options` has them
    :return: 0 if Cirrus accepted the message, or a dry run found nothing against it; else 1
    """
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_provider_cirrus.hooks.cirrus import CirrusHook

    # As Airflow's own commands do: without it, Airflow 3 does not look into its database for connections.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    with answer_only() as out:
        try:
            message = _message(options)
            hook = CirrusHook(options.conn_id, options.stream)
            _check_opt_in(hook, options.opted_in)
            with hook.make_client(is_checked=True, attempts=1) as client:
                return _send(message, hook, client, options, out)
        except (CirrusError, AirflowException) as error:
            _say(f"{str(error).rstrip('.')}. Nothing was sent.")
            return 1


def _message(options: Namespace) -> Message:
    """Return the message that the options describe."""

    template = {
        "name": options.template,
        "language": options.language,
        "header": options.header_text,
        "body": _body(options.body, options.named_body),
    }
    return Message.build(options.to, template)


def _body(texts: list[str] | None, named: list[str] | None) -> list[str] | dict[str, str]:
    # Two options, as a text may hold a "=" itself: to guess could send what nobody meant.

    if not named:
        return texts or []
    if texts:
        raise InvalidInput("--named-body", "and --body do not go together.", hint="A template takes one of the two.")
    found: dict[str, str] = {}
    for place, entry in enumerate(named):
        name, equals, text = entry.partition("=")
        if not equals or not name.strip():
            raise InvalidInput(f"--named-body[{place}]", "is not of the form NAME=TEXT.")
        if name in found:
            raise InvalidInput(f"--named-body[{place}]", f"{name!r} is there twice.", hint="Give each name once.")
        found[name] = text
    return found


def _check_opt_in(hook: CirrusHook, is_opted_in: bool) -> None:
    """Refuse where the connection requires an opt-in: there is no source of them here, only a person's word."""

    try:
        hook.check_opt_in(True if is_opted_in else None)
    except InvalidInput as error:
        if error.field != "opt_in":
            raise
        hint = "Give it if you have made sure that the recipient agreed to messages."
        raise InvalidInput("--opted-in", error.problem, hint=hint) from None


def _send(message: Message, hook: CirrusHook, client: CirrusClient, options: Namespace, out: TextIO | None) -> int:

    _show(message, client, options)
    refusal = hook.allowlist()(message.to)
    if refusal:
        return _tell(out, Result(message.to, Outcome.SUPPRESSED, reason=refusal))
    if options.dry_run:
        _tell(out, Result(message.to, Outcome.UNSENT, reason="a dry run"))
        return 0
    if not options.yes and not _is_confirmed():
        return _tell(out, Result(message.to, Outcome.UNSENT, reason="not confirmed"))
    try:
        sent = deliver(enumerate([message]), client, total=1)
    except KeyboardInterrupt:
        reason = "interrupted while the request was under way"
        return _tell(out, Result(message.to, Outcome.UNKNOWN, reason=reason))
    return _tell(out, sent.results[0], sent.error.hint if sent.error else "")


def _show(message: Message, client: CirrusClient, options: Namespace) -> None:
    """Show what the request will hold, with the number masked."""

    entry = json.loads(wire_entry(message))
    entry["template_data"]["to"] = mask(message.to)
    _say(f"Host        {client.endpoint.base_url}")
    _say(f"Connection  {options.conn_id}, {f'stream {options.stream!r}' if options.stream else 'its own stream'}")
    _say(json.dumps(entry, indent=2, ensure_ascii=False))
    for remark in message.template.advice():
        _say(f"Remark: {remark}")


def _is_confirmed() -> bool:
    """Ask a person; nobody there means no."""
    if not sys.stdin.isatty():
        _say("There is no terminal to ask on. Give --yes to send without asking.")
        return False
    # Not by input(): it could ask on standard output, which is for the outcome.
    sys.stderr.write("Send it? [y/N] ")
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = ""
        _say("")
    return answer.strip().lower() in ("y", "yes")


def _tell(out: TextIO | None, result: Result, hint: str = "") -> int:
    """Print what became of the message, in words and as JSON; return the exit status."""

    words = f"{mask(result.recipient)}: {result.outcome}"
    if result.message_id:
        words += f", id {result.message_id}"
    if result.reason:
        words += f": {mask_all(result.reason)}"
    said = [words.rstrip(".") + ".", hint]
    if result.outcome is Outcome.UNKNOWN:
        said.append("It may have been sent: look into the console before you send it again.")
    elif result.outcome in (Outcome.UNSENT, Outcome.SUPPRESSED):
        said.append("Nothing was sent.")
    _say(" ".join(filter(None, said)))
    found: dict[str, Any] = {**result.as_dict(), "recipient": mask(result.recipient)}
    if result.reason:
        found["reason"] = mask_all(result.reason)
    if not write_line(json.dumps(found, ensure_ascii=False), out):
        _say("The outcome could not be written to standard output; the exit status holds.")
    return 0 if result.outcome is Outcome.ACCEPTED else 1


def _say(text: str) -> None:
    write_line(text, sys.stderr)
