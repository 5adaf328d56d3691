"""Sensors of the Cirrus provider."""
