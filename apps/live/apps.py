from django.apps import AppConfig


class LiveConfig(AppConfig):
    name = "apps.live"
    label = "live"
    verbose_name = "What is running"
    default_auto_field = "django.db.models.BigAutoField"
