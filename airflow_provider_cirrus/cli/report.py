"""``report``: a report as a page that can be opened, and sent to somebody."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.cli.output import answer_only, write_line


def run(options: Namespace) -> int:
    """
    Write the page of a report, and print where it is.

    :param options: as :func:`~airflow_provider_cirrus.cli.definition.add_report_options` has them
    :return: 0 if it is written, else 1
    """
    from airflow_provider_cirrus.delivery.report.page import page_of

    with answer_only() as out:
        output = Path(options.output or f"{options.report.rsplit('/', 1)[-1]}.html")
        try:
            page = page_of(options.report)
            output.write_text(page, encoding="utf-8")
        except (CirrusError, OSError) as error:
            write_line(str(error), sys.stderr)
            return 1
    write_line(str(output), out)
    return 0
