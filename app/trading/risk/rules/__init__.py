"""Risk rules, one file each: `PLUGIN` with `.name`, `.Parameters`, `.check`."""
