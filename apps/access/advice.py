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
    Reason.TOKEN_USED: Advice("Issue another token: one for single use is good for one session.", "accounts.token"),
    Reason.REVOKED: Advice(
        "Issue a new token or link after the moment of revoking, if it was not meant.", "accounts.token"
    ),
    Reason.TOKEN_MALFORMED: Advice(
        "Look at what signs the token: it has to be a JWT that says until when it is good.", "connections.tokenissuer"
    ),
    Reason.UNKNOWN_ISSUER: Advice("If the issuer is yours, add it or switch it on.", "connections.tokenissuer"),
    Reason.BAD_SIGNATURE: Advice(
        "Give the issuer the key and algorithm that it signs with.", "connections.tokenissuer"
    ),
    Reason.WRONG_AUDIENCE: Advice(
        "Let the token name the audience that its issuer has here, or change it here.", "connections.tokenissuer"
    ),
    Reason.TOKEN_NOT_YET_VALID: Advice(
        "Let the client come later, or compare the clocks; the issuer's leeway allows for a difference.",
        "connections.tokenissuer",
    ),
    Reason.UNKNOWN_SUBJECT: Advice(
        "Add a user of that name, or let the issuer's tokens be enough by themselves.", "connections.tokenissuer"
    ),
    Reason.BAD_PASSWORD: Advice(
        "Set a new password for the user. After too many wrong ones, wait for five minutes.", "accounts.user"
    ),
    Reason.USER_INACTIVE: Advice("Switch the user on again.", "accounts.user"),
    Reason.DENIED_BY_RULE: Advice(
        "Allowing it by another rule would not help, as a deny beats every allow: change or end what denies it."
    ),
    Reason.HIDDEN_DIGITS: Advice(
        "Let the client send the number plainly, or let a rule have a number of its own called instead."
    ),
    Reason.UNKNOWN_CALL: Advice("The call has ended, or was never let in; the client has to call anew."),
    Reason.CONNECT_AGAIN: Advice("The client has to connect again.", "connections.session"),
    Reason.CUT: Advice("The client can begin anew, if rules let it; what was ordered to end stays ended."),
    Reason.LIMIT_REACHED: Advice("End something that runs, raise the limit of the rule, or wait until it counts anew."),
    Reason.NO_RULE: Advice("Add a rule that allows it."),
}
"""By reason."""
