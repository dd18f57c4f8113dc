"""The Dagster layer: turns specs into assets, checks, sensors and schedules. No algorithm lives here; `engine` runs without it."""
