"""A model of Cirrus: it takes requests, judges them, and answers, or fails in any way that the fault table has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow_provider_cirrus.api import answers, wire
from airflow_provider_cirrus.api.errors import CirrusError, NoAnswer, NotConnected
from airflow_provider_cirrus.api.exchange import Response
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import account_of
from airflow_provider_cirrus.api.results import SendResult
from airflow_provider_cirrus.delivery.ledger import key_of

if TYPE_CHECKING:
    from tests.simulation.world import Task, World

STREAM = "stream-of-a-world"

# Their recipients: what Cirrus makes of them.
BAD_ENDING, POISON_ENDING, UNTRANSLATED = "91", "92", "xx"


class SimulatedCirrus:
    """One account."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: Every message that was accepted: when, its key, its id, and whose it was.
        self.accepted: list[tuple[float, bytes, str, Task]] = []
        self.down_until = -1.0
        self._ids = 0
        self.people: Counter[str] = Counter()
        #: Whom a message reached, and when.
        self.reached: list[tuple[float, str]] = []
        #: What was refused last of each message: when, by which code, and whose it was.
        self.refused: dict[bytes, tuple[float, int, Task]] = {}

    def request(self, task: Task, messages: Sequence[Message], answer: Callable[[SendResult], None]) -> None:
        """Take a request on its way; ``answer`` is called with what it comes to, whether or not anybody is there."""
        world = self._world
        if world.now < self.down_until or world.strikes("refused_connection", 6):
            self._later(answer, wire.failed_send(messages, NotConnected("refused")), 0.05)
            return
        if world.strikes("down_for_minutes", 1):
            self.down_until = world.now + 20 + world.choices.seconds(200)
        if world.strikes("lost_request", 4):
            self._later(answer, wire.failed_send(messages, NoAnswer("dropped")), 30)
            return
        world.after(
            0.01 + world.choices.seconds(0.3), lambda: self._arrive(task, messages, answer), "a request arrives"
        )

    def _arrive(self, task: Task, messages: Sequence[Message], answer: Callable[[SendResult], None]) -> None:
        world = self._world
        if world.strikes("server_error_before", 4):
            self._respond(messages, answer, 500, b"<html>oops</html>")
        elif world.strikes("throttled", 5):
            asked = world.choices.of(["", "1", "7", "120", "1790000000000"])
            self._respond(messages, answer, 429, b"", {"retry-after": asked} if asked else {})
        elif world.strikes("unauthorized", 1):
            self._respond(messages, answer, 401, b"")
        elif any(message.to.endswith(POISON_ENDING) for message in messages):
            world.struck("refused_whole")
            self._respond(
                messages, answer, 400, json.dumps({"status": "400", "description": "no", "data": None}).encode()
            )
        else:
            self._judge(task, messages, answer)

    def _judge(self, task: Task, messages: Sequence[Message], answer: Callable[[SendResult], None]) -> None:
        world = self._world
        entries: list[dict[str, object]] = []
        for message in messages:
            failed = None
            key = key_of(message, STREAM)
            world.codec.sent_again(world, task, key)
            if message.to.endswith(BAD_ENDING):
                failed = "(#131026) not a WhatsApp user"
            elif message.template.language == UNTRANSLATED:
                failed = "(#132001) no such template"
                world.struck("untranslated")
            elif world.strikes("throttled_recipient", 2):
                failed = "(#130429) too fast"
            elif world.codec.retry_rejected_after is not None and world.strikes("refused_for_a_time", 40):
                failed = "(#131049) not now"
            elif world.strikes("account_locked", 1):
                failed = "(#131031) account locked"
            if failed:
                self.refused[key] = (world.now, int(failed[2:8]), task)
                entries.append({"recipient": message.to, "status": 400, "failed": failed})
                continue
            self._ids += 1
            self.accepted.append((world.now, key, f"m{self._ids}", task))
            self.people[account_of(message.to)] += 1
            self.reached.append((world.now, account_of(message.to)))
            world.log("cirrus accepts %s", key.hex()[:8])
            entries.append({"recipient": message.to, "id": f"m{self._ids}", "status": 200})
        if world.strikes("lost_answer", 4):
            self._later(answer, wire.failed_send(messages, NoAnswer("time out")), 30)
        elif world.strikes("server_error_after", 3):
            self._respond(messages, answer, 502, b"bad gateway")
        elif world.strikes("garbage", 2):
            self._respond(messages, answer, 200, b"\xff<p>")
        else:
            if world.strikes("missing_entry", 3):
                entries.pop()
            status = 200 if all(entry["status"] == 200 for entry in entries) else 206
            body = json.dumps({"status": str(status), "data": entries}).encode()
            self._respond(messages, answer, status, body)

    def _respond(
        self,
        messages: Sequence[Message],
        answer: Callable[[SendResult], None],
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
    ) -> None:
        response = Response(status, headers or {}, body)
        try:
            if status == 429:
                # As the client does.
                raise answers.error_for(response)
            sent = wire.read_send(messages, response)
        except CirrusError as error:
            sent = wire.failed_send(messages, error)
        self._later(answer, sent, 0.01 + self._world.choices.seconds(2.0))

    def _later(self, answer: Callable[[SendResult], None], sent: SendResult, seconds: float) -> None:
        self._world.after(seconds, lambda: answer(sent), "an answer comes")
