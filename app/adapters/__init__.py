"""One folder per outside system: transport, pure mapping, config, one module per port it implements."""
