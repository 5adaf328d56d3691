"""``ledger stats`` and ``ledger prune``: look after the database of a ledger."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.cli.output import answer_only, write_line


def run(options: Namespace) -> int:
    """
    Do what is asked for, and print as JSON what was found.

    :param options: as :func:`~airflow_provider_cirrus.cli.definition.add_ledger_options` has them
    :return: 0 if it is done, else 1
    """
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_provider_cirrus.delivery.maintenance import prune, stats
    from airflow_provider_cirrus.hooks.cirrus import CirrusHook

    # As Airflow's own commands do: without it, Airflow 3 does not look into its database for connections.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    with answer_only() as out:
        try:
            engine = CirrusHook().sql_engine(options.ledger_conn_id)
            try:
                if options.action == "stats":
                    found = stats(engine)
                else:
                    keys, dry_run = options.with_message_keys, options.dry_run
                    found = dict(prune(engine, options.days, with_message_keys=keys, dry_run=dry_run))
            finally:
                engine.dispose()
        except (CirrusError, AirflowException) as error:
            write_line(str(error), sys.stderr)
            return 1
    write_line(json.dumps(found), out)
    return 0
