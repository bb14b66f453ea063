"""The authorization server: OAuth 2.1 and OpenID Connect for a tenant's own applications. Authlib is its engine."""
