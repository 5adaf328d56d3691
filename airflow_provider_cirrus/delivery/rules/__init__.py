"""
Whom to message and when: ``consent`` (opt-in and suppression), ``quiet_hours`` with ``time_zones``, ``frequency_cap``
with its store. ``policy`` asks them all; a new rule is asked there, too.
"""
