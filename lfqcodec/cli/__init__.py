"""The command line, one file a command; a command is imported when it is called."""
