"""What ``ray job submit`` runs.

python -m pipelines canny --input DIR --root URI
python -m pipelines encode canny@3 --root URI --backbone test
"""

from __future__ import annotations

import sys

from catalogs.console import run
from pipelines import cli

if __name__ == "__main__":
    if sys.argv[1:2] == ["encode"]:
        run(cli.encode, sys.argv[2:], "python -m pipelines encode")
    else:
        run(cli.build, sys.argv[1:], "python -m pipelines")
