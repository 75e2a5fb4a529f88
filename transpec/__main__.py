"""`python -m transpec`, the same as `transpec`."""

import sys

from transpec.cli import main

sys.exit(main())
