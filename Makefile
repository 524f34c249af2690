# Shortcuts for developers. Each goes through manage.py, which makes .venv when it is missing.
PYTHON ?= python3
UV ?= uv
ARGS ?=

.PHONY: up test lint types format bench mutate chaos lock

up:
	$(PYTHON) manage.py up $(ARGS)

test:
	$(PYTHON) manage.py test $(ARGS)

lint:
	$(PYTHON) manage.py lint

types:
	$(PYTHON) manage.py lint types

format:
	$(PYTHON) manage.py lint fix

bench:
	$(PYTHON) manage.py bench $(ARGS)

mutate:
	$(PYTHON) manage.py bench mutants $(ARGS)

chaos:
	$(PYTHON) manage.py chaos $(ARGS)

# Needs uv on the PATH. The locks name versions and hashes only, never an address.
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

lock:
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-embedded.in -o requirements-embedded.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt
