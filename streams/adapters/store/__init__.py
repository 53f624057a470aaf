"""Model stores: folders and URLs, checked and signed."""
