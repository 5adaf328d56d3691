"""From an audience to outcomes: no Airflow operator in it, and no Airflow import at module level."""
