"""How staff read what WCS reports: states and ends in plain words. Pure. What has none keeps the words of WCS."""

STATES = {
    ("ConnectionStatusEvent", "ESTABLISHED"): "{Who} is connected",
    ("ConnectionStatusEvent", "DISCONNECTED"): "{Who} disconnected",
    ("ConnectionStatusEvent", "FAILED"): "The connection of {who} failed",
    ("StreamStatusEvent", "PUBLISHING"): "{Who} publishes {stream}",
    ("StreamStatusEvent", "UNPUBLISHED"): "{Who} no longer publishes {stream}",
    ("StreamStatusEvent", "PLAYING"): "{Who} plays {stream}",
    ("StreamStatusEvent", "STOPPED"): "{Who} no longer plays {stream}",
    ("StreamStatusEvent", "FAILED"): "For {who}, {stream} failed",
    ("sendStreamEvent", ""): "{Who} sent an event along with {stream}",
    ("StreamEvent", ""): "An event of {stream} was delivered to {who}",
    ("RegistrationStatusEvent", "REGISTERED"): "The SIP account of {who} is registered",
    ("RegistrationStatusEvent", "UNREGISTERED"): "The SIP account of {who} is no longer registered",
    ("RegistrationStatusEvent", "AUTHENTICATION_FAIL"): "The SIP server did not take the credentials of {who}",
    ("RegistrationStatusEvent", "FAILED"): "The SIP account of {who} could not be registered",
    ("CallStatusEvent", "TRYING"): "The call of {who}{with_whom} is being set up",
    ("CallStatusEvent", "SESSION_PROGRESS"): "The call of {who}{with_whom} is being set up, and can be heard",
    ("CallStatusEvent", "RING"): "The call of {who}{with_whom} rings",
    ("CallStatusEvent", "ESTABLISHED"): "The call of {who}{with_whom} is established",
    ("CallStatusEvent", "HOLD"): "The call of {who}{with_whom} is on hold",
    ("CallStatusEvent", "BUSY"): "The call of {who}{with_whom} found it busy",
    ("CallStatusEvent", "FINISH"): "The call of {who}{with_whom} is over",
    ("CallStatusEvent", "FAILED"): "The call of {who}{with_whom} failed",
    ("TransferStatusEvent", "ACCEPTED"): "The transfer of a call of {who}{to_whom} was accepted",
    ("TransferStatusEvent", "TRYING"): "The transfer of a call of {who}{to_whom} is being tried",
    ("TransferStatusEvent", "COMPLETED"): "A call of {who} was transferred{to_whom}",
    ("TransferStatusEvent", "FAILED"): "The transfer of a call of {who}{to_whom} failed",
    ("MessageStatusEvent", "SENT"): "A message of {who}{to_whom} was sent",
    ("MessageStatusEvent", "FAILED"): "A message of {who}{to_whom} failed",
}
"""What an event with a status says of somebody, and of a stream or number."""

LETS_GO = {
    "hangup": "{Who} hung up{with_whom}",
    "unPublishStream": "{Who} stopped publishing {stream}",
    "stopStream": "{Who} stopped playing {stream}",
    "pauseStream": "{Who} paused {stream}",
}
"""What somebody does who only lets go."""

ENDS = {
    "DISCONNECTED": "the client disconnected",
    "UNPUBLISHED": "publishing stopped",
    "STOPPED": "playing stopped",
    "FINISH": "the call was over",
    "BUSY": "it was busy",
    "FAILED": "it failed",
}

NO_INFO = "Unknown"
"""What WCS gives as info where nothing went wrong."""


def state_said(method: str, status: str, who: str, target: str) -> str:
    """What an event says, as a sentence; "" where this is not known."""
    return _said(STATES.get((method, status), ""), who, target)


def lets_go_said(method: str, who: str, target: str) -> str:
    """What somebody lets go of, as a sentence; "" where this is not known."""
    return _said(LETS_GO.get(method, ""), who, target)


def _said(words: str, who: str, target: str) -> str:
    """The name of a guest is ""."""
    quoted = f"“{target}”"
    stream, with_whom, to_whom = (quoted, f" with {quoted}", f" to {quoted}") if target else ("a stream", "", "")
    return words.format(Who=who or "A guest", who=who or "a guest", stream=stream, with_whom=with_whom, to_whom=to_whom)


def end_said(reason: str) -> str:
    """Why something ended: publishing stopped (UNPUBLISHED: Stopped by user). WCS gives a status, and then its info.

    What is no status of an end was told by ourselves, and stays as it is.
    """
    status, _, info = reason.partition(" ")
    info = "" if info == NO_INFO else info.rstrip(".")
    if status not in ENDS:
        return reason
    return f"{ENDS[status]} ({status}{': ' if info else ''}{info})"
