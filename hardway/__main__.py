from hardway.cli import main

main()
