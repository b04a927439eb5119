"""The application that the guide's examples belong to."""
