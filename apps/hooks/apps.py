from django.apps import AppConfig


class HooksConfig(AppConfig):
    name = "apps.hooks"
    label = "hooks"
    verbose_name = "Hooks"

    def ready(self) -> None:
        from apps.hooks import checks  # noqa: F401 - registers them
