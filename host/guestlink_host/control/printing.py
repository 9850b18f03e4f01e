"""Output of the commands."""

from __future__ import annotations

import json
import sys
from typing import Any


def print_json(value: Any) -> int:
    """Print a value as JSON; returns the exit status 0."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()
    return 0
