"""What `autodeep evaluate` measures and shows: protocols, figures, pictures and the page."""
