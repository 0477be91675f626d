"""What a running process tells about itself."""
