"""What the service uses: its database."""
