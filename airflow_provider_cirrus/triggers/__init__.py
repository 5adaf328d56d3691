"""Triggers of the Cirrus provider."""
