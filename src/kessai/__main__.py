"""`python -m kessai` is the command line."""

import sys

from kessai.apps.cli import main

sys.exit(main())
