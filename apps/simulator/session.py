"""One client's session on the node: the policy `connect` brought, and every hook that goes under it."""

from collections.abc import Callable

from apps.simulator import policies
from apps.simulator.bodies import new_id
from apps.simulator.node import SimulatedNode
from apps.simulator.policies import DEFAULT, Body, Entry, Outcome, Told


class Session:
    """A WebSocket connection as the node sees it.

    `told` is what the client was told, in order, less what clientExclude hides. `notice` hears of what
    happens without the client's doing.
    """

    def __init__(
        self,
        node: SimulatedNode,
        *,
        app_key: str,
        address: str,
        connection: Body,
        notice: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.node = node
        self.id = node.session_id(address)
        self.app_key = app_key
        self.connection = connection
        self.notice = notice
        self.told: list[Told] = []
        self._entries: dict[str, Entry] = {}

    @property
    def open(self) -> bool:
        return self.id in self.node.sessions

    @property
    def identity(self) -> Body:
        return {"nodeId": self.node.node_id, "appKey": self.app_key, "sessionId": self.id}

    def connect(self, *, lose_answers: int = 0) -> Outcome:
        outcome = self.node.hook(DEFAULT, "connect", self.identity | self.connection, lose_answers=lose_answers)
        if not outcome.goes_on:
            self.told += [outcome.told] if outcome.told else []
            return outcome
        content = (outcome.answer and outcome.answer.content) or {}
        self._entries = policies.entries(content.get("restClientConfig"))
        self.connection = outcome.body | {"authToken": self.id}
        self.node.put(self.node.sessions, self.id, self)
        self.report("ConnectionStatusEvent", self.connection, "ESTABLISHED")
        if self.connection.get("sipRegisterRequired") and self.connection.get("sipLogin"):
            self.report("RegistrationStatusEvent", self._registration(), "REGISTERED")
        return outcome

    def disconnect(self, info: str = "Unknown") -> bool:
        """End it with everything that runs in it; False if it had ended before."""
        if self.node.take(self.node.sessions, self.id) is None:
            return False
        for stream in self.node.running_streams():
            if stream.session is self:
                stream.end("Stopped by session disconnect")
        for call in list(self.node.calls.values()):
            if call.session is self:
                call.end()
        self.report("ConnectionStatusEvent", self.connection, "DISCONNECTED", info)
        return True

    def ask(self, method: str, members: Body, *, report: Body | None = None, lose_answers: int = 0) -> Outcome:
        """Send a hook; if WCS breaks the operation off, backend and client hear of it in the matching event.

        `report` has the members of that event, where they are not those of the operation.
        """
        outcome = self._send(method, members, lose_answers)
        told = outcome.told
        if told and told.event == "ErrorEvent":
            self.told.append(told)
        elif told and method != policies.KEEP_ALIVE:
            failed = members if report is None else report
            failed = failed | ({"sipStatus": outcome.sip_status} if outcome.sip_status else {})
            self.report(told.event, failed, told.status, told.info)
        return outcome

    def report(self, event: str, members: Body, status: str = "", info: str = "Unknown") -> None:
        """An event: it has happened; it goes to the backend, then to the client."""
        outcome = self._send(event, members | ({"status": status, "info": info} if status else {}))
        if outcome.told:
            self.told.append(outcome.told)
        self.told.append(Told(event, status, info, policies.seen(outcome.body, self._entry(event))))

    def deliver(self, method: str, outcome: Outcome) -> None:
        """Hand something that arrived to the client."""
        status = str(outcome.body.get("status", ""))
        self.told.append(Told(method, status, body=policies.seen(outcome.body, self._entry(method))))

    def shows(self, event: str, member: str) -> bool:
        """Whether the client gets to see this member of an event."""
        return member not in self._entry(event).client_exclude

    def receive_data(self, payload: object, operation_id: str = "") -> None:
        """Data that the backend sent through the REST API."""
        operation = {"operationId": operation_id or new_id()}
        self.told.append(Told("OnDataEvent", body=operation | {"payload": payload}))
        self.report("DataStatusEvent", operation, "ACCEPTED")

    def _send(self, method: str, members: Body, lose_answers: int = 0) -> Outcome:
        body = self.identity | members | self.identity
        return self.node.hook(self._entry(method), method, body, lose_answers=lose_answers)

    def _entry(self, method: str) -> Entry:
        return self._entries.get(method, DEFAULT)

    def _registration(self) -> Body:
        return {name: value for name, value in self.connection.items() if name.startswith("sip")}
