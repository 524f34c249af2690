"""What stands in front of the reference door."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.hooks.door import PREFIX
from apps.hooks.views import HookView

Respond = Callable[[HttpRequest], HttpResponseBase]


def hooks_first(get_response: Respond) -> Respond:
    """Hooks go straight to their view, past all other middleware, as they do at the fast door.

    WCS has no session, cookie, form or page: what is there for browsers would only cost time, and could only make the
    two doors differ.
    """
    view = HookView.as_view()

    def respond(request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(PREFIX):
            return view(request, method=request.path_info[len(PREFIX) :])
        return get_response(request)

    return respond
