"""`python -m pivot_envs` is the command `pivot-envs`."""

import sys

from pivot_envs.cli import main

if __name__ == "__main__":
    sys.exit(main())
