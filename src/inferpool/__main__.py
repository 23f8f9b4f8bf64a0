"""Lets `python -m inferpool` run the command line."""

from inferpool.cli.app import main

if __name__ == "__main__":
    main()
