"""What to do about a refusal, for each reason that is not for rules alone to settle. Pure."""

from typing import NamedTuple

from apps.access.reasons import Reason


class Advice(NamedTuple):
    """What to do, and the model on whose page it is done."""

    text: str
    label: str = ""


ADVICE = {
    Reason.UNKNOWN_APP: Advice("If the app is yours, add it by its app key.", "connections.app"),
    Reason.UNKNOWN_SESSION: Advice(
        "The client has to connect first, to this node and through this app.", "connections.session"
    ),
    Reason.SESSION_ENDED: Advice("The client has to connect anew.", "connections.session"),
    Reason.NO_CREDENTIALS: Advice("Let the client send a token, or let guests in through this app.", "connections.app"),
    Reason.BAD_TOKEN: Advice("Issue a new token for the user, and put it into the client.", "accounts.token"),
    Reason.EXPIRED_TOKEN: Advice("Let the token expire later, or issue a new one.", "accounts.token"),
    Reason.TOKEN_NOT_FOR_THIS: Advice(
        "Look at what the token is limited to; widen that, or issue another token.", "accounts.token"
    ),
    Reason.BAD_PASSWORD: Advice(
        "Set a new password for the user. After too many wrong ones, wait for five minutes.", "accounts.user"
    ),
    Reason.USER_INACTIVE: Advice("Switch the user on again.", "accounts.user"),
    Reason.DENIED_BY_RULE: Advice(
        "Allowing it by another rule would not help, as a deny beats every allow: change or end what denies it."
    ),
    Reason.NO_RULE: Advice("Add a rule that allows it."),
}
"""By reason."""
