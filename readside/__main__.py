"""``python -m readside``: the same command line, where no script is installed."""

from readside.cli import main

main()
