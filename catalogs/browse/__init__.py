"""`avcontrol catalog browse`: catalogs, samples, pairs and reviews in the terminal."""
