"""Through what: WCS applications, WCS nodes, issuers of signed tokens, and the sessions of connected clients."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator, URLValidator
from django.db import models
from django.utils import timezone

from apps.accounts.models import Token
from apps.accounts.validators import validate_network
from apps.connections.jwks import ALGORITHMS, BadKeySet, read_key_set
from apps.connections.rows import SessionRow
from apps.connections.sealing import SealedField, seal, unseal

MAX_SECRETS = 2  # the new one and the one before, so that WCS can be changed over without a gap

_SIP_NAME = RegexValidator(r"\A[^\s@:;,<>\"\\]+\Z", "Write it without spaces and without @ : ; , < > and quotes.")
_HOST = RegexValidator(
    r"\A(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])\Z",
    "Write a host name or an address, without sip: and without a port: sip.example.com.",
)
_SHOWN = RegexValidator(r"\A[^<>\"\\\x00-\x1f\x7f]+\Z", "Write it without < > and quotes.")


def validate_api_url(value: str) -> None:
    """An address to which a path can be added, and nothing else. Whatever has a form is left to URLValidator."""
    if any(sign in value for sign in "?#@"):
        raise ValidationError(
            "Write it without ? and #, and without a login in it: http://10.0.0.5:8081/rest-api. "
            "The user and the password have fields of their own."
        )


def _networks_field(help_text: str) -> ArrayField:
    return ArrayField(
        models.CharField(max_length=50, validators=[validate_network]), default=list, blank=True, help_text=help_text
    )


class App(models.Model):
    """A WCS application, by app key: how its hooks are authenticated, and who may use it."""

    key = models.CharField("app key", max_length=255, unique=True, help_text="As in “add app <name> <key> <url>”.")
    guests = models.BooleanField(
        "guests welcome",
        default=False,
        help_text="Let clients without any credential connect as guests. Rules for guests then say what they may do.",
    )
    token_name = models.CharField(
        max_length=50,
        default="token",
        help_text="The key under which clients put their token in “custom”, for example token or aclAuth.",
    )
    hook_user = models.CharField(max_length=100, blank=True, help_text="restUsername of the app in WCS.")
    hook_passwords = ArrayField(SealedField(), default=list, blank=True, editable=False)
    networks = _networks_field(
        "Networks its hooks may come from, separated by commas. With neither these nor a password nor signing "
        "secrets of the node, hooks are accepted from this computer only."
    )
    rest_started = models.BooleanField(
        "started by REST API",
        default=False,
        help_text="Everything under this app key was started through the WCS REST API, so nothing is refused.",
    )
    note = models.CharField(max_length=255, blank=True)

    class Meta:
        verbose_name = "WCS app"

    def __str__(self) -> str:
        return self.key

    def clean(self) -> None:
        """Say in sentences why WCS could not log in with this user and password. Raises ValidationError."""
        if ":" in self.hook_user:
            raise ValidationError({"hook_user": "A colon cannot be part of it: HTTP Basic ends the user name there."})
        if self.hook_passwords and not self.hook_user:
            raise ValidationError(
                {"hook_user": "A hook password needs the user name that WCS sends with it (restUsername)."}
            )

    def set_hook_password(self, password: str) -> None:
        """Make this the password of its hooks; the one before stays valid until the next change. Does not save."""
        self.hook_passwords = _rotated(self.hook_passwords, password)


class Node(models.Model):
    """One WCS server. It is noted by itself on its first hook."""

    node_id = models.CharField("node id", max_length=255, unique=True)
    name = models.CharField(max_length=100, blank=True, help_text="What you call it, for example edge-1.")
    secrets = ArrayField(SealedField(), default=list, blank=True, editable=False)
    networks = _networks_field("Networks its hooks may come from, separated by commas. Empty: the app's decide.")
    api_url = models.CharField(
        "address of its REST API",
        max_length=255,
        blank=True,
        default="",
        db_default="",
        validators=[URLValidator(schemes=("http", "https")), validate_api_url],
        help_text="For ending what runs at once, for example http://10.0.0.5:8081/rest-api. Empty: streams are ended "
        "with their next keep-alive, and calls by whoever is in them.",
    )
    api_user = models.CharField(
        "user of its REST API",
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="Empty: the API asks for no login, which is how WCS comes (disable_rest_auth=true).",
    )
    api_password = SealedField(blank=True, default="", db_default="", editable=False)
    first_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "WCS node"

    def __str__(self) -> str:
        return self.name or self.node_id

    def set_secret(self, secret: str) -> None:
        """Make this the secret that signs its hooks; the one before stays valid until the next change. Not saved."""
        self.secrets = _rotated(self.secrets, secret)

    def set_api_password(self, password: str) -> None:
        """Make this the password for its REST API; empty, there is none. Does not save."""
        self.api_password = seal(password) if password else ""


def validate_algorithm(value: str) -> None:
    """One of the ways to sign a token that are accepted."""
    if value not in ALGORITHMS:
        raise ValidationError(
            "“%(value)s” is not an algorithm that is accepted here. Use one of: %(known)s.",
            params={"value": value, "known": ", ".join(ALGORITHMS)},
        )


def validate_key_set(value: str) -> None:
    """A JSON Web Key Set with a key in it that can be used."""
    try:
        read_key_set(value)
    except BadKeySet as error:
        raise ValidationError(str(error)) from None


def _claim_field(name: str, help_text: str, default: str = "") -> models.CharField:
    return models.CharField(name, max_length=100, default=default, blank=not default, help_text=help_text)


class TokenIssuer(models.Model):
    """Who signs tokens (JWT) that let their bearers in, with what keys, and what the claims of those tokens mean."""

    issuer = models.CharField(
        max_length=255, unique=True, help_text="The claim “iss” of its tokens, whole: https://login.example.org/"
    )
    active = models.BooleanField(default=True, help_text="Off: its tokens are refused, and sessions they opened.")
    audience = models.CharField(
        max_length=255,
        blank=True,
        help_text="What the claim “aud” must be or contain. Empty: only tokens without that claim are accepted.",
    )
    algorithms = ArrayField(
        models.CharField(max_length=5, validators=[validate_algorithm]),
        help_text="How its tokens may be signed. HS256 needs a shared secret; RS256 and ES256 need its public keys.",
    )
    secrets = ArrayField(SealedField(), default=list, blank=True, editable=False)
    jwks = models.TextField(
        "public keys",
        blank=True,
        validators=[validate_key_set],
        help_text="Its JSON Web Key Set (JWKS), with public keys for RS256 or ES256.",
    )
    jwks_url = models.CharField(
        "address of its public keys",
        max_length=500,
        blank=True,
        help_text="From here the keys are fetched every five minutes; the last good answer stays valid. An https "
        "address, or http on this computer. Empty: the keys are those given above.",
    )
    fetched_at = models.DateTimeField("keys fetched", null=True, blank=True, editable=False)
    fetch_problem = models.CharField("problem when fetching", max_length=255, blank=True, editable=False)
    leeway = models.PositiveSmallIntegerField(
        default=30,
        validators=[MaxValueValidator(300)],
        help_text="Seconds that its clock may differ from ours, at most 300.",
    )
    user_claim = _claim_field(
        "user", "The claim that holds the user's name. A dot leads deeper: profile.name.", default="sub"
    )
    groups_claim = _claim_field(
        "groups",
        "The claim that names groups the user is in besides their own. Empty: the user's own groups are all.",
    )
    streams_claim = _claim_field(
        "streams",
        "The claim that names the only streams to publish or play. Empty: no such limit. "
        "Where it is set, a token without it may publish and play nothing.",
    )
    actions_claim = _claim_field(
        "actions",
        "The claim that names the only actions, besides connecting. Empty: no such limit. "
        "Where it is set, a token without it may only connect.",
    )
    accepts_unknown = models.BooleanField(
        "accepts users who are not known here",
        default=False,
        help_text="On: a token about somebody without an entry under Users is accepted too, as a user of that name "
        "in the groups that the token names. Rules for everyone with an account hold for them.",
    )
    note = models.CharField(max_length=255, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(leeway__lte=300), name="issuer_leeway_bounded"),
            models.CheckConstraint(condition=~models.Q(issuer=""), name="issuer_named"),
        ]

    def __str__(self) -> str:
        return self.issuer

    def clean(self) -> None:
        """Say in a sentence what is missing to check a signature with. Raises ValidationError."""
        public = {"RS256", "ES256"} & set(self.algorithms or ())
        if public and not (self.jwks or self.jwks_url):
            raise ValidationError({"jwks": f"{' and '.join(sorted(public))} needs its public keys, or their address."})

    def set_secret(self, secret: str) -> None:
        """Make this the secret it shares with us; the one before stays valid until the next change. Not saved."""
        self.secrets = _rotated(self.secrets, secret)


class Session(models.Model):
    """One connected client, opened by an allowed `connect`; known by node id and session id together."""

    class EnteredBy(models.TextChoices):
        TOKEN = "token", "a token"
        JWT = "jwt", "a signed token (JWT)"
        LINK = "link", "a stream link"
        PASSWORD = "password", "login and password"
        GUEST = "guest", "as a guest"
        REST = "rest", "the WCS REST API"

    node_id = models.CharField("node id", max_length=255)
    session_id = models.CharField("session id", max_length=255)
    opening = models.BigIntegerField(
        default=1, editable=False, help_text="Raised when the same session id is opened again."
    )
    app_key = models.CharField("app key", max_length=255)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="sessions", db_constraint=False
    )
    username = models.CharField(max_length=150, blank=True)
    token = models.ForeignKey(Token, null=True, on_delete=models.SET_NULL, related_name="+", db_constraint=False)
    entered_by = models.CharField(max_length=10, choices=EnteredBy.choices)
    client_address = models.GenericIPAddressField(null=True)
    origin = models.CharField(max_length=255, blank=True)
    granted = models.TextField(
        blank=True, db_default="", editable=False, help_text="What a signed token said, as JSON, or the code of a link."
    )
    hiding = models.PositiveSmallIntegerField(
        default=0, db_default=0, editable=False, help_text="What its policy does: apps/protocol/policy.py."
    )
    opened_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=255, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node_id", "session_id"], name="session_per_node")]
        indexes = [
            models.Index(fields=["-opened_at"], name="session_newest"),
            models.Index(fields=["-opened_at"], name="session_running", condition=models.Q(ended_at=None)),
            models.Index(fields=["username", "-opened_at"], name="session_by_user"),
            models.Index(fields=["session_id"], name="session_by_id"),
        ]

    def __str__(self) -> str:
        return f"{self.username or 'guest'} through {self.app_key}"

    def row(self) -> SessionRow:
        """It as a plain value, as hooks know it."""
        return SessionRow(
            id=self.pk,
            opening=self.opening,
            app_key=self.app_key,
            user_id=self.user_id,
            username=self.username,
            token_id=self.token_id,
            entered_by=self.entered_by,
            origin=self.origin,
            ended=self.ended_at is not None,
            opened_at=self.opened_at,
            granted=self.granted,
            hiding=self.hiding,
        )


class SipAccount(models.Model):
    """The SIP account that a user gets when connecting. WCS gets it from us; the client neither sends nor sees it."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="sip_account",
        help_text="Who calls with it. A user has one at most.",
    )
    login = models.CharField(
        max_length=100, validators=[_SIP_NAME], help_text="The user part of its address, for example 10007."
    )
    authentication_name = models.CharField(
        max_length=100, blank=True, validators=[_SIP_NAME], help_text="With what it logs in. Empty: the login."
    )
    password = SealedField(editable=False)
    domain = models.CharField(
        max_length=255, validators=[_HOST], help_text="The SIP domain, for example sip.example.com."
    )
    outbound_proxy = models.CharField(
        max_length=255, blank=True, validators=[_HOST], help_text="The server that it logs in at. Empty: the domain."
    )
    port = models.PositiveIntegerField(
        default=5060, validators=[MinValueValidator(1), MaxValueValidator(65535)], help_text="Of that server."
    )
    visible_name = models.CharField(
        max_length=100, blank=True, validators=[_SHOWN], help_text="What those who are called see. Empty: the login."
    )
    register = models.BooleanField(
        "registered",
        default=True,
        help_text="Let WCS register it when the user connects, so that calls come in. Off: only calls out.",
    )
    note = models.CharField(max_length=255, blank=True)

    class Meta:
        verbose_name = "SIP account"

    def __str__(self) -> str:
        return f"{self.login}@{self.domain}"

    def set_password(self, password: str) -> None:
        """Make this its password. Does not save."""
        self.password = seal(password)


def _rotated(sealed: list[str], secret: str) -> list[str]:
    """The list with `secret` first; unchanged where it is first already."""
    if sealed and unseal(sealed[0]) == secret:
        return sealed
    return [seal(secret), *(old for old in sealed if unseal(old) != secret)][:MAX_SECRETS]
