"""Reports: what the command line shows, as plain values (for machines) and as text tables (for people)."""
