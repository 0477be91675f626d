"""What finished tasks leave behind in Redis, beside plain taskiq."""
