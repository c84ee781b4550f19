"""The command ``bench``: one file a command, each imported when it is called."""
