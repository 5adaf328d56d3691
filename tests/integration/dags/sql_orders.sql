-- The orders of a day; rendered by Airflow.
SELECT phone, name FROM orders WHERE day = '{{ dag_run.conf.get("day", "monday") }}';
