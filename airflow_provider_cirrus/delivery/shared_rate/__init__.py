"""
One rate for a stream, shared by all tasks, DAGs and workers that send through it: leases of the coming moment.

``book`` decides who may send how much, with neither clock nor database; ``sql`` keeps the book in a database.
"""
