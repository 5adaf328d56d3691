"""
The inbox: what a sandbox has received, for people and for tests. Nothing of it exists at the vendor.

``search`` understands queries, ``summary`` counts what is found, ``people`` tells what happened to one of the
recipients, ``bubbles`` shows a message as its recipient sees it, ``pages`` makes HTML of it all, from the templates in
``pages/``. Who may call what is in ``sandbox/control.py``, and the description of its API in ``openapi.json``.
"""
