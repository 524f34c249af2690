"""Messages, data and the rest of what a session exchanges."""

from apps.simulator import bodies
from apps.simulator.client import Client, Experience

_REGINFO = '<?xml version="1.0"?>\n<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" state="full"/>\n'
_LISTS = '<?xml version="1.0"?>\n<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>\n'


def message(client: Client, to: str, text: str = "Hello!", lose_answers: int = 0) -> Experience:
    session = client.session
    members = bodies.message(_me(client), to, text)
    asked = members | {"status": "PENDING"}
    outcome = session.ask("sendMessage", asked, report=members, lose_answers=lose_answers)
    if outcome.goes_on:
        sent = members | {"to": outcome.body["to"], "body": outcome.body["body"]}
        session.report("MessageStatusEvent", sent, "SENT")
        session.report("MessageStatusEvent", sent, "ACCEPTED")
    return client.happened(f"sent a message to {to}", outcome, "")


def incoming_message(client: Client, sender: str, text: str = "Hello!") -> Experience:
    members = bodies.message(sender, _me(client), text)
    outcome = client.session.ask("OnMessageEvent", members | {"status": "RECEIVED"}, report=members)
    if outcome.goes_on:
        client.session.deliver("OnMessageEvent", outcome)
    return client.happened(f"got a message from {sender}", outcome, "")


def imdn(client: Client, to: str) -> Experience:
    """Tell the sender of a message that it was delivered."""
    members = {"id": bodies.new_id(), "from": _me(client), "to": to}
    outcome = client.session.ask("sendIMDN", members)
    if outcome.goes_on:
        client.session.report("MessageStatusEvent", members, "IMDN_NOTIFICATION_SENT")
    return client.happened(f"confirmed a message of {to}", outcome, "")


def data(client: Client, payload: object) -> Experience:
    operation = {"operationId": bodies.new_id()}
    outcome = client.session.ask("OnDataEvent", operation | {"payload": payload}, report=operation)
    if outcome.goes_on:
        client.session.report("DataStatusEvent", operation, "ACCEPTED")
    return client.happened("sent data", outcome, "")


def subscribe(client: Client, event: str = "reg", expires: int = 3600) -> Experience:
    members = {"event": event, "expires": expires}
    outcome = client.session.ask("subscribe", members)
    if outcome.goes_on:
        notify = members | {"terminate": False, "requestBody": _REGINFO}
        client.session.report("SubscriptionStatusEvent", notify, "ACTIVE")
    return client.happened(f"subscribed to {event}", outcome, "")


def xcap(client: Client, url: str) -> Experience:
    outcome = client.session.ask("sendXcapRequest", {"url": url}, report={})
    if outcome.goes_on:
        client.session.report("XcapStatusEvent", {"responseBody": _LISTS})
    return client.happened(f"asked XCAP for {url}", outcome, "answered")


def bug_report(client: Client, text: str, type: str = "no_media") -> Experience:
    outcome = client.session.ask("submitBugReport", {"text": text, "type": type}, report={})
    if outcome.goes_on:
        client.session.report("BugReportStatusEvent", {"filename": f"report-{bodies.new_id()}.zip"})
    return client.happened("reported a bug", outcome, "")


def _me(client: Client) -> str:
    return str(client.session.connection.get("sipLogin") or "10007")
