"""What is behind `manage.py up` and `manage.py test`. Needs the standard library alone."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Problem(Exception):
    """Something the person at the keyboard can do something about, in one clear sentence."""
