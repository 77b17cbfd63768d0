"""Reading of users' files and writing of outputs: bounded, checked and atomic."""
