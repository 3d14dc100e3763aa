"""`python -m reasoning_bank` is the command line."""

from reasoning_bank.cli import main

if __name__ == "__main__":
    main()
