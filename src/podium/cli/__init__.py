"""The command line: a module for each verb with its flags, and what the verbs have in common."""
