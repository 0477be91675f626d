"""`kiqstart demo`: the tasks at work on rows of their own."""
