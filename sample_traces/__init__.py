"""Small traces whose cause is known, and the programs that make them."""
