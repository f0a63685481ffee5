"""Other programs: potentials as their parts, and their modules as operators of this package."""
