"""`python -m workbench.docs`."""

import sys

from workbench.docs.build import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
