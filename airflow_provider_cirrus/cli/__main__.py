"""``airflow-cirrus``, and ``python -m airflow_provider_cirrus.cli``: the commands for every version of Airflow."""

from __future__ import annotations

import argparse
import sys

from airflow_provider_cirrus.cli.definition import COMMANDS, HELP
from airflow_provider_cirrus.cli.output import listen_to_errors


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(prog="airflow-cirrus", description=HELP)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        added = commands.add_parser(
            command.name,
            help=command.help,
            description=command.help,
            epilog=command.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_options(added)
        added.set_defaults(run=command.run)
    return made


def main(arguments: list[str] | None = None) -> int:
    """
    Run a command.

    :param arguments: the command line; None: that of the process
    :return: the exit status
    """
    options = parser().parse_args(arguments)
    listen_to_errors()
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
