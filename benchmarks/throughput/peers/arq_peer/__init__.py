"""arq, set up as `about` in `__main__.py` says."""
