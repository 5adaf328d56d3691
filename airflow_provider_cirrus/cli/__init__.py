"""Commands: ``airflow cirrus …``, and ``airflow-cirrus …`` where Airflow takes no commands of providers."""
