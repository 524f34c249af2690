"""How staff read the actions, wherever they choose or meet one."""

ACTION_WORDS = {
    "connect": "connect",
    "publish": "publish",
    "play": "play",
    "call": "call",
    "answer": "answer calls",
    "hold": "hold calls",
    "transfer": "transfer calls",
    "dtmf": "send tones",
    "message": "send messages",
    "imdn": "send delivery notices",
    "subscribe": "subscribe to SIP events",
    "xcap": "send XCAP requests",
    "data": "send data",
    "bug-report": "send bug reports and logs",
    "receive-call": "receive calls",
    "receive-message": "receive messages",
    "receive-transfer": "be transferred",
}


def joined(words: list[str], last: str = "and") -> str:
    """Words as they are listed in a sentence: publish, play and call."""
    *most, final = words
    return f"{', '.join(most)} {last} {final}" if most else final
