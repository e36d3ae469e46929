"""`python -m shoptalk.cli`: the command line as a module, by which processes start one another."""

from shoptalk.cli.main import main

if __name__ == "__main__":
    main()
