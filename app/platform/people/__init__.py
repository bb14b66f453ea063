"""People: who signs in, by which proof, on which devices. A person is global and may belong to several tenants."""
