#!/usr/bin/env python3
"""The one command: `up`, `test`, `lint`, `bench` and `chaos` come from runner/, every other one is Django's."""

import sys

if sys.version_info < (3, 11):
    sys.exit("WCS Gate needs Python 3.11 or newer; this is Python %d.%d." % sys.version_info[:2])

from runner.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
