"""
The audience, as a stream of messages: ``messages`` makes them of recipients, dicts or rows; ``rows`` reads files and
iterables, ``sql_rows`` a query; ``columns`` says which column fills what, ``shards`` which part a recipient is in.

To add a format of files, teach ``rows`` its ending.
"""
