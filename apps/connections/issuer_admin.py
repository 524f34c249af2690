"""Who signs tokens (JWT) that are accepted here."""

from django.contrib import admin, messages
from django.http import HttpRequest
from unfold.decorators import display

from apps.accounts.pages import StaffAdmin
from apps.connections.fetching import renew_keys
from apps.connections.issuer_form import IssuerForm
from apps.connections.jwks import BadKeySet, read_key_set
from apps.connections.models import TokenIssuer


@admin.register(TokenIssuer)
class TokenIssuerAdmin(StaffAdmin):
    form = IssuerForm
    list_display = ("issuer", "state", "signs_with", "audience", "note")
    list_filter = ("active",)
    search_fields = ("issuer", "note")
    ordering = ("issuer",)
    actions = ("fetch_keys",)
    readonly_fields = ("keys_now", "fetched_at", "fetch_problem")
    fieldsets = (
        (None, {"fields": ("issuer", "active", "audience", "note")}),
        (
            "How its signatures are checked",
            {
                "fields": ("algorithms", "new_secret", "secrets_set", "jwks_url", "key_file", "jwks", "leeway"),
                "description": "A shared secret for HS256; public keys for RS256 and ES256: fetched from an address, "
                "taken from a file, or pasted.",
            },
        ),
        ("Keys in use", {"fields": ("keys_now", "fetched_at", "fetch_problem")}),
        (
            "What its claims mean",
            {
                "fields": ("user_claim", "accepts_unknown", "groups_claim", "streams_claim", "actions_claim"),
                "description": "The name of a claim, or a path with dots to one further inside. Streams and actions "
                "only narrow what the user may do; they grant nothing.",
            },
        ),
    )
    empty_hint = (
        "Add an issuer if another system, such as your web site or a login server, signs tokens (JWT) for your users: "
        "clients then come in with those."
    )

    def get_fieldsets(self, request, obj=None):
        """Nothing is in use before there is an issuer, and no secret to keep or remove where none is set."""
        fieldsets = self.fieldsets if obj else [part for part in self.fieldsets if part[0] != "Keys in use"]
        left_out = () if obj and obj.secrets else ("secrets_set",)
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name not in left_out]})
            for title, options in fieldsets
        ]

    @display(description="State", label={"accepted": "success", "off": "default", "no keys": "danger"})
    def state(self, issuer: TokenIssuer) -> str:
        if not issuer.active:
            return "off"
        return "accepted" if issuer.secrets or issuer.jwks else "no keys"

    @display(description="Signs with")
    def signs_with(self, issuer: TokenIssuer) -> str:
        return ", ".join(issuer.algorithms)

    @display(description="Public keys")
    def keys_now(self, issuer: TokenIssuer) -> str:
        try:
            keys = read_key_set(issuer.jwks) if issuer.jwks else ()
        except BadKeySet as error:
            return str(error)
        return ", ".join(f"{key.kid or 'without name'} ({key.algorithm})" for key in keys) or "None."

    def notice(self, request, obj):
        if obj.accepts_unknown:
            return (
                "Whoever this issuer signs a token for is accepted, also without an entry under Users. "
                "Rules for everyone with an account hold for them."
            )
        return ""

    @admin.action(description="Fetch the public keys now", permissions=["change"])
    def fetch_keys(self, request: HttpRequest, queryset) -> None:
        issuers = list(queryset.exclude(jwks_url=""))
        good = sum(renew_keys(issuer) for issuer in issuers)
        self.message_user(request, f"Fetched the keys of {good}.", messages.SUCCESS)
        if len(issuers) > good:
            text = f"Not fetched: {len(issuers) - good}. Their pages say why; the keys they had stay in use."
            self.message_user(request, text, messages.WARNING)
