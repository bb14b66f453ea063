"""The local stack: what a newcomer's one command starts, watches, checks and stops again."""
