"""Plans: what is computed, as frozen data. Backends know how to run them; they know nothing of products."""
