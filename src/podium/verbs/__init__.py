"""What each verb of the command line does: call and print. One file a chapter of `podium --help`."""
