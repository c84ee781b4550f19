"""A torch toolkit for plugin authors: what several plugins share, each piece in a file of its name."""
