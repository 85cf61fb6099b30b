"""One package a service, each with the same rooms; a service is entered only through its `api`."""
