"""Credentials: API keys now; the authorization server plugs into the same seam (`web.auth.Authenticator`)."""
