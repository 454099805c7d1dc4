"""Measurements beside the yardstick of the bare driver. Ratios count: machines are noisy."""
