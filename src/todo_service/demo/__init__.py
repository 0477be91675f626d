"""`python -m todo_service.demo`: the tasks at work on rows of their own."""
