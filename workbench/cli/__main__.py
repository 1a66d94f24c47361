"""`python -m workbench.cli`: the command `scalper`."""

from workbench.cli.app import main

if __name__ == "__main__":
    main()
