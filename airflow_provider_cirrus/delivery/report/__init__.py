"""
What became of an audience, for people and for what runs next: ``summary`` for XCom and log, ``writer`` for a file with
a line per message, in one of ``formats``, at a ``destination``.
"""
