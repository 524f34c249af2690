"""The reference door's addresses: whatever is below /hooks/, the last segment being the method."""

from django.urls import re_path

from apps.hooks.views import HookView

urlpatterns = [re_path(r"^(?P<method>[\s\S]*)\Z", HookView.as_view(), name="hook")]
