"""Left out where there are no network namespaces to be made."""

from __future__ import annotations

import os
import sys

collect_ignore_glob = [] if os.geteuid() == 0 and sys.platform == "linux" else ["test_*.py"]
