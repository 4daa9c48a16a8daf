"""The inventory: a YAML file to a frozen, typed model of the cluster that is wanted."""
