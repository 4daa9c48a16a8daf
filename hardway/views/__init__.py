"""What a person may want to see, as values; `hardway/console/` puts them into words. No machine is changed here."""
