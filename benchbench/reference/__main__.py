"""`python -m benchbench.reference FOLDER` writes the reference pages."""

import sys
from pathlib import Path

from benchbench.reference import write

if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
    sys.exit("usage: python -m benchbench.reference FOLDER")
folder = Path(sys.argv[1])
print(f"written to {folder}: {', '.join(path.name for path in write(folder))}")
