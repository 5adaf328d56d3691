"""
What the commands are called and what they take; ``airflow`` reads it whenever it starts.

So nothing is imported here but what is needed for that: what a command does is loaded when it is called.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox import __main__ as sandbox

if TYPE_CHECKING:
    from airflow.cli.cli_config import GroupCommand

HELP = "Cirrus, a WhatsApp Business platform"


@dataclass(frozen=True)
class Command:
    """
    A command.

    :ivar name: as it is typed
    :ivar help: a line
    :ivar add_options: adds its options to a parser
    :ivar module: holds ``run``, which takes the parsed options and returns the exit status
    """

    name: str
    help: str
    add_options: Callable[[ArgumentParser], None]
    module: str
    epilog: str | None = None

    def run(self, options: Namespace) -> int:
        """Run it; return the exit status."""
        options.command = self.name
        return int(import_module(self.module).run(options))

    def run_and_exit(self, options: Namespace) -> None:
        """Run it and end the process: Airflow makes no status of what a command returns."""
        sys.exit(self.run(options))


def add_send_options(parser: ArgumentParser) -> None:
    """Add the options of ``send``."""
    add = parser.add_argument
    add("--conn-id", default="cirrus_default", metavar="ID", help="the connection (default: %(default)s)")
    add("--stream", help="a stream's name in the connection, or its encrypted ID (default: the connection's own)")
    add("--template", required=True, metavar="NAME", help="the template, as the console shows it")
    add("--language", required=True, metavar="CODE", help="its language code, such as en or pt_BR")
    add("--to", required=True, metavar="NUMBER", help="the recipient, with country code")
    add(
        "--body",
        action="append",
        metavar="TEXT",
        help="a parameter of the body; once for each, in order",
    )
    add(
        "--named-body",
        action="append",
        metavar="NAME=TEXT",
        help="a parameter of the body by its name, for templates that name them; once for each",
    )
    add("--header-text", metavar="TEXT", help="the parameter of a text header")
    add(
        "--opted-in",
        action="store_true",
        help="the recipient agreed to messages, as you have made sure; for connections that require an opt-in",
    )
    add("--dry-run", action="store_true", help="check and show the message, and send nothing")
    add("--yes", action="store_true", help="send without asking")


def add_erase_options(parser: ArgumentParser) -> None:
    """Add the options of ``erase``."""
    add = parser.add_argument
    add("--ledger-conn-id", required=True, metavar="ID", help="the connection of the ledger's database")
    add(
        "--number",
        required=True,
        help="the person's number, with country code; - reads it from standard input, so that no history keeps it",
    )


def add_templates_options(parser: ArgumentParser) -> None:
    """Add the actions of ``templates`` and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    lint = actions.add_parser("lint", help="say what Meta would refuse in definitions, and what is likely to be a slip")
    lint.add_argument("paths", nargs="+", metavar="PATH", help="a file of definitions, or a folder of them")
    check = actions.add_parser("check", help="say whether definitions can be read, and messages fit them")
    check.add_argument("--templates", required=True, metavar="FOLDER", help="the folder of the definitions")
    check.add_argument(
        "messages",
        nargs="*",
        metavar="MESSAGE",
        help="a JSON file with what SendTemplateOperator takes for a message: template, language, body … or a list",
    )
    render = actions.add_parser("render", help="show what a recipient would see")
    render.add_argument("--templates", required=True, metavar="FOLDER", help="the folder of the definitions")
    render.add_argument("--template", required=True, metavar="NAME")
    render.add_argument("--language", required=True, metavar="CODE")
    render.add_argument(
        "--parameters",
        default="{}",
        metavar="JSON",
        help='header, body, buttons … as SendTemplateOperator takes them, such as {"body": ["Ann"]}; - reads them from '
        "standard input",
    )
    actions.add_parser("schema", help="print the JSON Schema of a definition, for editors")


def add_steering_options(parser: ArgumentParser) -> None:
    """Add the options of ``pause``, ``resume`` and ``stop``."""
    add = parser.add_argument
    add("dag_id", metavar="DAG", help="the DAG's id")
    add("run_id", metavar="RUN", help="the run's id")
    add("task_id", metavar="TASK", help="the sending task's id; if it is mapped, all its tasks are meant")
    add(
        "--ledger-conn-id",
        metavar="ID",
        help="the connection of the ledger's database; without it, Airflow's task state store is used (3.3 and later)",
    )


