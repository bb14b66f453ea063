"""Mail through an SMTP server."""
