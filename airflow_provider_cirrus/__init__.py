"""Apache Airflow provider for Cirrus, a WhatsApp Business platform."""

__version__ = "0.1.0"
