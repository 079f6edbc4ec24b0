"""Third parties, one file each, imported by whoever names them."""
