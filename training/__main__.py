"""What ``ray job submit`` runs.

python -m training depth@7 --root URI --out DIR --gpus 8
"""

from __future__ import annotations

import sys

from catalogs.console import run
from training import cli

if __name__ == "__main__":
    run(cli.train, sys.argv[1:], "python -m training")
