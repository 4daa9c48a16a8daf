"""May a run start? What is looked for in machines before anything changes."""
