"""Tokens that others sign: what is believed of them, and each way in which they are refused."""

import base64
import hmac
import json
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from apps.access.compile import Rows
from apps.access.reasons import Reason
from apps.access.rows import IssuerRow
from apps.access.web_tokens import (
    MAX_KEYS_TRIED,
    MAX_LENGTH,
    Grant,
    TokenRefused,
    VerifiedTokens,
    time_problem,
    verify,
)
from apps.connections.jwks import BadKeySet, read_key_set, secret_key
from tests.access.signed import (
    AUDIENCE,
    EC_KEY,
    ISSUER,
    KEY_SET,
    KEYS,
    OLD_SECRET,
    OTHER_EC_KEY,
    OTHER_RSA_KEY,
    RSA_KEY,
    SECRET,
    claims_of,
    issuer,
    key_set,
    public,
    sign,
    web_token,
)
from tests.access.worlds import NOW

AT = int(NOW.timestamp())


def known(*issuers):
    rows: Rows[IssuerRow] = Rows(lambda row: row.issuer)
    rows.replace((), issuers or [issuer()])
    return rows


def read(token, *issuers):
    """What a token grants."""
    return verify(token, known(*issuers))[1]


def refusal(token, *issuers):
    """The reason for which a token is refused."""
    with pytest.raises(TokenRefused) as caught:
        read(token, *issuers)
    return caught.value.reason


def encoded(*parts):
    """Parts of a token as they are written: bytes as they are, all else as JSON."""
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def by_hand(header, claims, secret=SECRET):
    """A token that no library would make, rightly signed with the shared secret."""
    said = encoded(header, claims)
    return f"{said}.{encoded(hmac.digest(secret, said.encode(), 'sha256'))}"


HS = {"alg": "HS256", "typ": "JWT"}


# What is believed


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256"])
def test_a_token_that_is_signed_as_agreed_says_who_it_is(algorithm):
    assert read(web_token("alice", algorithm)) == Grant(
        ISSUER,
        "alice",
        datetime.fromtimestamp(AT + 3600, UTC),
        starts_at=datetime.fromtimestamp(AT - 60, UTC),
        issued_at=datetime.fromtimestamp(AT - 60, UTC),
    )


def test_a_token_made_by_hand_is_as_good():
    assert read(by_hand(HS, claims_of())).subject == "alice"


def test_two_shared_secrets_are_good_while_one_takes_the_place_of_the_other():
    assert read(sign(claims_of(), key=OLD_SECRET)).subject == "alice"
    assert refusal(sign(claims_of(), key=OLD_SECRET), issuer(keys=(secret_key(SECRET),))) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
def test_it_is_for_us_if_we_are_among_those_it_names(audience):
    assert read(web_token(aud=audience)).subject == "alice"


def test_an_issuer_without_audience_signs_tokens_that_name_none():
    assert read(web_token(aud=None), issuer(audience="")).subject == "alice"


CLAIMS = {
    "https://example.org/groups": ["a"],
    "realm": {"access": {"roles": ["b", "c"], "name": "bob"}},
    "scope": "publish play",
    "streams": [],
}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"groups_claim": "https://example.org/groups"}, {"groups": ("a",)}),
        ({"groups_claim": "realm.access.roles"}, {"groups": ("b", "c")}),
        ({"groups_claim": "realm.nothing.roles"}, {"groups": ()}),
        ({"groups_claim": "scope.access"}, {"groups": ()}),
        ({"user_claim": "realm.access.name"}, {"subject": "bob"}),
        ({"actions_claim": "scope"}, {"actions": ("publish", "play")}),
        ({"streams_claim": "streams"}, {"streams": ()}),
        ({"streams_claim": "absent", "actions_claim": "absent"}, {"streams": (), "actions": ()}),
        ({}, {"groups": (), "streams": None, "actions": None}),
    ],
)
def test_the_issuer_says_which_claims_mean_what(fields, found):
    grant = read(web_token(**CLAIMS), issuer(**fields))
    assert {name: getattr(grant, name) for name in found} == found


# What is refused: the signature


def unsigned(algorithm):
    return encoded({"alg": algorithm}, claims_of()) + "."


