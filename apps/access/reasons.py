"""Every reason a decision can carry: a stable code, and what it tells staff."""

from enum import StrEnum


class Reason(StrEnum):
    """Codes that staff filter on; stored with every record, so never renamed."""

    UNKNOWN_METHOD = "unknown-method"
    NOT_REFUSABLE = "not-refusable"
    STARTED_BY_REST_API = "started-by-rest-api"
    UNKNOWN_APP = "unknown-app"
    CUT = "cut"
    UNKNOWN_SESSION = "unknown-session"
    SESSION_ENDED = "session-ended"
    NO_CREDENTIALS = "no-credentials"
    BAD_TOKEN = "bad-token"  # noqa: S105 - a code, not a secret
    EXPIRED_TOKEN = "expired-token"  # noqa: S105
    TOKEN_NOT_FOR_THIS = "token-not-for-this"  # noqa: S105
    TOKEN_USED = "token-used"  # noqa: S105
    REVOKED = "revoked"
    TOKEN_MALFORMED = "token-malformed"  # noqa: S105
    UNKNOWN_ISSUER = "unknown-issuer"
    BAD_SIGNATURE = "bad-signature"
    WRONG_AUDIENCE = "wrong-audience"
    TOKEN_NOT_YET_VALID = "token-not-yet-valid"  # noqa: S105
    UNKNOWN_SUBJECT = "unknown-subject"
    BAD_PASSWORD = "bad-password"  # noqa: S105
    USER_INACTIVE = "user-inactive"
    PROTECTED_NUMBER = "protected-number"
    DENIED_BY_RULE = "denied-by-rule"
    HIDDEN_DIGITS = "hidden-digits"
    UNKNOWN_CALL = "unknown-call"
    CONNECT_AGAIN = "connect-again"
    ALLOWED_BY_RULE = "allowed-by-rule"
    ALLOWED_BY_LINK = "allowed-by-link"
    KEPT_WHILE_AWAY = "kept-while-away"
    LIMIT_REACHED = "limit-reached"
    NO_RULE = "no-rule"


NOTED = (Reason.NOT_REFUSABLE, Reason.UNKNOWN_METHOD)
"""Reasons of hooks that only told us something."""

STAFF_ACTION = "staff-action"
"""What stands for a reason in the audit log where an event is of no hook, but of a change that somebody made."""

SETTLED_BY_RULES = (Reason.ALLOWED_BY_RULE, Reason.DENIED_BY_RULE, Reason.NO_RULE, Reason.LIMIT_REACHED)
"""Reasons with which it is known who asked, without a name a guest, and which other rules could change."""

REASON_TEXTS = {
    Reason.UNKNOWN_METHOD: "WCS Gate does not know this method, so it is let pass and recorded.",
    Reason.NOT_REFUSABLE: "It has happened already, or only lets go of something, so it is never refused.",
    Reason.STARTED_BY_REST_API: "The app is marked as started by the WCS REST API, so it is never refused.",
    Reason.UNKNOWN_APP: "No WCS app with this app key is known here.",
    Reason.CUT: "It was ordered to end, by staff or by a limit that ends the oldest.",
    Reason.UNKNOWN_SESSION: "No session with this id was opened on this node through this app.",
    Reason.SESSION_ENDED: "The session has ended.",
    Reason.NO_CREDENTIALS: "Neither a token nor a password came, and the app does not welcome guests.",
    Reason.BAD_TOKEN: "The token or link is not known, or was removed.",
    Reason.EXPIRED_TOKEN: "The token or link has expired.",
    Reason.TOKEN_NOT_FOR_THIS: "The token or link is limited to other networks, pages, streams or actions.",
    Reason.TOKEN_USED: "The token is for single use, and another session has used it.",
    Reason.REVOKED: "Staff revoked what was issued or opened before a certain moment, or switched the link off.",
    Reason.TOKEN_MALFORMED: "The signed token (JWT) cannot be read, is too long, or says not until when it is good.",
    Reason.UNKNOWN_ISSUER: "The signed token (JWT) is from an issuer who is not known here, or is switched off.",
    Reason.BAD_SIGNATURE: "The signed token (JWT) is signed with no key and algorithm that its issuer has here.",
    Reason.WRONG_AUDIENCE: "The signed token (JWT) is meant for somebody else.",
    Reason.TOKEN_NOT_YET_VALID: "The signed token (JWT) is not good yet.",
    Reason.UNKNOWN_SUBJECT: "The signed token (JWT) is about nobody who is known here.",
    Reason.BAD_PASSWORD: "The login or the password is wrong, or too many wrong ones came lately.",
    Reason.USER_INACTIVE: "The user is switched off.",
    Reason.PROTECTED_NUMBER: "The number is protected, as emergency numbers are: no rule can refuse a call to it.",
    Reason.DENIED_BY_RULE: "A rule denies it.",
    Reason.UNKNOWN_CALL: "It names nothing but a call, and no call, or more than one, that was let in runs by its id.",
    Reason.HIDDEN_DIGITS: "It has digits where some telephone systems dial them and others do not, "
    "so another number than was decided on could be called.",
    Reason.CONNECT_AGAIN: "It has to be changed or hidden from the client, and the session began before there was "
    "anything of that kind. The client must connect again.",
    Reason.ALLOWED_BY_RULE: "A rule allows it.",
    Reason.ALLOWED_BY_LINK: "A link to this stream allows it.",
    Reason.KEPT_WHILE_AWAY: "The database was away, so a running stream was kept for a while: nothing that was known "
    "then would have refused it.",
    Reason.LIMIT_REACHED: "A rule would allow it, but only so many or so much, and that is used up.",
    Reason.NO_RULE: "No rule allows it.",
}
"""What each code tells staff."""
