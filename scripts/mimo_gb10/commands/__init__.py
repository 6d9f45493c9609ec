"""What each command does once its arguments are parsed: call the library, print, return the exit code."""
