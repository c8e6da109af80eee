"""`python -m lfqcodec` is the `lfqcodec` command."""

from lfqcodec.cli.main import main

main()
