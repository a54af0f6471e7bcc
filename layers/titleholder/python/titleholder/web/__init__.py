"""What HTTP handlers share: routing, models, problems, cursors."""
