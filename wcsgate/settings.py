"""Settings, read from the environment. `docs/operations.md` lists every variable; a test compares."""

import os
import secrets
import sys
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

BASE_DIR = Path(__file__).resolve().parent.parent


def text(name: str, default: str = "") -> str:
    """An environment variable, stripped."""
    return os.environ.get(name, default).strip()


def flag(name: str, *, default: bool) -> bool:
    """An environment variable that is on or off."""
    value = text(name, "on" if default else "off").lower()
    if value not in ("on", "off", "1", "0", "true", "false", "yes", "no"):
        raise ImproperlyConfigured(f"{name} must be on or off, not “{value}”.")
    return value in ("on", "1", "true", "yes")


def items(name: str, default: str = "") -> list[str]:
    """An environment variable that is a list, separated by commas."""
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def number(name: str, default: str, *, low: float, high: float) -> float:
    """An environment variable that is a number, from low to high."""
    value = text(name, default)
    try:
        if low <= float(value) <= high:
            return float(value)
    except ValueError:
        pass
    raise ImproperlyConfigured(f"{name} must be a number from {low:g} to {high:g}, not “{value}”.")


# What this is

ENV = text("WCSGATE_ENV", "demo")
if ENV not in ("demo", "test", "production"):
    raise ImproperlyConfigured(f"WCSGATE_ENV must be demo, test or production, not “{ENV}”.")
PRODUCTION = ENV == "production"
DEBUG = False

# Secrets

SECRET_KEY = text("WCSGATE_SECRET_KEY") or ("" if PRODUCTION else secrets.token_urlsafe(48))  # `up` keeps one
ENCRYPTION_KEYS = items("WCSGATE_ENCRYPTION_KEYS")
for name, value in {"WCSGATE_SECRET_KEY": SECRET_KEY, "WCSGATE_ENCRYPTION_KEYS": ENCRYPTION_KEYS}.items():
    if PRODUCTION and not value:
        raise ImproperlyConfigured(f"{name} must be set in production. docs/operations.md says how to make one.")

# Addresses

ALLOWED_HOSTS = items("WCSGATE_ALLOWED_HOSTS", "" if PRODUCTION else "127.0.0.1,localhost,[::1],testserver")
CSRF_TRUSTED_ORIGINS = items("WCSGATE_TRUSTED_ORIGINS")
TRUSTED_PROXIES = items("WCSGATE_TRUSTED_PROXIES")
METRICS_NETWORKS = items("WCSGATE_METRICS_NETWORKS", "127.0.0.0/8,::1")

# Postgres and broker


SERVICE = "wcsgate"
"""What Postgres knows web and workers by."""


def program(argv: list[str]) -> str:
    """What Postgres knows this process by: what the service does by itself is told from what somebody does past it.

    Web has begun with its WSGI module, and workers with a subcommand of Celery; whatever is neither, nor a command of
    ours, is unknown.
    """
    path = Path(argv[0])
    name = path.parent.name if path.name == "__main__.py" else path.name
    command = argv[1] if name == "manage.py" and len(argv) > 1 else ""
    is_worker = name == "celery" and not {"worker", "beat"}.isdisjoint(argv)
    if command and command not in ("test", "runserver"):
        return f"{SERVICE} {command}"
    if command or is_worker or "wcsgate.wsgi" in sys.modules or ENV == "test":
        return SERVICE
    return f"{SERVICE} unknown {name}".strip()


APPLICATION = program(sys.argv)


