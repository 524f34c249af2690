"""Forms for apps and nodes. Secrets go in and never come out."""

from urllib.parse import urlsplit

from django import forms
from unfold.widgets import UnfoldAdminPasswordToggleWidget, UnfoldAdminRadioSelectWidget

from apps.connections.models import App, Node, SipAccount
from apps.connections.sealing import CannotUnseal

ANOTHER_SERVER = "Type the password again: the one that is set was given for another server, and is sent to no other."

OF_SIP_SERVER = {"domain", "outbound_proxy", "port"}
"""Fields that say to which server a SIP account's login goes."""


class SecretForm(forms.ModelForm):
    """A new secret beside those that are set. The one before stays valid until the next change."""

    stored_in = ""  # the model's field
    new_secret = forms.CharField(
        required=False,
        strip=False,
        min_length=8,
        max_length=200,
        widget=UnfoldAdminPasswordToggleWidget(attrs={"autocomplete": "new-password"}),
    )
    secrets_set = forms.ChoiceField(
        required=False,
        initial="keep",
        widget=UnfoldAdminRadioSelectWidget,
        choices=(
            ("keep", "Keep what is set"),
            ("newest", "Keep only the newest"),
            ("none", "Remove all"),
        ),
    )

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["new_secret"].help_text = (
            f"{self.how_many()} To change it without a gap, set the new one here, then in WCS: "
            "two are valid during the change, and the one before stays valid until the next change."
        )

    def how_many(self) -> str:
        match len(getattr(self.instance, self.stored_in)):
            case 0:
                return "None is set."
            case 1:
                return "One is set; it cannot be shown."
        return "Two are set, the newest and the one before; they cannot be shown."

    def clean(self) -> dict:
        data = super().clean()
        setattr(self.instance, self.stored_in, self._kept(data))
        if secret := data.get("new_secret"):
            try:
                self.set_secret(secret)
            except CannotUnseal:
                self.add_error("new_secret", "What is set now cannot be read any more. Choose “Remove all” as well.")
        return data

    def _kept(self, data: dict) -> list[str]:
        stored = getattr(self.instance, self.stored_in)
        match data.get("secrets_set"):
            case "none":
                return []
            case "newest":
                return [] if data.get("new_secret") else stored[:1]
        return stored

    def set_secret(self, secret: str) -> None:
        raise NotImplementedError


class AppForm(SecretForm):
    stored_in = "hook_passwords"

    class Meta:
        model = App
        fields = ("key", "guests", "token_name", "hook_user", "networks", "rest_started", "note")
        labels = {"networks": "Hook networks"}
        help_texts = {"key": "What clients connect with, and the KEY in the WCS command: add app NAME KEY URL."}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["new_secret"].label = "New hook password"
        self.fields["secrets_set"].label = "Hook passwords"

    def set_secret(self, secret: str) -> None:
        self.instance.set_hook_password(secret)


class NodeForm(SecretForm):
    stored_in = "secrets"
    new_api_password = forms.CharField(
        label="New password for its REST API",
        required=False,
        strip=False,
        max_length=200,
        widget=UnfoldAdminPasswordToggleWidget(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = Node
        fields = ("node_id", "name", "networks", "api_url", "api_user")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["new_secret"].label = "New signing secret"
        self.fields["secrets_set"].label = "Signing secrets"
        stored = "One is set; it cannot be shown. Empty: it stays." if self.instance.api_password else "None is set."
        self.fields["new_api_password"].help_text = (
            f"{stored} It goes when the address or the user above is removed, and is asked for again with another "
            "server."
        )

    def clean(self) -> dict:
        """A password needs its user, and is for one server; without user or address there is nothing to keep."""
        data = super().clean()
        password, user, url = (data.get(name) for name in ("new_api_password", "api_user", "api_url"))
        if password and not user:
            self.add_error("api_user", "The password for its REST API needs the user it belongs to.")
        elif password or not (user and url):
            self.instance.set_api_password(password or "")
        elif self.instance.api_password and _server(url) != _server(self.instance.api_url):
            self.add_error("new_api_password", ANOTHER_SERVER)
        return data

    def set_secret(self, secret: str) -> None:
        self.instance.set_secret(secret)


def _server(url: str) -> tuple[str, str | None, int | None]:
    """Where an address leads, whatever its path."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class SipAccountForm(forms.ModelForm):
    new_password = forms.CharField(
        required=False,
        strip=False,
        max_length=200,
        label="New password",
        widget=UnfoldAdminPasswordToggleWidget(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = SipAccount
        fields = (
            "user", "login", "authentication_name", "domain", "outbound_proxy", "port", "visible_name", "register",
            "note",
        )  # fmt: skip

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if "new_password" in self.fields:
            field = self.fields["new_password"]
            field.required = not self.instance.password
            field.help_text = (
                "One is set; it cannot be shown. Leave this empty to keep it, unless it is for another server."
                * bool(self.instance.password)
                or "Of the account at the SIP server. It is kept encrypted and cannot be shown again."
            )

    def clean(self) -> dict:
        """What logs in at another server needs its password typed again: who may edit accounts knows none."""
        data = super().clean()
        if password := data.get("new_password"):
            self.instance.set_password(password)
        elif self.instance.password and OF_SIP_SERVER & set(self.changed_data):
            self.add_error("new_password", ANOTHER_SERVER)
        return data
