"""What an input may name so that it is imported: it never may be."""
