module hardway.local/components/pause

go 1.24.0
