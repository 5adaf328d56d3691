"""
Lists of numbers: opt-ins, suppressions, and those that refused. ``spec`` and ``rejects`` say what users may name,
``open`` opens it; ``file``, ``sql``, ``reject_file`` and ``reject_table`` are the kinds there are.

To add a source, give it a class in ``spec``, a module that opens it, and a line in ``open``.
"""
