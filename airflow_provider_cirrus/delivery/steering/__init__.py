"""
What people want of a send while it runs: that it pauses, goes on, slows down or ends; and how far it has come.

``wish`` is what is asked for and where it is read; ``sql`` keeps it beside a ledger, ``state`` in Airflow's task state
store. A wish is no event but a state: the newest holds, also for a try that begins after it.
"""
