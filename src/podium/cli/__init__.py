"""The command line: a file for each group of verbs, their flags, and what is printed."""