def database(url: str) -> dict:
    """Django's database settings from postgres://user:password@host:port/name?sslmode=require&host=/run/postgresql.

    What follows the question mark are libpq's connection parameters; a host there may be a folder with a socket.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", unquote(parts.hostname or "")),
        "PORT": parts.port or "",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 3, "application_name": APPLICATION, **options},
    }


DATABASES = {"default": database(text("DATABASE_URL", "postgres://wcsgate@127.0.0.1:54329/wcsgate"))}

CELERY_BROKER_URL = text("BROKER_URL", "redis://127.0.0.1:63799/0")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
if urlsplit(CELERY_BROKER_URL).scheme in ("redis", "rediss"):  # RabbitMQ knows none of these, and needs none
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 60,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
    }
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # in memory: its file would be closed under it when it is told to stop
CELERY_BEAT_SCHEDULE = {
    # Nudges expire quickly: one that waited is no better than the next one.
    "move records": {"task": "audit.move_records", "schedule": 1.0, "options": {"expires": 5}},
    "take over spools": {"task": "audit.take_over_spools", "schedule": 5.0, "options": {"expires": 5}},
    "look for gaps": {"task": "audit.look_for_gaps", "schedule": 2.0, "options": {"expires": 5}},
    "keep partitions": {"task": "audit.keep_partitions", "schedule": 60.0, "options": {"expires": 50}},
    "seal": {"task": "audit.seal", "schedule": 60.0, "options": {"expires": 50}},
    "purge": {"task": "audit.purge", "schedule": 60.0, "options": {"expires": 50}},
    "write exports": {"task": "audit.write_exports", "schedule": 3.0, "options": {"expires": 3}},
    "forget exports": {"task": "audit.forget_exports", "schedule": 3600.0, "options": {"expires": 600}},
    "measure running": {"task": "audit.measure_running", "schedule": 60.0, "options": {"expires": 50}},
    "forget hours": {"task": "audit.forget_hours", "schedule": 3600.0, "options": {"expires": 600}},
    "count before": {"task": "audit.count_before", "schedule": 60.0, "options": {"expires": 50}},
    "renew keys": {"task": "connections.renew_keys", "schedule": 300.0, "options": {"expires": 240}},
    "carry out cuts": {"task": "live.carry_out_cuts", "schedule": 1.0, "options": {"expires": 5}},
    "forget leases": {"task": "live.forget_leases", "schedule": 3600.0, "options": {"expires": 600}},
    "forget changes": {"task": "access.forget_changes", "schedule": 3600.0, "options": {"expires": 600}},
}

# The hook path

# Seconds for everything the database does (WCS waits 15 for an answer), and within which the same hook is a repeat
HOOK_TIME_LIMIT = number("WCSGATE_HOOK_TIME_LIMIT", "0.8", low=0.05, high=10)
REPEAT_WINDOW = number("WCSGATE_REPEAT_WINDOW", "120", low=0, high=3600)

# So many pages are made at once in a process; the rest of its threads is for hooks

PAGES_AT_ONCE = int(number("WCSGATE_PAGES_AT_ONCE", "10", low=1, high=1000))

# When Postgres is away: where records wait (folder, its size in bytes for each process, what then), and for how many
# seconds running streams are kept

SPOOL = text("WCSGATE_SPOOL")
SPOOL_FULL = text("WCSGATE_SPOOL_FULL", "refuse")
SPOOL_LIMIT = int(number("WCSGATE_SPOOL_LIMIT", "1000", low=1, high=1_000_000) * 1_000_000)
KEEP_ALIVE_GRACE = number("WCSGATE_KEEP_ALIVE_GRACE", "600", low=0, high=86_400)
if SPOOL_FULL not in ("refuse", "go-on"):
    raise ImproperlyConfigured(f"WCSGATE_SPOOL_FULL must be refuse or go-on, not “{SPOOL_FULL}”.")

# From how many hooks on that are missing in the record /readyz is not well; 0: it only says so

MISSING_LIMIT = number("WCSGATE_MISSING_LIMIT", "0", low=0, high=1_000_000_000)

# The audit log: the size of its partitions, and for how many days what is kept; 0 is for ever

AUDIT_PARTITION = text("WCSGATE_AUDIT_PARTITION", "month")
if AUDIT_PARTITION not in ("month", "day"):
    raise ImproperlyConfigured(f"WCSGATE_AUDIT_PARTITION must be month or day, not “{AUDIT_PARTITION}”.")
SEAL_KEYS = items("WCSGATE_SEAL_KEYS")
KEEP_DECISIONS = number("WCSGATE_KEEP_DECISIONS", "0", low=0, high=36_500)
KEEP_EVENTS = number("WCSGATE_KEEP_EVENTS", "0", low=0, high=36_500)
KEEP_STAFF_ACTIONS = number("WCSGATE_KEEP_STAFF_ACTIONS", "0", low=0, high=36_500)
KEEP_STATISTICS = number("WCSGATE_KEEP_STATISTICS", "0", low=0, high=36_500)

# Exports in the background: for how many days they are kept, and how many bytes each may take of the database

KEEP_EXPORTS = number("WCSGATE_KEEP_EXPORTS", "7", low=0.01, high=365)
EXPORT_LIMIT = int(number("WCSGATE_EXPORT_LIMIT", "1000", low=1, high=1_000_000) * 1_000_000)

# How numbers are dialled here: 0049 30 1234 and 030 1234 are +49 30 1234, where the country is 49

COUNTRY_CODE = text("WCSGATE_COUNTRY_CODE")
INTERNATIONAL_PREFIX = text("WCSGATE_INTERNATIONAL_PREFIX", "00")
NATIONAL_PREFIX = text("WCSGATE_NATIONAL_PREFIX", "0")
UNPREFIXED_DIGITS = number("WCSGATE_UNPREFIXED_DIGITS", "0", low=0, high=15)

# Applications

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "apps.accounts",
    "apps.streams",
    "apps.connections",
    "apps.live",
    "apps.access",
    "apps.audit",
    "apps.hooks",
    "apps.simulator",
]
MIDDLEWARE = [
    "apps.hooks.middleware.hooks_first",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apps.hooks.middleware.away_is_said",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.hooks.middleware.staff_acts",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "wcsgate.urls"
WSGI_APPLICATION = "wcsgate.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.audit.missing.outages.outages",
            ]
        },
    }
]

# People

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "wcsgate.login.address_of"
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ADMIN = False  # commands do it: its lists are none of ours, and search without a bound
AXES_HANDLER = "wcsgate.login.LoginAttempts"
AXES_SENSITIVE_PARAMETERS = []  # who was locked out may be read; see LoginAttempts for all else
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

# Pages

LANGUAGE_CODE = "en"
TIME_ZONE = text("WCSGATE_TIME_ZONE", "UTC")
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "wcsgate.formats"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
STATIC_ROOT = Path(text("WCSGATE_STATIC_ROOT") or BASE_DIR / ".static")
UNFOLD = {
    "SITE_TITLE": "WCS Gate",
    "SITE_HEADER": "WCS Gate",
    "SITE_SUBHEADER": "Who may connect, publish, play and call",
    "SITE_SYMBOL": "shield_lock",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("wcsgate/favicon.svg")},
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {"show_search": False, "navigation": "apps.accounts.navigation.sidebar"},
    "DASHBOARD_CALLBACK": "apps.audit.dashboard.dashboard",
    "SCRIPTS": [lambda request: static("wcsgate/accessible.js")],
}
RULE_PREVIEW = "apps.audit.asking.preview_page.preview_page"

# The REST framework: the reference door for hooks, the API, and its schema

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "wcsgate.api_keys.KeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "EXCEPTION_HANDLER": "wcsgate.problems.problem",
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "WCS Gate",
    "DESCRIPTION": "Hooks of Flashphoner Web Call Server, answered.",
    "VERSION": "0.1.0",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_AUTHENTICATION": ["rest_framework.authentication.SessionAuthentication"],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAdminUser"],
}

# Logs: one line an entry, never a body or a secret

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "filters": {"one_line_where_away": {"()": "wcsgate.logs.OneLineWhereAway"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": text("WCSGATE_LOG_LEVEL", "INFO")},
    "loggers": {
        "axes": {"level": "WARNING"},
        "django.request": {"level": "ERROR", "filters": ["one_line_where_away"]},
        "celery.app.trace": {"filters": ["one_line_where_away"]},
    },
}

# Browsers

SESSION_ENGINE = "wcsgate.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_SSL_REDIRECT = flag("WCSGATE_HTTPS_REDIRECT", default=PRODUCTION)
SECURE_REDIRECT_EXEMPT = [r"^hooks/", r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SECURE_HSTS_PRELOAD = PRODUCTION
if flag("WCSGATE_BEHIND_HTTPS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# Tests

BROWSER = text("WCSGATE_BROWSER")
if ENV == "test":
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *PASSWORD_HASHERS]
