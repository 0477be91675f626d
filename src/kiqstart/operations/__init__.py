"""What operators see and do, in words that the command line and the dashboard share."""
