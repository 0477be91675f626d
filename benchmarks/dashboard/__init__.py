"""How quick the pages of the dashboard are when much is kept."""
