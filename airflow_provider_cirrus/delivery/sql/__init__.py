"""
What ledger, caps, checks and alerts share where they are kept in SQL tables: ``store`` (engines, tables, transactions),
``statements`` (those that databases spell differently), ``errors`` (what a database says when it fails), ``probe``
(whether it answers); and ``temporary``: SQLite for a run.
"""
