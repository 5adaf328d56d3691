"""What is shown in Airflow's own UI."""
