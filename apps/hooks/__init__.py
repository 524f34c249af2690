"""The doors: where WCS asks and gets its answer."""