def test_a_token_that_is_not_signed_at_all():
    for name in ("none", "None", "NONE", "", None):
        assert refusal(unsigned(name)) is Reason.BAD_SIGNATURE
        assert refusal(unsigned(name), issuer(algorithms=("HS256", "none"))) is Reason.BAD_SIGNATURE
    assert refusal(encoded({}, claims_of()) + ".") is Reason.BAD_SIGNATURE
    assert refusal(encoded(HS, claims_of()) + ".") is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("key", [RSA_KEY, EC_KEY], ids=["RSA", "EC"])
@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
def test_a_public_key_is_no_shared_secret(key, form):
    encoding = serialization.Encoding.DER if form == "der" else serialization.Encoding.PEM
    secret = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    if form == "jwk":
        secret = json.dumps(public(key)).encode()
    token = by_hand(HS, claims_of(), secret)
    assert refusal(token) is Reason.BAD_SIGNATURE
    assert refusal(token, issuer(keys=read_key_set(KEY_SET))) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(("algorithm", "others"), [("HS256", ("RS256", "ES256")), ("RS256", ("HS256", "ES256"))])
def test_an_algorithm_that_the_issuer_does_not_use(algorithm, others):
    assert refusal(web_token(algorithm=algorithm), issuer(algorithms=others)) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("algorithm", ["HS512", "PS256", "RS512"])
def test_an_algorithm_that_is_not_accepted_here_even_if_the_row_says_so(algorithm):
    key = RSA_KEY if algorithm != "HS512" else SECRET * 2
    assert refusal(sign(claims_of(), algorithm, key), issuer(algorithms=(algorithm,))) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("HS256", b"somebody else's secret of 32 byte"), ("RS256", OTHER_RSA_KEY), ("ES256", OTHER_EC_KEY)],
)
def test_somebody_elses_signature(algorithm, key):
    assert refusal(sign(claims_of(), algorithm, key)) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256"])
def test_what_was_changed_after_signing(algorithm):
    header, _, signature = web_token(algorithm=algorithm).split(".")
    assert refusal(f"{header}.{encoded(claims_of('root'))}.{signature}") is Reason.BAD_SIGNATURE


def test_the_key_that_a_token_names_and_no_other():
    assert read(sign(claims_of(), "RS256", kid="rsa")).subject == "alice"
    for kid in ("ec", "other", ""):
        assert refusal(sign(claims_of(), "RS256", kid=kid)) is Reason.BAD_SIGNATURE
    assert refusal(by_hand({**HS, "alg": "RS256", "kid": ["rsa"]}, claims_of())) is Reason.BAD_SIGNATURE
    nameless = issuer(keys=read_key_set(key_set(public(RSA_KEY))))
    assert refusal(sign(claims_of(), "RS256", kid="rsa"), nameless) is Reason.BAD_SIGNATURE
    assert read(sign(claims_of(), "RS256"), nameless).subject == "alice"


def test_of_two_keys_that_one_counts_which_the_token_names():
    two = issuer(keys=read_key_set(key_set(public(OTHER_RSA_KEY, "old"), public(RSA_KEY, "new"))))
    assert read(sign(claims_of(), "RS256", kid="new"), two).subject == "alice"
    assert read(sign(claims_of(), "RS256"), two).subject == "alice"
    assert refusal(sign(claims_of(), "RS256", kid="old"), two) is Reason.BAD_SIGNATURE


def test_a_token_that_names_no_key_has_only_so_many_tried():
    others = [secret_key(b"%032d" % number) for number in range(MAX_KEYS_TRIED)]
    assert read(web_token(), issuer(keys=(*others[1:], secret_key(SECRET)))).subject == "alice"
    assert refusal(web_token(), issuer(keys=(*others, secret_key(SECRET)))) is Reason.BAD_SIGNATURE


def test_an_issuer_without_keys():
    assert refusal(web_token(), issuer(keys=())) is Reason.BAD_SIGNATURE


# What is refused: what it says


@pytest.mark.parametrize("named", [None, "https://other.example.org/", "", 5, [ISSUER], ISSUER.rstrip("/")])
def test_another_issuer(named):
    assert refusal(by_hand(HS, claims_of() | {"iss": named})) is Reason.UNKNOWN_ISSUER


def test_an_issuer_who_is_switched_off():
    assert refusal(web_token(), issuer(active=False)) is Reason.UNKNOWN_ISSUER


