"""Commands of their own: what each is told, and what it prints and writes."""
