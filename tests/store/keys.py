"""The key of a stage that has no spec."""

from __future__ import annotations

KEY = "0123456789abcdef" * 4
