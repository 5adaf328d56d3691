"""Notifiers of the Cirrus provider."""
