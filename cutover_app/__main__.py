"""`python -m cutover_app X` is `cutover X`, for where the program is not on the PATH."""

from cutover_app.commands.cli import main

if __name__ == "__main__":
    main()
