"""`python -m shoptalk.cli`: how processes start one another."""

from shoptalk.cli.main import main

if __name__ == "__main__":
    main()
