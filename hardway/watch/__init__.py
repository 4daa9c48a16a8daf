"""Is it still well? What status, plan and certs check see, judged: nothing is said of what is well."""
