"""``python -m tpnumba``."""

import sys

from tpnumba.cli import main

if __name__ == "__main__":
    sys.exit(main())
