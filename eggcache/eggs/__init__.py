"""One zipped egg: read or refused as a whole, and written out."""
