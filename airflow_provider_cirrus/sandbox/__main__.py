"""``python -m airflow_provider_cirrus.sandbox``: a local Cirrus until Ctrl-C."""

from __future__ import annotations

import argparse
import errno
import re
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox import settings, suffixes
from airflow_provider_cirrus.sandbox.archive import ArchiveError

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.server import Sandbox


DESCRIPTION = "A local stand-in for the Cirrus WhatsApp API. Nothing is sent to anybody."


def epilog() -> str:
    """Return what stands below the options."""
    return "The last two digits of a number decide what happens to it:\n" + suffixes.table()


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(
        prog="python -m airflow_provider_cirrus.sandbox",
        description=DESCRIPTION,
        epilog=epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(made)
    return made


def add_options(made: argparse.ArgumentParser) -> None:
    """Add the options to a parser, this one's or that of ``airflow cirrus sandbox``."""
    _add_options_of_the_api(made.add_argument)
    _add_options_of_the_inbox(made.add_argument)


def _add_options_of_the_api(add: Callable[..., Any]) -> None:
    add("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    add(
        "--port",
        type=int,
        default=settings.DEFAULT_PORT,
        help="port; 0 takes a free one (default: %(default)s)",
    )
    add("--token", default=settings.DEFAULT_TOKEN, help="bearer token to accept (default: %(default)s)")
    add(
        "--stream",
        default=settings.DEFAULT_STREAM_ID,
        help="encrypted stream ID, plain or URL-encoded (default: %(default)s)",
    )
    add(
        "--messages-per-second",
        type=int,
        metavar="N",
        help="answer 429 to more than N messages within one second (default: no limit)",
    )
    add(
        "--api-version",
        choices=settings.API_VERSIONS,
        default="any",
        metavar='any|""|v2',
        help='path that takes the send body: any, "" (unversioned) or v2 (default: any)',
    )
    add(
        "--contact-format",
        choices=settings.CONTACT_FORMATS,
        default="valid",
        help="form of the contact answer (default: %(default)s)",
    )
    add(
        "--accept-any-media",
        action="store_true",
        help="do not refuse media IDs that were never uploaded here",
    )
    add(
        "--list-by",
        choices=settings.LIST_BY,
        default="created",
        help="time by which conversations are listed (default: %(default)s)",
    )


def _add_options_of_the_inbox(add: Callable[..., Any]) -> None:
    add(
        "--keep",
        type=int,
        default=settings.DEFAULT_KEEP,
        metavar="N",
        help="messages and requests to remember (default: %(default)s)",
    )
    add(
        "--keep-for",
        type=duration,
        metavar="TIME",
        help="forget what is older, such as 90m, 12h or 7d (default: as long as there is room)",
    )
    add(
        "--data",
        metavar="FILE",
        help="file that remembers messages, media and conversations when the sandbox has ended (default: none)",
    )
    add(
        "--webhook",
        metavar="URL",
        help="post each message and each answer to this address, as JSON",
    )
    add(
        "--templates",
        metavar="FOLDER",
        help="folder of the templates' definitions, in Meta's JSON: messages are shown as their recipients see them",
    )


def duration(text: str) -> float:
    """
    Return a time as people write it, in seconds.

    :raises argparse.ArgumentTypeError: it is none
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time, such as 45s, 90m, 12h or 7d")
    return float(int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]])


def main(arguments: list[str] | None = None) -> int:
    """
    Serve until SIGINT or SIGTERM.

    :param arguments: the command line; ``sys.argv`` if not given.
    :returns: the exit code, as of :func:`run`.
    """
    return run(parser().parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """
    Serve until SIGINT or SIGTERM.

    :param options: the command line, parsed.
    :returns: the exit code: 0 after a stop, 1 if the address or the file of the data cannot be used, 2 for a wrong
        call or a missing package.
    """
    try:
        from airflow_provider_cirrus.sandbox import Sandbox
    except ImportError as exc:
        _complain(str(exc))
        return 2
    try:
        sandbox = Sandbox(
            token=options.token,
            stream_id=options.stream,
            messages_per_second=options.messages_per_second,
            api_version=options.api_version,
            contact_format=options.contact_format,
            accept_any_media=options.accept_any_media,
            list_by=options.list_by,
            keep=options.keep,
            keep_for=options.keep_for,
            templates=options.templates,
            data=options.data,
            webhook=options.webhook,
            host=options.host,
            port=options.port,
        )
    except ValueError as exc:
        _complain(f"error: {exc}")
        return 2
    return _serve(sandbox, options.host, options.port)


def _serve(sandbox: Sandbox, host: str, port: int) -> int:
    if host not in settings.LOOPBACK_HOSTS:
        _complain(f"Warning: bound to {host}, so others can reach it; the inbox asks for no token")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        sandbox.start()
    except ArchiveError as exc:
        _complain(f"--data: {exc}")
        return 1
    except (OSError, OverflowError) as exc:
        used = isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE
        reason = "the port is in use; --port 0 takes a free one" if used else str(exc)
        _complain(f"Cannot serve on {host}:{port}: {reason}")
        return 1
    sys.stdout.write(
        f"Cirrus sandbox   {sandbox.base_url}\n"
        f"Connection       {sandbox.connection_uri}\n"
        f"Inbox            {sandbox.base_url}/  and  {sandbox.base_url}/inbox.json\n"
        f"\nexport AIRFLOW_CONN_CIRRUS_DEFAULT='{sandbox.connection_uri}'\n"
        "\nCtrl-C stops it.\n"
    )
    sys.stdout.flush()
    stopped.wait()
    try:
        sandbox.stop()
    except ArchiveError as exc:
        _complain(f"--data: {exc}")
        return 1
    return 0


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
