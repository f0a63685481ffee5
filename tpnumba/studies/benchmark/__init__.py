"""The benchmark of *The Price of Freedom*: every product and method, timed, with what it can express beside it."""