def add_rate_options(parser: ArgumentParser) -> None:
    """Add the options of ``rate``."""
    add_steering_options(parser)
    parser.add_argument(
        "messages_per_second",
        metavar="RATE",
        help="most messages in a second, of all mapped tasks together; - takes the limit back",
    )


def add_report_options(parser: ArgumentParser) -> None:
    """Add the options of ``report``."""
    add = parser.add_argument
    add("report", metavar="REPORT", help="a report of a send: a path or a URI")
    add("--output", metavar="FILE", help="where to write the page (default: the report's name and .html, here)")


def add_ledger_options(parser: ArgumentParser) -> None:
    """Add the actions of ``ledger`` and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("stats", "say how many rows there are, how large they are and how old"),
        ("prune", "delete messages that are old; a task of which some are gone refuses to go on"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument(
            "--ledger-conn-id", required=True, metavar="ID", help="the connection of the ledger's database"
        )
        if name == "prune":
            action.add_argument(
                "--days", required=True, type=float, help="delete what has had no word for so many days; at least 1"
            )
            action.add_argument(
                "--with-message-keys",
                action="store_true",
                help="delete messages with a message_key, too; whoever sends them again will not know that they were",
            )
            action.add_argument("--dry-run", action="store_true", help="delete nothing, and say what would be")


def _steering_command(name: str, text: str) -> Command:
    add_options = add_rate_options if name == "rate" else add_steering_options
    return Command(
        name,
        text,
        add_options,
        "airflow_provider_cirrus.cli.steering",
        epilog="A send obeys within five seconds. Prints as JSON what is wanted of it now. Exit status: 0 if it is "
        "written down, else 1.",
    )


COMMANDS = (
    Command(
        "sandbox",
        "Run a local stand-in for the Cirrus API until Ctrl-C; nothing is sent to anybody",
        sandbox.add_options,
        "airflow_provider_cirrus.sandbox.__main__",
        epilog=sandbox.epilog(),
    ),
    Command(
        "send",
        "Send one template to one recipient, after showing it and asking",
        add_send_options,
        "airflow_provider_cirrus.cli.send",
        epilog="Exit status: 0 if Cirrus accepted the message, or a dry run found nothing against it; else 1.",
    ),
    Command(
        "erase",
        "Forget a person in the database of a ledger; what was sent to them may be sent again by a retry",
        add_erase_options,
        "airflow_provider_cirrus.cli.erase",
        epilog="Prints as JSON how many rows are gone. Exit status: 0 if it is done, even if there were none; else 1.",
    ),
    Command(
        "ledger",
        "Look after the database of a ledger: what is in it, and deleting what is old",
        add_ledger_options,
        "airflow_provider_cirrus.cli.ledger",
        epilog="Prints JSON. Exit status: 0 if it is done, else 1.",
    ),
    _steering_command("pause", "Let nothing more leave of a running send until it is resumed"),
    _steering_command("resume", "Let a paused send go on"),
    _steering_command("rate", "Slow a running send down, or give it its own rate back"),
    _steering_command("stop", "End a running send: the rest stays unsent, and the task fails without a retry"),
    Command(
        "report",
        "Write a report as a page that can be opened anywhere: counts, reasons, countries, and when it happened",
        add_report_options,
        "airflow_provider_cirrus.cli.report",
        epilog="Prints where the page is. It holds no whole number. Exit status: 0 if it is written, else 1.",
    ),
    Command(
        "templates",
        "Check, lint and show templates that are defined in files; nothing is sent, and no connection is needed",
        add_templates_options,
        "airflow_provider_cirrus.cli.templates",
        epilog="Exit status: 0 if nothing is wrong, remarks aside; else 1.",
    ),
)


def get_cirrus_cli_commands() -> list[GroupCommand]:
    """Return the commands for ``airflow`` (3.2 and later)."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    class Options(Arg):
        """All options of a command at once: Airflow asks each of its own to add itself to a parser."""

        def __init__(self, add_options: Callable[[ArgumentParser], None]) -> None:
            # The flags are what Airflow sorts by.
            super().__init__(flags=("--options",))  # type: ignore[no-untyped-call]
            self._add_options = add_options

        def add_to_parser(self, parser: Any) -> None:
            self._add_options(parser)

    return [
        GroupCommand(
            name="cirrus",
            help=HELP,
            subcommands=[
                ActionCommand(
                    name=command.name,
                    help=command.help,
                    func=command.run_and_exit,
                    args=(Options(command.add_options),),
                    epilog=command.epilog,
                )
                for command in COMMANDS
            ],
        )
    ]
