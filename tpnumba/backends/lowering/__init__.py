"""What the fast backends share on the way from a plan to a program."""
