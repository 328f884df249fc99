"""What ``ray job submit`` runs.

python -m pipelines canny --input DIR --root URI
python -m pipelines encode canny@3 --root URI --backbone test
python -m pipelines import FOLDER --root URI --catalog mine
"""

from __future__ import annotations

import sys

from catalogs.console import run
from pipelines import cli, import_cli

if __name__ == "__main__":
    commands = {"encode": cli.encode, "import": import_cli.import_}
    named = commands.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if named is not None:
        run(named, sys.argv[2:], f"python -m pipelines {sys.argv[1]}")
    else:
        run(cli.build, sys.argv[1:], "python -m pipelines")
