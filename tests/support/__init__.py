"""What several test files share: toys, made-up runs, recorded numbers and faults."""