def test_one_issuer_does_not_sign_for_another():
    other = issuer(id=2, issuer="https://other.example.org/", keys=(secret_key(b"another secret of 32 characters!"),))
    assert refusal(web_token(iss=other.issuer), issuer(), other) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("audience", [None, "other", [], ["other"], "WCS", "wcs ", {"wcs": 1}, 5])
def test_another_audience(audience):
    assert refusal(by_hand(HS, {**claims_of(), "aud": audience})) is Reason.WRONG_AUDIENCE


def test_an_audience_where_the_issuer_has_none():
    assert refusal(web_token(), issuer(audience="")) is Reason.WRONG_AUDIENCE


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["soon", True, [AT], -1e9, 1e18, -1e18, 253402300800])
def test_a_moment_that_is_none(name, value):
    assert refusal(by_hand(HS, {**claims_of(), name: value})) is Reason.TOKEN_MALFORMED


def test_a_token_that_never_ends():
    assert refusal(web_token(exp=None)) is Reason.TOKEN_MALFORMED
    assert refusal(by_hand(HS, claims_of() | {"exp": None})) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("subject", [None, "", 5, ["alice"], "a" * 151, "a\nb", "\ud800", "a\0"])
def test_a_subject_that_is_no_name(subject):
    assert refusal(by_hand(HS, claims_of() | {"sub": subject})) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("value", [5, {"a": 1}, [1], ["\ud800"], True])
def test_a_list_that_is_none(value):
    for claim in ("groups_claim", "streams_claim", "actions_claim"):
        assert refusal(by_hand(HS, claims_of() | {"x": value}), issuer(**{claim: "x"})) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "a.b",
        "a.b.c",
        "..",
        "a.b.c.d",
        web_token() + ".x",
        encoded(HS, b"null") + ".x",
        encoded(b"[]", claims_of()) + ".x",
        encoded(HS, b"{") + ".x",
        encoded(HS, b'{"exp": NaN}') + ".x",
        encoded(HS, b'{"exp": Infinity}') + ".x",
        encoded(HS, b"[" * 3000) + ".x",
        encoded(HS, b'{"exp": %s}' % (b"9" * 5000)) + ".x",
        encoded(HS, b"\xff\xfe") + ".x",
        by_hand({**HS, "crit": ["exp"], "exp": 1}, claims_of()),
        by_hand({**HS, "b64": False, "crit": ["b64"]}, claims_of()),
        by_hand({**HS, "b64": False}, claims_of()),
    ],
)
def test_what_cannot_be_read(token):
    assert refusal(token) is Reason.TOKEN_MALFORMED


def doubled(said, name, value):
    """JSON in which a member stands twice."""
    return json.dumps(said)[:-1].encode() + f', "{name}": {json.dumps(value)}}}'.encode()


def test_what_is_said_twice():
    assert refusal(by_hand(HS, doubled(claims_of(), "sub", "root"))) is Reason.TOKEN_MALFORMED
    assert refusal(by_hand(HS, doubled(claims_of(), "exp", AT + 9999))) is Reason.TOKEN_MALFORMED
    assert refusal(by_hand(doubled(HS, "alg", "none"), claims_of())) is Reason.TOKEN_MALFORMED
    nested = json.dumps(claims_of())[:-1].encode() + b', "realm": {"roles": ["a"], "roles": ["b"]}}'
    assert refusal(by_hand(HS, nested)) is Reason.TOKEN_MALFORMED


