"""What all pictures share. They are drawn in an environment of their own."""
