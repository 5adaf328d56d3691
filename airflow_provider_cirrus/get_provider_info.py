"""What Airflow is told about this provider; from 3.2 on, the connection form is made from it alone."""

from __future__ import annotations

from typing import Any

from airflow_provider_cirrus import __version__

#: The connection's own fields. A type without "null" would show the field as required.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "stream_id": {
        "label": "Stream ID",
        "description": "Encrypted ID of the stream (channel) that sends by default, as the Cirrus console shows it.",
        "schema": {"type": ["string", "null"]},
    },
    "streams": {
        "label": "Named streams",
        "description": 'More streams by name, as JSON: {"support": "<encrypted ID>", "sales": "<encrypted ID>"}.',
        "schema": {"type": ["object", "null"]},
    },
    "api_version": {
        "label": "API version",
        "description": 'Empty for most deployments; "v2" for those that serve the API under /v2.',
        "schema": {"type": ["string", "null"], "pattern": "^(v2)?$"},
    },
    "messages_per_second": {
        "label": "Messages per second",
        "description": "Most messages that one task sends in a second. WhatsApp allows 80 unless it raised your limit.",
        "schema": {"type": ["integer", "null"], "minimum": 1, "default": 80},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "Longest wait for a connection, and for each part of an answer.",
        "schema": {"type": ["number", "null"], "default": 30},
    },
    "console_url": {
        "label": "Console URL",
        "description": "Where people open conversations, such as https://manage.commbox.io.",
        "schema": {"type": ["string", "null"], "format": "url"},
    },
    "allowed_recipients": {
        "label": "Allowed recipients",
        "description": "Outside production: only these numbers, or numbers that begin so, get messages; "
        'with commas between them, such as "+44 7700 900, +1 212 555". Empty: everybody.',
        "schema": {"type": ["string", "null"]},
    },
}

#: How the standard fields are shown.
FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "port", "schema"],
    "relabeling": {"password": "API token", "host": "Host"},
    "placeholders": {"host": "https://api.commbox.io", "password": "token without 'Bearer'"},
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, valid under Airflow's provider_info and provider.yaml schemas."""
    return {
        # Airflow's discovery of all providers breaks where this is not the distribution's name.
        "package-name": "airflow-provider-cirrus",
        "name": "Cirrus",
        "description": "Templated WhatsApp messages, media and contacts through Cirrus, a WhatsApp Business platform.",
        "state": "ready",
        "source-date-epoch": 1795392000,
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "Cirrus",
                "external-doc-url": "https://api.commbox.io",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": "Cirrus", "python-modules": ["airflow_provider_cirrus.hooks.cirrus"]}],
        "operators": [
            {
                "integration-name": "Cirrus",
                "python-modules": [
                    "airflow_provider_cirrus.operators.campaign",
                    "airflow_provider_cirrus.operators.cirrus",
                ],
            }
        ],
        "sensors": [{"integration-name": "Cirrus", "python-modules": ["airflow_provider_cirrus.sensors.cirrus"]}],
        "triggers": [{"integration-name": "Cirrus", "python-modules": ["airflow_provider_cirrus.triggers.cirrus"]}],
        "transfers": [
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": "Cirrus",
                "python-module": "airflow_provider_cirrus.transfers.sql_to_cirrus",
            }
        ],
        "notifications": ["airflow_provider_cirrus.notifications.cirrus.CirrusNotifier"],
        "connection-types": [
            {
                "connection-type": "cirrus",
                "hook-class-name": "airflow_provider_cirrus.hooks.cirrus.CirrusHook",
                "hook-name": "Cirrus (WhatsApp)",
                "conn-fields": CONNECTION_FIELDS,
                "ui-field-behaviour": FIELD_BEHAVIOUR,
            }
        ],
    }
