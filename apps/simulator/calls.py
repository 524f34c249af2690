"""SIP calls of a session, outgoing and incoming."""

from apps.simulator import bodies
from apps.simulator.policies import Body, Outcome
from apps.simulator.session import Session

TRYING = ("TRYING", 100, "Trying")
RING = ("RING", 180, "Ringing")
ESTABLISHED = ("ESTABLISHED", 200, "OK")
HOLD = ("HOLD", 200, "OK")
BUSY = ("BUSY", 486, "Busy Here")
FINISH = ("FINISH", 200, "OK")


class Call:
    """One call, from the first ring to the end."""

    def __init__(self, session: Session, body: Body) -> None:
        self.session = session
        self.body = body
        self.id: str = body["callId"]
        session.node.put(session.node.calls, self.id, self)

    @property
    def peer(self) -> str:
        return str(self.body["caller"] if self.body["incoming"] else self.body["callee"])

    def becomes(self, state: tuple[str, int, str], info: str = "Unknown") -> None:
        status, sip_status, reason = state
        self.body = self.body | {"status": status, "sipStatus": sip_status}
        members = self.body | {"sipMessageRaw": bodies.sip_response(sip_status, reason, self.body)}
        self.session.report("CallStatusEvent", members, status, info)

    def end(self, state: tuple[str, int, str] = FINISH, info: str = "Normal call clearing") -> bool:
        """False if it had ended before."""
        if self.session.node.take(self.session.node.calls, self.id) is None:
            return False
        self.becomes(state, info)
        return True

    def ask(self, method: str, members: Body | None = None) -> Outcome:
        """A request within the call; if it is broken off, the client hears so in the call's status."""
        return self.session.ask(method, {"callId": self.id} | (members or {}), report=self.body)


def request(session: Session, callee: str, *, custom: Body, lose_answers: int = 0) -> Outcome:
    """Ask whether the number may be called."""
    caller = str(session.connection.get("sipLogin") or "10007")
    body = bodies.call(caller, callee, incoming=False, custom=custom)
    return session.ask("call", body, lose_answers=lose_answers)


def incoming(session: Session, caller: str) -> Outcome:
    """A call arrives for the session."""
    callee = str(session.connection.get("sipLogin") or "10007")
    return session.ask("OnCallEvent", bodies.call(caller, callee, incoming=True, custom={}))
