"""The command line: `commands` and `train` have one file a command, which is imported when it is called."""
