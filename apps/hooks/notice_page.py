"""A page of its own for when the site cannot make one: without a database, a template or a file beside it."""

RETRY = 5
"""Seconds after which it is tried again."""

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
{again}<title>{title} | WCS Gate</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.6 system-ui, sans-serif; margin: 0; }}
main {{ border-left: 4px solid #dc2626; margin: 15vh auto 0; max-width: 34rem; padding: 0 1.25rem; }}
h1 {{ font-size: 1.25rem; }}
</style></head><body><main role="alert"><p>WCS Gate</p><h1>{title}</h1><p>{sentence}</p><p>{what_to_do}</p></main>
</body></html>
"""
_LOOKED = f'<a href="">Try again</a>; this page does so by itself every {RETRY} seconds.'
_SENT = "Go back in your browser: what you typed is still there. Send it again in a moment."


def notice_page(title: str, sentence: str, *, looked: bool) -> str:
    """The page, from texts of ours. It tries again by itself for whoever only looked: what was sent would be lost."""
    again = f'<meta http-equiv="refresh" content="{RETRY}">' if looked else ""
    return _PAGE.format(title=title, sentence=sentence, again=again, what_to_do=_LOOKED if looked else _SENT)
