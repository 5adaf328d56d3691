"""Hooks of the Cirrus provider."""
