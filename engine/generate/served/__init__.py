"""What the backend `openai` is made of: its settings, the questions that it sends, and the rows that it makes of replies."""