def test_a_token_that_is_too_long():
    def padded(length):
        return by_hand(HS, claims_of() | {"padding": "x" * length})

    short = padded((MAX_LENGTH - 500) * 3 // 4)
    assert MAX_LENGTH - 700 < len(short) <= MAX_LENGTH
    assert read(short).subject == "alice"
    long = padded(MAX_LENGTH)
    assert refusal(long) is Reason.TOKEN_MALFORMED
    with pytest.raises(TokenRefused, match="token-malformed"):
        VerifiedTokens().read(long, known())


# Time


@pytest.mark.parametrize(
    ("seconds", "problem"), [(-31, Reason.EXPIRED_TOKEN), (-30, Reason.EXPIRED_TOKEN), (-29, None)]
)
def test_it_is_good_until_it_expires_and_as_long_as_clocks_may_differ(seconds, problem):
    assert time_problem(read(web_token(exp=AT + seconds)), 30, NOW) is problem


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize(("seconds", "problem"), [(31, Reason.TOKEN_NOT_YET_VALID), (30, None), (-9, None)])
def test_it_is_not_good_before_it_begins_or_was_issued(claim, seconds, problem):
    assert time_problem(read(web_token(**{claim: AT + seconds})), 30, NOW) is problem


def test_the_later_of_two_beginnings_counts():
    for nbf, iat in ((AT + 60, AT), (AT, AT + 60)):
        assert time_problem(read(web_token(nbf=nbf, iat=iat)), 0, NOW) is Reason.TOKEN_NOT_YET_VALID


# Remembering


@pytest.fixture
def checked(monkeypatch):
    """What the signatures of were checked."""
    seen, check = [], jwt.PyJWS.decode_complete

    def counted(self, token, *args, **options):
        seen.append(token)
        return check(self, token, *args, **options)

    monkeypatch.setattr(jwt.PyJWS, "decode_complete", counted)
    return seen


def test_a_signature_is_checked_once(checked):
    verified, issuers, token = VerifiedTokens(), known(), web_token(algorithm="RS256")
    first = verified.read(token, issuers)
    assert verified.read(token, issuers) == first == verify(token, issuers)
    assert len(checked) == 2  # one of them without memory
    assert token not in repr(vars(verified))


def test_but_again_when_its_issuer_has_changed_in_any_way(checked):
    verified, issuers, token = VerifiedTokens(), known(), web_token()
    verified.read(token, issuers)
    issuers.replace((), [issuer()])
    assert verified.read(token, issuers)[1].subject == "alice"
    assert len(checked) == 2
    for changed in (issuer(keys=()), issuer(active=False), issuer(audience="other")):
        issuers.replace((), [changed])
        with pytest.raises(TokenRefused):
            verified.read(token, issuers)
    issuers.replace([1], ())
    with pytest.raises(TokenRefused, match="unknown-issuer"):
        verified.read(token, issuers)


def test_a_refusal_is_not_remembered_and_memory_is_bounded(checked):
    verified, issuers = VerifiedTokens(limit=2), known()
    with pytest.raises(TokenRefused):
        verified.read(web_token(aud="other"), issuers)
    assert len(verified) == 0
    for name in ("a", "b", "c", "a"):
        assert verified.read(web_token(name), issuers)[1].subject == name
    assert len(verified) == 2
    assert len(checked) == 5


# Sets of keys


def test_of_a_set_those_keys_count_that_check_what_is_accepted():
    weak = rsa.generate_private_key(65537, 1024)
    other_curve = ec.generate_private_key(ec.SECP384R1())
    entries = [
        public(RSA_KEY, "good"),
        public(RSA_KEY, "encrypts", use="enc"),
        public(RSA_KEY, "other algorithm", alg="RS512"),
        public(weak, "weak"),
        public(other_curve, "other curve"),
        {"kty": "OKP", "kid": "other kind"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kid": "nothing"},
        public(EC_KEY, "good too", use="sig", alg="ES256"),
        {**public(EC_KEY), "kid": 5},
    ]
    assert [(key.kid, key.algorithm) for key in read_key_set(key_set(*entries))] == [
        ("good", "RS256"),
        ("good too", "ES256"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "This is not JSON"),
        ("<html>", "This is not JSON"),
        ("[" * 60_000, "This is not JSON"),
        ("[]", "an object with a list"),
        ('{"keys": {}}', "an object with a list"),
        ('{"keys": [5]}', "an object with a list"),
        ('{"keys": []}', "No key in it"),
        (key_set({"kty": "oct", "k": "c2VjcmV0"}), "private or shared key"),
        (key_set({**public(RSA_KEY), "d": "x"}), "private or shared key"),
        (key_set(*[public(EC_KEY)] * 51), "at most 50 keys"),
        (" " * 65_537, "at most 65536 characters"),
    ],
)
def test_what_is_no_set_of_keys_says_why(text, problem):
    with pytest.raises(BadKeySet, match=problem):
        read_key_set(text)


def test_keys_do_not_show_themselves():
    assert SECRET.decode() not in repr(KEYS)
    assert SECRET.decode() not in repr(issuer())
