"""Results drawn: as text for a terminal, as JSON, and as graphs for other programs."""
