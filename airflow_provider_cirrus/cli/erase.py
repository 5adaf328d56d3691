"""``erase``: forget a person in the database of a ledger."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace

from airflow_provider_cirrus.api.errors import CirrusError


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
    try:
        found = CirrusHook().erase(number, ledger_conn_id=options.ledger_conn_id)
    except (CirrusError, AirflowException) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if stay := found["unattributed_messages"]:
        sys.stderr.write(f"{stay} messages stay, as they do not say whose they are: delete them by their age.\n")
    sys.stdout.write(f"{json.dumps(found)}\n")
    return 0
