"""Calling and being called."""

from apps.simulator import calls
from apps.simulator.calls import Call
from apps.simulator.client import Client, Experience
from apps.simulator.policies import Body


def call(
    client: Client, callee: str, busy: bool = False, custom: Body | None = None, lose_answers: int = 0
) -> Experience:
    """Call out; the other side answers at once, or is busy."""
    outcome = calls.request(client.session, callee, custom=custom or {}, lose_answers=lose_answers)
    done = "busy" if busy else "talking"
    if outcome.goes_on:
        new = Call(client.session, outcome.body)
        new.becomes(calls.TRYING)
        if busy:
            new.end(calls.BUSY, "SIP 486 Busy Here")
        else:
            new.becomes(calls.RING)
            new.becomes(calls.ESTABLISHED)
        done += f" to {new.peer}" if new.peer != callee and client.session.shows("CallStatusEvent", "callee") else ""
    return client.happened(f"called {callee}", outcome, done)


def incoming_call(client: Client, caller: str) -> Experience:
    """Somebody calls the client; it rings until `answer` or `hangup`."""
    outcome = calls.incoming(client.session, caller)
    if outcome.goes_on:
        client.session.deliver("OnCallEvent", outcome)
        Call(client.session, outcome.body).becomes(calls.RING)
    return client.happened(f"was called by {caller}", outcome, "it rings")


def answer(client: Client) -> Experience:
    return _in_call(client, "answer", "answered", calls.ESTABLISHED, "talking")


def hold(client: Client) -> Experience:
    return _in_call(client, "hold", "asked to hold the call", calls.HOLD, "on hold")


def unhold(client: Client) -> Experience:
    return _in_call(client, "unhold", "asked to resume the call", calls.ESTABLISHED, "talking again")


def dtmf(client: Client, dtmf: str, type: str = "RFC2833") -> Experience:
    return _in_call(client, "sendDtmf", f"sent the tones {dtmf}", None, "", {"type": type, "dtmf": dtmf})


def transfer(client: Client, target: str) -> Experience:
    """Hand the call over to somebody else; it ends for us."""
    mine = _mine(client)
    if mine is None:
        return Experience("had no call to transfer")
    members = {"callId": mine.id, "target": target}
    outcome = client.session.ask("transfer", members, report=members | {"incoming": False})
    if outcome.goes_on:
        real = str(outcome.body["target"])
        for status in ("TRYING", "COMPLETED"):
            client.session.report("TransferStatusEvent", members | {"target": real, "incoming": False}, status)
        target = real if client.session.shows("TransferStatusEvent", "target") else target
        mine.end()
    return client.happened(f"asked to transfer the call to {target}", outcome, "done")


def incoming_transfer(client: Client, target: str) -> Experience:
    """The other side asks us to go on with somebody else."""
    mine = _mine(client)
    if mine is None:
        return Experience("had no call that could be transferred")
    members = {"callId": mine.id, "target": target, "incoming": True}
    outcome = client.session.ask("OnTransferEvent", members | {"status": "PENDING"}, report=members)
    if outcome.goes_on:
        client.session.deliver("OnTransferEvent", outcome)
        client.session.report("TransferStatusEvent", members, "COMPLETED")
    return client.happened(f"was asked to go on with {target}", outcome, "done")


def hangup(client: Client) -> Experience:
    mine = _mine(client)
    if mine is None:
        return Experience("had no call to hang up")
    outcome = mine.ask("hangup")
    if outcome.goes_on:
        mine.end()
    return client.happened("hung up", outcome, "")


def _in_call(
    client: Client,
    method: str,
    asked: str,
    state: tuple[str, int, str] | None,
    done: str,
    members: Body | None = None,
) -> Experience:
    mine = _mine(client)
    if mine is None:
        return Experience(f"{asked}: there is no call")
    outcome = mine.ask(method, members)
    if outcome.goes_on and state:
        mine.becomes(state)
    return client.happened(asked, outcome, done)


def _mine(client: Client) -> Call | None:
    mine = [call for call in list(client.node.calls.values()) if call.session is client.session]
    return mine[-1] if mine else None
