"""Revoking everything that was issued before a moment: one row, on a page of its own."""

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import Revocation
from apps.accounts.pages import StaffAdmin


class RevocationForm(forms.ModelForm):
    def clean_before(self):
        """A moment to come would refuse also what is issued now."""
        before = self.cleaned_data["before"]
        if before and before > timezone.now():
            raise ValidationError("This moment is yet to come. Choose now, or earlier.")
        return before


@admin.register(Revocation)
class RevocationAdmin(StaffAdmin):
    form = RevocationForm
    fields = ("before",)
    empty_hint = "Set a moment to refuse everything that was issued before it."

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj=None) -> bool:
        return False

    def notice(self, request, obj):
        return (
            "Set this if tokens may have fallen into the wrong hands: to this very moment, and everybody must come in "
            "anew, with a token issued since or a password. Running streams end if WCS sends keep-alives."
        )

    def changelist_view(self, request, extra_context=None):
        """There is one row, so its page takes the place of a list."""
        if not self.has_view_or_change_permission(request):
            return super().changelist_view(request, extra_context)
        row, _ = Revocation.objects.get_or_create(pk=1)
        return HttpResponseRedirect(reverse("admin:accounts_revocation_change", args=[row.pk]))
