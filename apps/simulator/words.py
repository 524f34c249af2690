"""Outcomes in plain words, for the report."""

from apps.simulator.policies import Answer, Outcome, Told, Verdict


def sentence(asked: str, outcome: Outcome, done: str) -> str:
    """“asked to play lobby: playing”, or why not, or that WCS did it all the same. `done` may say nothing."""
    ends = ": ".join(filter(None, (asked, _end(outcome, done))))
    return ends + _repeats(outcome.answer)


def answered(answer: Answer | None) -> str:
    if answer is None:
        return "not asked (DISABLE)"
    if answer.status is None:
        return f"no answer ({answer.failure})"
    if answer.status == 403:
        return f"refused ({' '.join(filter(None, ('403', answer.reason)))})"
    if answer.status == 200:
        return "answered 200 with nothing that WCS can read"
    return f"answered {answer.status}"


def stopped(told: Told | None) -> str:
    if told is None:
        return "stopped"
    if told.event == "ConnectionStatusEvent":
        return "declined"
    if told.event in ("HTTP", "RTSP"):
        return f"the player got {told.event} {told.status}" if told.event == "HTTP" else told.status
    return f"stopped with {told.status or told.event}"


def _end(outcome: Outcome, done: str) -> str:
    if outcome.verdict is Verdict.ALLOWED:
        return done
    if outcome.verdict is Verdict.UNASKED:
        return ", ".join(filter(None, (done, "the backend was not asked (DISABLE)")))
    if outcome.goes_on:
        return ": ".join(filter(None, (f"{answered(outcome.answer)}, but WCS went on (LOG)", done)))
    if outcome.sip_status:
        return f"{answered(outcome.answer)}, the caller got SIP {outcome.sip_status}"
    return f"{answered(outcome.answer)}, {stopped(outcome.told)}"


def _repeats(answer: Answer | None) -> str:
    return f" (the hook was sent {answer.attempts} times)" if answer and answer.attempts > 1 else ""
