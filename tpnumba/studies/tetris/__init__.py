"""The Tetris experiment of *The Price of Freedom*: which products let a network tell eight pieces apart."""
