"""What Airflow is told about this provider; from 3.2 on, the connection form is made from it alone."""

from __future__ import annotations

from typing import Any

from airflow_provider_cirrus import __version__

#: The connection's own fields, in the order of the form: who sends, to whom, how fast, and where Cirrus differs.
#: A type without "null" would show the field as required. The form holds numbers to their limits and offers no
#: more than an ``enum``; a ``pattern`` it does not look at.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "stream_id": {
        "label": "Stream ID",
        "description": "Encrypted ID of the stream (channel) that sends by default, as the Cirrus console shows it.",
        "schema": {"type": ["string", "null"]},
    },
    "streams": {
        "label": "Named streams",
        "description": 'More streams by name, as JSON: {"support": "<encrypted ID>", "sales": "<encrypted ID>"}. '
        'Tasks choose one with stream="support".',
        "schema": {"type": ["object", "null"]},
    },
    "allowed_recipients": {
        "label": "Allowed recipients",
        "description": "For use outside production: only these numbers, or numbers that begin so, get messages. "
        "With commas between them, such as +44 7700 900, +1 212 555. Empty: everybody.",
        "schema": {"type": ["string", "null"]},
    },
    "require_opt_in": {
        "label": "Require an opt-in",
        "description": "Tasks that do not say where it is recorded who agreed to messages fail, and send nothing.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "messages_per_second": {
        "label": "Messages per second",
        "description": "Most messages that one task sends in a second; with a ledger connection, all tasks together. "
        "WhatsApp allows 80 unless it raised your limit.",
        "schema": {"type": ["integer", "null"], "minimum": 1, "default": 80},
    },
    "validations_per_day": {
        "label": "Contact checks per day",
        "description": "Most numbers that may be checked for being on WhatsApp, per stream and day (UTC). "
        "Many checks without a message get a business banned.",
        "schema": {"type": ["integer", "null"], "minimum": 0, "default": 50},
    },
    "ledger_conn_id": {
        "label": "Ledger connection",
        "description": "Connection (PostgreSQL, MySQL, SQLite) of the database that remembers what was sent and asked, "
        "for all tasks. Recommended for production. Empty: each task's own memory in Airflow, which a clear may empty.",
        "schema": {"type": ["string", "null"]},
    },
    "allow_large_state": {
        "label": "Allow large state",
        "description": "Let Airflow's own database remember more than 200,000 messages of one task. Without effect "
        "where a ledger connection is given.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "show_recipients": {
        "label": "Show recipients",
        "description": "Show whole phone numbers among the rendered fields of tasks, to all who may see these. "
        "Otherwise they are masked there.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "templates_path": {
        "label": "Templates folder",
        "description": "Folder with the definitions of your templates, in Meta's JSON: messages are checked against "
        "them before anything is sent. A relative path begins at the DAG file.",
        "schema": {"type": ["string", "null"]},
    },
    "require_templates": {
        "label": "Require definitions",
        "description": "Refuse to send a template that has no definition in the templates folder.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "rules": {
        "label": "Rules (JSON)",
        "description": "Whom to message, for every send that says nothing else, such as "
        '{"suppression": {"table": "opted_out", "conn_id": "crm"}}.',
        "schema": {"type": ["string", "null"]},
    },
    "delivery": {
        "label": "Delivery (JSON)",
        "description": 'How to send, where a send says nothing else, such as {"max_failed": 0.01}.',
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "Longest wait for a connection, and for each part of an answer.",
        "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 3599, "default": 30},
    },
    "api_version": {
        "label": "API version",
        "description": "v2 for deployments that serve the API under /v2. Most do not: leave it as it is.",
        "schema": {
            "type": ["string", "null"],
            "enum": [None, "v2"],
            # What the form shows in their place; without it, the first one would read "null".
            "values_display": {"null": "standard", "v2": "v2"},
        },
    },
    "console_url": {
        "label": "Console URL",
        "description": "Where people open conversations: tasks link to it. Empty: https://manage.commbox.io.",
        "schema": {"type": ["string", "null"], "format": "url"},
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
        "hooks": [_modules("hooks", "cirrus")],
        "operators": [_modules("operators", "approval", "campaign", "cirrus", "plan")],
        "sensors": [_modules("sensors", "cirrus")],
        "triggers": [_modules("triggers", "approval", "cirrus", "date_time")],
        "transfers": [
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": "Cirrus",
                "python-module": f"airflow_provider_cirrus.transfers.{name}",
            }
            for name in ("plan_sql_to_cirrus", "sql_to_cirrus")
        ],
        "notifications": ["airflow_provider_cirrus.notifications.cirrus.CirrusNotifier"],
        "extra-links": ["airflow_provider_cirrus.links.cirrus.ConversationLink"],
        "plugins": [{"name": "cirrus", "plugin-class": "airflow_provider_cirrus.plugins.cirrus.CirrusPlugin"}],
        # Known from Airflow 3.2 on, and passed over by earlier ones.
        "cli": ["airflow_provider_cirrus.cli.definition.get_cirrus_cli_commands"],
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


def _modules(kind: str, *names: str) -> dict[str, Any]:
    return {
        "integration-name": "Cirrus",
        "python-modules": [f"airflow_provider_cirrus.{kind}.{name}" for name in names],
    }
