"""
Sending an audience, from a row to its outcome.

``machine`` holds the whole life of a message, without threads, clock, HTTP or ledger; read it first. ``parts`` are
what it and its drivers hand to each other; ``dispatcher``
drives it; ``reader`` feeds it, ``recorder`` writes what it asks for; ``rate_limit`` and ``pair_limit`` say how fast.
"""
