"""What a report holds, gathered from folders of results."""
