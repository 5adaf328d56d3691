"""``erase``: forget a person in the database of a ledger."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.text import in_numbers
from airflow_provider_cirrus.cli.output import answer_only, write_line


def run(options: Namespace) -> int:
    """
    Erase a person, and print as JSON how many rows are gone.

    :param options: as :func:`~airflow_provider_cirrus.cli.definition.add_erase_options` has them
    :return: 0 if it is done, also where there was nothing; else 1
    """
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_provider_cirrus.hooks.cirrus import CirrusHook

    # As Airflow's own commands do: without it, Airflow 3 does not look into its database for connections.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    number = sys.stdin.readline().strip() if options.number == "-" else options.number
    with answer_only() as out:
        try:
            found = CirrusHook().erase(number, ledger_conn_id=options.ledger_conn_id)
        except (CirrusError, AirflowException) as error:
            write_line(str(error), sys.stderr)
            return 1
    if stay := found["unattributed_messages"]:
        said = f"{in_numbers(stay, 'message')} without a person's name may be anybody's, and may stay: delete by age."
        write_line(said, sys.stderr)
    write_line(json.dumps(found), out)
    return 0
