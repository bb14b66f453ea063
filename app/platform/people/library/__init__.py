"""Data that decisions about people rest on."""
