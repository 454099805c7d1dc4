"""What is known about codes: code systems, value sets, concept maps and their operations."""
