"""Well-known strategies, one file each: parameters with bounds, the paper it follows, and its program.

A plug-in is `PLUGIN = LibraryStrategy(...)`; `app.kernel.plugins.discover` finds it. To add one, add a file and a test.
"""
