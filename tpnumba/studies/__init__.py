"""The paper's experiments as commands, on one timing harness and one registry of cases."""
