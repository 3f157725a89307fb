"""Losses, target assignment, schedules and the trainer."""
