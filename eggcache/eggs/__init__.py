"""One zipped egg: reading it, refusing it, and writing its members out."""
