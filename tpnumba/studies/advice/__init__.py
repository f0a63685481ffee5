"""Which product to use: those that couple what must be coupled, by what they cost here, with what each gives up."""
