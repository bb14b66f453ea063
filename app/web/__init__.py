"""The API's manners: who calls, one transaction a request, one error format, cursor pages, limits. Knows no slice."""
