"""What a request says that it is part of: the DAG, its run and its task, as tags of its messages."""

from __future__ import annotations

from urllib.parse import unquote

#: Tag by member of the W3C Baggage header, as the hook names them.
MEMBERS = {"airflow.dag_id": "dag", "airflow.run_id": "run", "airflow.task_id": "task"}
# Characters of a tag that are kept.
_LONGEST = 250


def tags_of(baggage: str) -> list[str]:
    """
    Return the tags that a header stands for, such as ``dag:shop_news``.

    :param baggage: the W3C Baggage header: ``airflow.dag_id=shop_news,airflow.run_id=manual__1``
    """
    found = []
    for member in baggage.split(","):
        name, equals, value = member.partition(";")[0].partition("=")
        tag = MEMBERS.get(name.strip())
        if tag is not None and equals and value.strip():
            found.append(f"{tag}:{unquote(value.strip())[:_LONGEST]}")
    return found
