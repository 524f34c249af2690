"""Forms for users and what is issued for them, and who may manage whom."""

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from unfold.forms import UserChangeForm, UserCreationForm

from apps.accounts.models import Token, User
from apps.accounts.pages import Checkboxes
from apps.accounts.validators import validate_origin
from apps.protocol.action_words import ACTION_WORDS
from apps.protocol.methods import ACTIONS


def may_manage(staff: User, user: User) -> bool:
    """Superusers manage everybody; other staff only people and devices, who cannot log in to the admin."""
    return staff.is_superuser or not (user.is_staff or user.is_superuser)


def may_issue(staff: User, user: User) -> bool:
    """Staff issue tokens and keys for whom they manage, and for themselves."""
    return staff == user or may_manage(staff, user)


class NewUserForm(UserCreationForm):
    """A user with a password, or one whom only tokens let in."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        choice = self.fields["usable_password"]
        choice.label, choice.help_text = "Comes in with", ""
        choice.choices = choice.widget.choices = [
            ("true", "a password, set below, and tokens"),
            ("false", "tokens only"),
        ]
        self.fields["username"].help_text = "What the person or device is called here and in the audit log."


class UserForm(UserChangeForm):
    class Meta(UserChangeForm.Meta):
        model = User
        help_texts = {
            "username": "What the person or device is called here and in the audit log.",
            "is_active": "Off: can neither connect nor log in. Tokens and rules stay as they are.",
            "is_staff": "May log in here.",
            "is_superuser": "May do everything here, whatever the groups permit.",
        }


class IssuedForm(forms.ModelForm):
    """What all that is issued for a user has in common."""

    issuer: User  # set by the admin

    def clean_user(self) -> User:
        if not may_issue(self.issuer, user := self.cleaned_data["user"]):
            raise ValidationError(f"Only a superuser issues {self._meta.model._meta.verbose_name_plural} for staff.")
        return user

    def clean_expires_at(self):
        """It may be ended at once, but none is issued that never works."""
        expires_at = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= timezone.now() and not self.instance.pk:
            noun = self._meta.model._meta.verbose_name
            raise ValidationError(f"This moment has passed, so the {noun} would never work.")
        return expires_at

    def clean(self) -> dict:
        data = super().clean()
        model, user = self._meta.model, data.get("user") or getattr(self.instance, "user", None)
        others = model.objects.filter(user=user, label=data.get("label")).exclude(pk=self.instance.pk)
        if user and others.exists():
            self.add_error("label", "This user has one with this label already. Give this one another label.")
        return data


class TokenForm(IssuedForm):
    """A token without the token itself, which is made on saving and shown once."""

    actions = Checkboxes(
        choices=[(action, ACTION_WORDS[action]) for action in ACTIONS if action != "connect"],
        required=False,
        help_text="The only actions it may be used for, besides connecting. None ticked: no such limit.",
    )

    class Meta:
        model = Token
        fields = ("user", "label", "expires_at", "single_use", "networks", "origins", "streams", "actions")
        help_texts = {
            "origins": "Web pages it works on, separated by commas, for example https://example.org, without a path. "
            "Empty: on any.",
            "streams": "Names of the only streams it may publish or play, separated by commas. They are compared "
            "whole: * means nothing special here. Empty: no such limit.",
        }

    def clean_origins(self) -> list[str]:
        for origin in self.cleaned_data["origins"]:
            validate_origin(origin)
        return self.cleaned_data["origins"]
