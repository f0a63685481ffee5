"""Other programs: what makes a potential one of their parts."""
