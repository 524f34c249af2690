"""The form for an issuer of signed tokens. Its secret goes in and never comes out; its public keys may be seen."""

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminPasswordToggleWidget

from apps.accounts.pages import Checkboxes
from apps.connections.fetching import CannotFetch, fetch_key_set
from apps.connections.forms import SecretForm
from apps.connections.jwks import ALGORITHMS, HS256, MAX_SET_LENGTH, MIN_SECRET_LENGTH
from apps.connections.models import TokenIssuer, validate_key_set


class IssuerForm(SecretForm):
    stored_in = "secrets"
    new_secret = forms.CharField(
        label="New shared secret",
        required=False,
        strip=False,
        min_length=MIN_SECRET_LENGTH,
        max_length=500,
        widget=UnfoldAdminPasswordToggleWidget(attrs={"autocomplete": "new-password"}),
    )
    algorithms = Checkboxes(
        choices=[(name, name) for name in ALGORITHMS],
        help_text="How its tokens may be signed. HS256 needs a shared secret; RS256 and ES256 need its public keys.",
    )
    key_file = forms.FileField(
        label="File with its public keys",
        required=False,
        widget=UnfoldAdminFileFieldWidget,
        help_text="A JSON Web Key Set. What it holds takes the place of the public keys below.",
    )

    class Meta:
        model = TokenIssuer
        fields = (
            "issuer", "active", "audience", "note", "algorithms", "jwks_url", "jwks", "leeway",
            "user_claim", "accepts_unknown", "groups_claim", "streams_claim", "actions_claim",
        )  # fmt: skip

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["secrets_set"].label = "Shared secrets"
        self.fields["new_secret"].help_text = (
            f"For HS256: at least {MIN_SECRET_LENGTH} characters. {self.how_many()} To change it without a gap, set "
            "the new one here, then at the issuer; the one before stays valid until the next change."
        )

    def set_secret(self, secret: str) -> None:
        self.instance.set_secret(secret)

    def clean_key_file(self) -> str:
        """What the file holds; "" for none."""
        file = self.cleaned_data["key_file"]
        if not file:
            return ""
        if file.size > MAX_SET_LENGTH:
            raise ValidationError(f"A set of keys may have at most {MAX_SET_LENGTH} characters.")
        text = file.read().decode(errors="replace")
        validate_key_set(text)
        return text

    def clean(self) -> dict:
        data = super().clean()
        if HS256 in data.get("algorithms", ()) and not self.instance.secrets and "new_secret" not in self.errors:
            self.add_error("new_secret", "HS256 needs a shared secret.")
        if data.get("key_file"):
            data["jwks"] = data["key_file"]
        elif data.get("jwks_url") and ("jwks_url" in self.changed_data or not data.get("jwks")):
            self._fetch(data)
        return data

    def _fetch(self, data: dict) -> None:
        """Take the keys from their address, so that a slip of the pen is told to whoever made it."""
        try:
            data["jwks"] = fetch_key_set(data["jwks_url"])
        except CannotFetch as problem:
            self.add_error("jwks_url", str(problem))
        else:
            self.instance.fetched_at, self.instance.fetch_problem = timezone.now(), ""
