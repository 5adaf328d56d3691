"""Transfers of the Cirrus provider: from where data is to messages."""
