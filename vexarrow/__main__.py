"""`python -m vexarrow` is `vex`."""

from vexarrow.cli import main

if __name__ == "__main__":
    main()
