"""Development scripts; run them from the project's directory as ``python -m scripts.<name>``."""
