"""The processes behind the gateway: Celery workers that run rows of work, and the daemon of long-running roles."""
