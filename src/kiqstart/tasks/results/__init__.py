"""What has become of a task, as JSON: values, and errors of any class."""
