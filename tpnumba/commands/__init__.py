"""The parser and the run function of commands, a file each; what they compute is elsewhere."""
